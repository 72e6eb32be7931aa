"""Loading weights that may come in another layout, and failing loudly where they do not fit.

Everything happens inside the load itself (``_load_from_state_dict``, which torch's and mmengine's loaders
both call), so it works for ``init_cfg``, ``load_from``, ``--resume``, ``init_model`` and
``load_state_dict``, at any nesting and under any prefix:

1. :func:`locate` finds the module's weights where the file keeps them (inside ``state_dict``, ``model`` or an
   EMA entry, bare or under another prefix) and moves them to where the module looks;
2. the layout is recognised from the keys and converted to ours;
3. tensors of another size are adapted where the module knows how;
4. one line reports what was used, and what would leave the module without its weights raises.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from .converters import CONVERTERS, Layout

# Entries under which training scripts keep the weights, the first found is taken.
WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'ema_state_dict', 'model_ema', 'module')
# Where published ImageNet files keep the classifier -> mmpretrain's ``LinearClsHead``.
CLASSIFIERS = ('head.', 'cls_head.cls.', 'cls_head.cl.', 'cls_head.fc.', 'cls_head.')
PARTIAL = 'to load what fits and leave the rest as it is, set allow_partial_load=True on the module'


class CheckpointFileError(ValueError):
    """A file that cannot be read as a checkpoint."""


class CheckpointMismatchError(RuntimeError):
    """Weights that do not fit the module that they were given to."""


def read_checkpoint(path: str | Path) -> dict:
    """Read a checkpoint file to the CPU through mmengine's loader.

    Raises:
        CheckpointFileError: If it is missing, empty, truncated or not a checkpoint, in one sentence.
    """
    path = str(path)
    local = '://' not in path
    if local and not Path(path).is_file():
        raise CheckpointFileError(f'{path}: there is no such checkpoint file')
    if local and Path(path).stat().st_size == 0:
        raise CheckpointFileError(f'{path}: the checkpoint file is empty, train or download it again')
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    except Exception as error:  # torch raises half a dozen types for what is no checkpoint
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CheckpointFileError(
            f'{path}: not readable as a PyTorch checkpoint (truncated, or another kind of file): {reason}'
        ) from error
    if not isinstance(checkpoint, Mapping) or not tensors(unwrap(checkpoint)):
        raise CheckpointFileError(
            f'{path}: a {type(checkpoint).__name__} without weights, where a state dict or a checkpoint '
            f'with an entry of {WRAPPERS} is needed'
        )
    return checkpoint


def unwrap(checkpoint: Mapping) -> Mapping:
    """Go down to the weights: the first of ``WRAPPERS`` that holds a mapping, again and again."""
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            return unwrap(checkpoint[key])
    return checkpoint


def tensors(state: Mapping, prefix: str = '') -> dict[str, torch.Tensor]:
    """Take the tensors whose keys begin with ``prefix``, which is cut off."""
    return {
        key[len(prefix) :]: value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(prefix) and isinstance(value, torch.Tensor)
    }


def find_prefixes(keys: Iterable[str], anchors: Iterable[str]) -> list[str]:
    """List the prefixes under which one of the anchor keys stands, the shortest first."""
    found = {
        key[: -len(anchor)]
        for key in keys
        for anchor in anchors
        if key == anchor or key.endswith(f'.{anchor}')
    }
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


def anchors_of(name: str) -> list[str]:
    """List the keys by which weights of the class ``name`` are known, in any layout."""
    return [anchor for x in CONVERTERS.get(name, ()) for anchor in (x.anchor, x.our_anchor)]


def locate(
    state: MutableMapping, target: str, anchors: list[str], siblings: Iterable[str] = ()
) -> None:
    """Move weights that stand elsewhere in ``state`` to the prefix where a module looks, in place.

    Args:
        state (MutableMapping): What is being loaded.
        target (str): The module's own prefix, such as ``backbone.``.
        anchors (list[str]): Keys that tell the module's weights.
        siblings (Iterable[str]): Prefixes that belong to other modules and are left alone.
    """
    if any(target + anchor in state for anchor in anchors):
        return
    inner = unwrap(state)
    if inner is not state:
        inner = dict(inner)
        state.clear()
        state.update(inner)
    sources = [
        source
        for source in find_prefixes((k for k in state if isinstance(k, str)), anchors)
        if source != target and not source.startswith(tuple(siblings))
    ]
    if not sources:
        return
    source = sources[0]
    if source.endswith(target):
        # The whole model is one level deeper (``module.backbone.`` -> ``backbone.``): move its other parts too.
        source = source[: len(source) - len(target)]
        target = ''
    moved = {}
    for key in [k for k in state if isinstance(k, str) and k.startswith(source)]:
        moved[target + key[len(source) :]] = state.pop(key)
    if target and not source:
        # A bare classification file: its classifier sits beside the backbone, not in it.
        for key in list(moved):
            for classifier in CLASSIFIERS:
                leaf = key[len(target + classifier) :]
                if key.startswith(target + classifier) and leaf in ('weight', 'bias'):
                    moved[f'head.fc.{leaf}'] = moved.pop(key)
                    break
    state.update(moved)


def _locate_for_child(
    parent: nn.Module, state: MutableMapping, prefix: str, *_: object
) -> None:
    """Load hook of a model with a backbone of ours: bring a bare or wrapped file to the child's prefix."""
    for name, child in parent.named_children():
        if isinstance(child, ConvertsOnLoad) and child.locates_in_parent:
            siblings = [
                f'{prefix}{other}.' for other, _ in parent.named_children() if other != name
            ]
            locate(state, f'{prefix}{name}.', anchors_of(type(child).__name__), siblings)


def _watch_parent(parent: nn.Module, name: str, child: nn.Module | None) -> None:
    """Give every module that takes a backbone of ours the load hook above, once.

    A module's own load hook only sees the keys under its own prefix, and the hosts' model classes are not
    ours, so this is the one place where a file whose keys have no prefix can still be put right.
    """
    if isinstance(child, ConvertsOnLoad) and child.locates_in_parent:
        hooks = parent._load_state_dict_pre_hooks.values()
        if not any(getattr(hook, 'hook', None) is _locate_for_child for hook in hooks):
            parent._register_load_state_dict_pre_hook(_locate_for_child, with_module=True)


register_module_module_registration_hook(_watch_parent)


class ConvertsOnLoad:
    """Mixin for modules whose weights load from any layout of ``CONVERTERS``.

    Attributes:
        locates_in_parent: Whether a file without this module's prefix is looked through for its weights.
        reinitialised: Name prefixes of layers that keep their initial values, with a warning, where the
            file's size differs (a classifier for another number of classes).
        allow_partial_load: Whether missing or ill-fitting tensors only warn.
    """

    locates_in_parent = False
    reinitialised: tuple[str, ...] = ()
    allow_partial_load = False
    deployed = False

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize a tensor of the file to the size of ours, where that makes sense; ``None`` where not."""
        return None

    def which_variant(self, state: Mapping[str, torch.Tensor]) -> str | None:
        """Name the variant that a state in our layout belongs to, if it is one."""
        return None

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if not prefix:
            locate(state_dict, prefix, anchors_of(type(self).__name__))
        prepare(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def convert(name: str, state: dict[str, torch.Tensor]) -> tuple[dict, str, Layout | None]:
    """Bring the state of a module of class ``name`` into our layout, recognised from its keys.

    Returns:
        tuple: The state in our layout, what its layout is called, and the foreign layout or ``None``.

    Raises:
        CheckpointMismatchError: If tensors that must be equal are not.
    """
    for layout in CONVERTERS.get(name, ()):
        if layout.anchor in state:
            try:
                return layout.to_ours(state), layout.name, layout
            except ValueError as error:
                raise CheckpointMismatchError(
                    f'{name}: this file is damaged or was edited: {error}'
                ) from error
    return state, 'mmvit_plugins', None


def prepare(module: nn.Module, state_dict: MutableMapping, prefix: str) -> None:
    """Put a module's part of a state dict into shape, in place, and report it in one line.

    Raises:
        CheckpointMismatchError: If the module would be left partly or wholly without its weights.
    """
    name = type(module).__name__
    found = tensors(state_dict, prefix)
    if not found and module.reinitialised:
        return  # a head that the file does not have: the host reports its keys as missing
    if module.deployed:
        raise CheckpointMismatchError(
            f'{name}: weights load into the trained form only: load first, then switch_to_deploy()'
        )
    state, source, layout = convert(name, found)
    expected = module.state_dict()
    needed = {key for key in expected if not key.endswith('num_batches_tracked')}
    used, resized, reset, wrong = {}, [], [], []
    for key in expected.keys() & state.keys():
        value = state[key]
        if value.shape != expected[key].shape:
            adapted = module.adapt_tensor(key, value, expected[key])
            if adapted is None:
                (reset if key.startswith(module.reinitialised or ('\0',)) else wrong).append(key)
                continue
            resized.append(key)
            value = adapted
        used[key] = value
    missing = sorted(needed - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    report = (
        f'{name}: {len(used)} of {len(expected)} tensors used, {len(resized)} resized, '
        f'{len(missing)} missing, {len(unexpected)} unexpected, layout: {source}'
    )
    if missing or wrong:
        problem = _explain(module, state, layout, found, missing, wrong)
        if not module.allow_partial_load:
            raise CheckpointMismatchError(f'{name}: {problem}; {PARTIAL}')
        report += f'; partial load allowed although {problem}'
    if reset:
        report += f'; of another size and initialised anew: {", ".join(sorted(reset))}'
    if unexpected:
        report += f'; unexpected: {_few(unexpected)}'
    level = logging.WARNING if missing or wrong or reset or unexpected else logging.INFO
    print_log(report, logger='current', level=level)
    for key in found:
        del state_dict[prefix + key]
    # Ill-fitting tensors are gone, so that no loader trips over them; unexpected ones stay for its own report.
    kept = used | {key: state[key] for key in unexpected}
    state_dict.update({prefix + key: value for key, value in kept.items()})


def _few(keys: list[str], limit: int = 3) -> str:
    more = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(keys[:limit]) + more


def _explain(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    layout: Layout | None,
    found: Mapping[str, torch.Tensor],
    missing: list[str],
    wrong: list[str],
) -> str:
    """Say in a clause why a state does not fit: which variant it is, or how far it is from one."""
    expected = module.state_dict()
    if not expected.keys() & state.keys():
        what = f'(its first: {_few(list(found))})' if found else '(nothing stands under its prefix)'
        return f'none of the tensors in this file are its weights {what}'
    variant = module.which_variant(state)
    if variant is not None:
        return f'this file holds the variant {variant}, the model is another: set arch={variant}'
    hint = layout.hint(found) if layout else None
    if hint:
        return f'this file fits no variant: {hint}'
    parts = []
    if missing:
        parts.append(f'{len(missing)} tensors are missing ({_few(missing)})')
    if wrong:
        key = sorted(wrong)[0]
        parts.append(
            f'{len(wrong)} have another size ({key}: {tuple(state[key].shape)} in the file, '
            f'{tuple(expected[key].shape)} in the model)'
        )
    return ' and '.join(parts)
