"""Making checkpoint files from others: in another layout, or stripped for publishing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from ..converters import CONVERTERS
from ..registry import MODELS
from .loading import CLASSIFIERS, CheckpointMismatchError, explain, find_prefixes
from .reading import CheckpointFileError, read_checkpoint, tensors, unwrap


def convert_state(state: Mapping, official: bool = False) -> tuple[dict, list[str]]:
    """Convert every part of a whole model's state that stands in a known layout.

    Args:
        state (Mapping): A state dict with any prefixes.
        official (bool): Convert from our layout to the authors' instead of to ours.

    Returns:
        tuple: The converted state and the names of the layouts that were found.
    """
    out, names = tensors(state), []
    for layouts in CONVERTERS.values():
        for layout in layouts:
            anchor = layout.our_anchor if official else layout.anchor
            for prefix in find_prefixes(out, [anchor]):
                part = tensors(out, prefix)
                converted = (layout.from_ours if official else layout.to_ours)(part)
                for key in part:
                    del out[prefix + key]
                model = prefix.removesuffix('backbone.')
                if official and layout.classifier and f'{model}head.fc.weight' in out:
                    # a classifier of mmpretrain's: the authors' have no ``backbone.``
                    prefix = model
                    for leaf in ('weight', 'bias'):
                        name = f'{layout.classifier}{leaf}'
                        converted[name] = out.pop(f'{model}head.fc.{leaf}')
                out.update({prefix + key: value for key, value in converted.items()})
                names.append(layout.name)
    return out, names


def convert_file(source: str | Path, target: str | Path, official: bool = False) -> str:
    """Convert a checkpoint file; ``meta`` of the new file says where it came from.

    Args:
        source (str | Path): The file to read.
        target (str | Path): The file to write.
        official (bool): Write the authors' layout instead of ours.

    Returns:
        str: One line that says what was found and written.

    Raises:
        CheckpointFileError: If the file is none, or holds nothing that a converter knows.
        CheckpointMismatchError: If it fits no variant, or holds tensors that no variant has.
    """
    checkpoint = read_checkpoint(source)
    state = {key.removeprefix('module.'): value for key, value in unwrap(checkpoint).items()}
    try:
        converted, layouts = convert_state(state, official)
    except ValueError as error:
        raise CheckpointMismatchError(f'{source}: damaged or edited: {error}') from error
    if not layouts:
        wanted = 'our' if official else 'a foreign'
        known = ', '.join(x.name for entry in CONVERTERS.values() for x in entry)
        raise CheckpointFileError(f'{source}: holds no weights in {wanted} layout of {known}')
    variant = _check_backbone(source, state if official else converted)
    meta = dict(checkpoint.get('meta') or {}) if isinstance(checkpoint.get('meta'), Mapping) else {}
    meta['converted_from'] = {
        'file': Path(source).name,
        'sha256': _sha256(Path(source)) if Path(source).is_file() else None,
        'layouts': layouts,
    }
    _save({'meta': meta, 'state_dict': converted}, target)
    return (
        f'{target}: {variant}, {len(converted)} tensors from {len(tensors(state))}, '
        f'{"to" if official else "from"} {" and ".join(layouts)}'
    )


def _check_backbone(source: str | Path, ours: dict[str, torch.Tensor]) -> str:
    """Name the variant whose tensors a state in our layout holds, and no others.

    Raises:
        CheckpointMismatchError: If it fits no variant, or holds what no variant has.
    """
    for name, layouts in CONVERTERS.items():
        cls = MODELS.get(f'mmvit_plugins.{name}')
        if not hasattr(cls, 'archs'):
            continue
        for prefix in find_prefixes(ours, [layouts[0].our_anchor]):
            state = tensors(ours, prefix)
            with torch.device('meta'):
                variants = cls().compare_variants(state)
                nearest = min(variants, key=lambda arch: sum(map(len, variants[arch])))
                model = cls(nearest)
            missing, unexpected, wrong = variants[nearest]
            unknown = [key for key in unexpected if not key.startswith(CLASSIFIERS)]
            if missing or wrong:
                problem = explain(model, state, layouts[0])
                raise CheckpointMismatchError(
                    f'{source}: fits no variant of {name}; against {nearest!r}, {problem}'
                )
            if unknown:
                raise CheckpointMismatchError(
                    f'{source}: holds {name} {nearest!r} and {len(unknown)} tensors that it does '
                    f'not have, the first is {unknown[0]}: take them out'
                )
            return f'{name} {nearest!r}'
    raise CheckpointMismatchError(f'{source}: holds a head without its backbone')


def publish_file(source: str | Path, target: str | Path, ema: bool = False) -> str:
    """Write a checkpoint without optimizer, schedules and history, named after its content.

    Returns:
        str: One line that says what was written.

    Raises:
        CheckpointFileError: If ``source`` is no checkpoint, or has no averaged weights to publish.
    """
    checkpoint = read_checkpoint(source)
    if ema and 'ema_state_dict' not in checkpoint:
        raise CheckpointFileError(f'{source}: holds no averaged weights (ema_state_dict)')
    state = checkpoint['ema_state_dict'] if ema else unwrap(checkpoint)
    state = {key.removeprefix('module.'): value.cpu() for key, value in tensors(state).items()}
    state.pop('steps', None)
    meta = checkpoint.get('meta') or {}
    kept = {key: meta[key] for key in ('dataset_meta', 'cfg', 'mmengine_version') if key in meta}
    target = Path(target)
    partial = target.with_name(f'{target.name}.tmp')
    _save({'meta': kept, 'state_dict': state}, partial)
    torch.load(partial, map_location='cpu', weights_only=True)
    final = target.with_name(f'{target.stem}-{_sha256(partial)[:8]}{target.suffix or ".pth"}')
    partial.replace(final)
    size = final.stat().st_size / 2**20
    return f'{final}: {len(state)} tensors, {size:.1f} MiB, from {Path(source).name}'


def _save(checkpoint: dict, target: str | Path) -> None:
    Path(target).resolve().parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, target)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
