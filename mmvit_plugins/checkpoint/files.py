"""Making checkpoint files from others: in another layout, or stripped for publishing."""

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors.torch import save as save_safetensors

from ..converters import CONVERTERS, Layout
from ..errors import UserError
from ..registry import MODELS
from ..writing import write_bytes
from .loading import CLASSIFIERS, CheckpointMismatchError, explain, find_prefixes
from .plain import CheckpointFileError
from .reading import check_weights, read_checkpoint, tensors, unwrap


def _origin(layout: Layout) -> str:
    """Say whose layout it is: the first word of its name."""
    return layout.name.split()[0]


LAYOUTS = ('ours', *dict.fromkeys(_origin(x) for entry in CONVERTERS.values() for x in entry))
# Its models keep the backbone under ``backbone.`` and the classifier under ``head.fc.``, and the
# other hosts take its files for the backbone.
HOST = 'mmpretrain'


def convert_state(state: Mapping, to: str = 'ours') -> tuple[dict, list[str]]:
    """Convert every part of a whole model's state that stands in a known layout.

    Args:
        state: A state dict with any prefixes.
        to: One of ``LAYOUTS``: to ours from all others, or from ours to another.

    Returns:
        The converted state and the names of the foreign layouts that were found or written.
    """
    out, names = tensors(state), []
    for layouts in CONVERTERS.values():
        for layout in layouts:
            if to not in ('ours', _origin(layout)):
                continue
            anchor = layout.anchor if to == 'ours' else layout.our_anchor
            for prefix in find_prefixes(out, [anchor]):
                if not layout.belongs(out, prefix):
                    continue
                target, convert = prefix.removesuffix(layout.base), layout.to_ours
                classifier: dict[str, torch.Tensor] = {}
                if to == 'ours' and layout.base:  # a classifier stands beside it, as ours does
                    classifier = _rename(out, f'{target}{layout.classifier}', f'{target}head.')
                elif to != 'ours':
                    convert = layout.from_ours
                    target, classifier = _take_classifier(out, prefix, layout)
                part = tensors(out, prefix)
                for key in part:
                    del out[prefix + key]
                out.update({target + key: value for key, value in convert(part).items()})
                out.update(classifier)
                names.append(layout.name)
    return out, names


def _take_classifier(state: dict, prefix: str, layout: Layout) -> tuple[str, dict]:
    """Take the classifier that belongs to a backbone of ours out of ``state``.

    Args:
        state: A whole model's state; the classifier is removed.
        prefix: The backbone's prefix.
        layout: The layout to write.

    Returns:
        The backbone's prefix in that layout, and the classifier as it is named there.
    """
    model, wanted = prefix.removesuffix('backbone.'), layout.classifier
    found = _classifier(state, model)
    if _origin(layout) == HOST:
        prefix = prefix if prefix.endswith('backbone.') else 'backbone.'
        renamed = f'{prefix.removesuffix("backbone.")}{wanted or "head.fc."}'
    elif found and wanted:
        prefix, renamed = f'{model}{layout.base}', f'{model}{wanted}'
    else:
        return prefix, {}
    return prefix, _rename(state, found, renamed) if found else {}


def _rename(state: dict, old: str, new: str) -> dict[str, torch.Tensor]:
    """Take a linear layer out of a state, and give it another prefix."""
    leaves = [leaf for leaf in ('weight', 'bias') if f'{old}{leaf}' in state]
    return {f'{new}{leaf}': state.pop(f'{old}{leaf}') for leaf in leaves}


def _classifier(state: Mapping, model: str) -> str | None:
    """Find the prefix of the linear classifier of the model that stands under a prefix."""
    names = (f'{model}{name}' for name in CLASSIFIERS)
    return next((name for name in names if f'{name}weight' in state), None)


def choose_classes(state: dict, class_map: str | Path, source: str | Path) -> str:
    """Cut the classifier of a model of ours down to chosen classes, in place.

    Args:
        state: A whole model's state, the backbone in our layout.
        class_map: A text file of one number a line: for each class of the new
            classifier its index in the old one, from 0.
        source: Where the state is from, for messages.

    Returns:
        A clause that says what was chosen.

    Raises:
        CheckpointFileError: If the file is no such file, or there is no classifier.
    """
    try:
        lines = Path(class_map).read_text().rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointFileError(f'{class_map}: not readable as a text file: {error}') from error
    anchors = [layouts[0].our_anchor for layouts in CONVERTERS.values()]
    models = [prefix.removesuffix('backbone.') for prefix in find_prefixes(state, anchors)]
    found = next(filter(None, (_classifier(state, model) for model in models)), None)
    if found is None:
        raise CheckpointFileError(f'{source}: holds no classifier whose classes could be chosen')
    classes = len(state[f'{found}weight'])
    for number, line in enumerate(lines, 1):
        if not line.strip().isdecimal() or int(line) >= classes:
            raise CheckpointFileError(
                f'{class_map}: line {number} is {line!r}, but the index of one of the {classes} '
                f'classes of {found}weight, 0..{classes - 1}, is needed'
            )
    if not lines:
        raise CheckpointFileError(f'{class_map}: empty, where one index a line is needed')
    number, times = Counter(map(int, lines)).most_common(1)[0]
    if times > 1:
        print_log(
            f'{class_map}: index {number} is there {times} times: these new classes begin alike',
            'current',
            logging.WARNING,
        )
    indices = torch.tensor([int(line) for line in lines])
    for leaf in ('weight', 'bias'):
        if f'{found}{leaf}' in state:
            state[f'{found}{leaf}'] = state[f'{found}{leaf}'][indices]
    return f'{len(indices)} of {classes} classes'


def convert_file(
    source: str | Path, target: str | Path, to: str = 'ours', class_map: str | Path | None = None
) -> str:
    """Convert a checkpoint file; ``meta`` of the new file says where it came from.

    Args:
        source: The file to read, in any known layout.
        target: The file to write.
        to: The layout to write, one of ``LAYOUTS``.
        class_map: Which classes to keep, see :func:`choose_classes`.

    Returns:
        One line that says what was found and written.

    Raises:
        CheckpointFileError: If the file is none, or holds nothing that has the layout asked for.
        CheckpointMismatchError: If it fits no variant, or holds tensors that no variant has.
    """
    checkpoint = read_checkpoint(source)
    state = {k.removeprefix('module.'): v for k, v in tensors(unwrap(checkpoint)).items()}
    try:
        ours, found = convert_state(state)
        done = [] if class_map is None else [choose_classes(ours, class_map, source)]
        converted, written = (ours, []) if to == 'ours' else convert_state(ours, to)
    except CheckpointFileError:
        raise
    except ValueError as error:
        raise CheckpointMismatchError(f'{source}: does not convert: {error}') from error
    if not (written if to != 'ours' else found or done):
        wanted = 'weights in a foreign layout' if to == 'ours' else f'weights with a layout {to!r}'
        known = ', '.join(x.name for entry in CONVERTERS.values() for x in entry)
        raise CheckpointFileError(f'{source}: holds no {wanted}; known are {known}')
    variant = _check_backbone(source, ours)
    meta = dict(checkpoint.get('meta') or {})
    meta['converted_from'] = {
        'file': Path(source).name,
        'sha256': _sha256(Path(source)) if Path(source).is_file() else None,
        'layouts': found,
    }
    if done:
        meta.pop('dataset_meta', None)  # the names of the old classes
        meta['converted_from']['class_map'] = Path(class_map).name
    done += [f'from {" and ".join(found)}'] if found else []
    done += [f'to {" and ".join(written)}'] if written else []
    write_bytes(_pack(meta, converted, target), target)
    return (
        f'{target}: {variant}, {len(converted)} tensors from {len(tensors(state))}, '
        f'{", ".join(done)}'
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
                module = cls()
            variants = module.compare_variants(state)
            if not variants:
                raise CheckpointMismatchError(
                    f'{source}: holds a part of {name} that tells no variant of it, the first key '
                    f'is {next(iter(state))}: give a file of the whole network'
                )
            nearest = min(variants, key=lambda arch: sum(map(len, variants[arch])))
            missing, unexpected, wrong = variants[nearest]
            unknown = [key for key in unexpected if not key.startswith(CLASSIFIERS)]
            if missing or wrong:
                model = module.variants(state)[nearest]
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
        One line that says what was written.

    Raises:
        CheckpointFileError: If ``source`` is no checkpoint, or has no averaged weights to publish.
    """
    checkpoint = read_checkpoint(source)
    if ema and not isinstance(checkpoint.get('ema_state_dict'), Mapping):
        raise CheckpointFileError(f'{source}: holds no averaged weights (ema_state_dict)')
    state = checkpoint['ema_state_dict'] if ema else unwrap(checkpoint)
    check_weights(state, str(source))
    plain = {key.removeprefix('module.') for key in tensors(unwrap(checkpoint))}
    lacking = plain - {key.removeprefix('module.') for key in tensors(state)} if ema else set()
    if lacking:
        raise CheckpointFileError(
            f'{source}: its averages (ema_state_dict) lack {len(lacking)} of the weights, as '
            f'{min(lacking)}: publish the plain ones, without --ema'
        )
    state = {key.removeprefix('module.'): value.cpu() for key, value in tensors(state).items()}
    state.pop('steps', None)
    meta = checkpoint.get('meta') or {}
    kept = {key: meta[key] for key in ('dataset_meta', 'cfg', 'mmengine_version') if key in meta}
    target = Path(target)
    device = target.exists() and not (target.is_file() or target.is_dir())
    if target.name in ('', '..') or device:
        raise UserError(f'the target {str(target)!r} is no file: give its name')
    data = _pack(kept, state, target)
    if target.suffix != '.safetensors':
        torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)
    digits = hashlib.sha256(data).hexdigest()[:8]
    final = target.with_name(f'{target.stem}-{digits}{target.suffix or ".pth"}')
    write_bytes(data, final)
    size = len(data) / 2**20
    return f'{final}: {len(state)} tensors, {size:.1f} MiB, from {Path(source).name}'


def _pack(meta: dict, state: dict[str, torch.Tensor], target: str | Path) -> bytes:
    """Make the content of a file: PyTorch's, or by its ending ``.safetensors``.

    Raises:
        UserError: Of a checkpoint's ``meta`` something is no plain data.
    """
    if Path(target).suffix != '.safetensors':
        stream = io.BytesIO()
        torch.save({'meta': meta, 'state_dict': state}, stream)
        return stream.getvalue()
    try:
        about = json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{target}: what the source says of itself (meta) does not fit into the text that a '
            f'.safetensors file can hold ({error}): write a .pth'
        ) from error
    # one file may name a tensor twice, and views of one memory; safetensors takes neither
    plain = {key: value.detach().clone().contiguous() for key, value in state.items()}
    return save_safetensors(plain, {'format': 'pt', 'meta': about})


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
