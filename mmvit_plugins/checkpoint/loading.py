"""Loading weights that may come in another layout, and failing loudly where they do not fit.

Everything happens inside the load itself (``_load_from_state_dict``, which torch's and mmengine's
loaders both call), so it works for ``init_cfg``, ``load_from``, ``--resume``, ``init_model`` and
``load_state_dict``, at any nesting and under any prefix:

1. :func:`locate` finds the module's weights where the file keeps them (inside ``state_dict``,
   ``model`` or an EMA entry, bare or under another prefix) and moves them to where the module
   looks;
2. the layout is recognised from the keys and converted to ours;
3. tensors of another size are adapted where the module knows how;
4. one line reports what was used, and what would leave the module without its weights raises.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping

import torch
from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from ..converters import CONVERTERS, Layout
from .reading import tensors, unwrap

# Where published ImageNet files keep the classifier, and mmpretrain's heads their linear layer.
LINEARS = ('head.fc.', 'head.layers.head.')
CLASSIFIERS = (
    'head.',
    'classifier.',
    *LINEARS,
    'cls_head.cls.',
    'cls_head.cl.',
    'cls_head.fc.',
    'cls_head.',
)
BASES = tuple({x.base for layouts in CONVERTERS.values() for x in layouts if x.base})
PARTIAL = 'to load what fits and leave the rest as it is, set allow_partial_load=True on the module'


class CheckpointMismatchError(RuntimeError):
    """Weights that do not fit the module that they were given to."""


def find_prefixes(keys: Iterable[str], anchors: list[str]) -> list[str]:
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
    return [anchor for layout in CONVERTERS.get(name, ()) for anchor in layout.anchors]


def locate(
    state: MutableMapping,
    target: str,
    anchors: list[str],
    siblings: tuple[str, ...] = (),
    head: str | None = None,
) -> None:
    """Move weights that stand elsewhere in ``state`` to the prefix where a module looks, in place.

    Args:
        state: What is being loaded.
        target: The module's own prefix, such as ``backbone.``.
        anchors: Keys that tell the module's weights.
        siblings: Prefixes that belong to other modules and are left alone.
        head: Prefix of the linear layer of mmpretrain's head, if there is one beside the module.
    """
    if any(target + anchor in state for anchor in anchors):
        return
    inner = unwrap(state)
    if inner is not state:
        inner = dict(inner)
        state.clear()
        state.update(inner)
    prefixes = find_prefixes(tensors(state), anchors)
    sources = [p for p in prefixes if p != target and not (siblings and p.startswith(siblings))]
    if not sources:
        return
    source = sources[0]
    if source.endswith(target):
        # The whole model is deeper (``module.backbone.`` -> ``backbone.``): its other parts move
        # along.
        source, target, siblings = source[: len(source) - len(target)], '', ()
    elif head:
        beside = next((b for b in BASES if source.endswith(b)), '')
        for prefix in CLASSIFIERS:
            for leaf in ('weight', 'bias'):
                key = f'{source.removesuffix(beside)}{prefix}{leaf}'
                if key in state:
                    state[f'{head}{leaf}'] = state.pop(key)
    for key, value in tensors(state, source).items():
        if not (siblings and (source + key).startswith(siblings)):
            del state[source + key]
            state[target + key] = value


def _locate_for_child(parent: nn.Module, state: MutableMapping, prefix: str, *_: object) -> None:
    """Bring a bare or wrapped file to the backbone's prefix while its parent is being loaded."""
    children, modules = dict(parent.named_children()), dict(parent.named_modules())
    for name, child in children.items():
        if isinstance(child, ConvertsOnLoad) and child.locates_in_parent:
            siblings = tuple(f'{prefix}{other}.' for other in children if other != name)
            linear = next((name for name in LINEARS if name[:-1] in modules), None)
            head = f'{prefix}{linear}' if linear else None
            locate(state, f'{prefix}{name}.', anchors_of(type(child).__name__), siblings, head)
            for other in LINEARS:  # the other kind of head, in a file of mmpretrain's
                for leaf in ('weight', 'bias') if head else ():
                    if f'{prefix}{other}{leaf}' in state:
                        state[f'{head}{leaf}'] = state.pop(f'{prefix}{other}{leaf}')
            if linear and isinstance(modules[linear[:-1]], nn.Linear):
                _reset_classifier(modules[linear[:-1]], state, head)


def _reset_classifier(fc: nn.Linear, state: MutableMapping, prefix: str) -> None:
    """Leave a classifier for another number of classes as it is, with a warning, in place."""
    weight = state.get(f'{prefix}weight')
    if weight is None or weight.shape[1:] != fc.weight.shape[1:] or len(weight) == len(fc.weight):
        return
    report = (
        f'{prefix}weight: {len(weight)} classes in the file, {len(fc.weight)} in the model, '
        'initialised anew'
    )
    if len(weight) > len(fc.weight):
        report += (
            '; if the classes are among those of the file, keep their weights with '
            'tools/convert_checkpoint.py SOURCE TARGET --class-map FILE'
        )
    print_log(report, logger='current', level=logging.WARNING)
    for leaf in ('weight', 'bias'):
        state.pop(f'{prefix}{leaf}', None)


def _watch_parent(parent: nn.Module, name: str, child: nn.Module | None) -> None:
    """Give every module that takes a backbone of ours the load hook above, once.

    A module's own load hook only sees the keys under its own prefix, and the hosts' model classes
    are not ours, so this is the one place where a file whose keys have no prefix can still be put
    right.
    """
    if isinstance(child, ConvertsOnLoad) and child.locates_in_parent:
        hooks = parent._load_state_dict_pre_hooks.values()
        if not any(getattr(hook, 'hook', None) is _locate_for_child for hook in hooks):
            parent._register_load_state_dict_pre_hook(_locate_for_child, with_module=True)


register_module_module_registration_hook(_watch_parent)


class ConvertsOnLoad:
    """Mixin for modules whose weights load from any layout of ``CONVERTERS``.

    Attributes:
        locates_in_parent: Whether a file without this module's prefix is looked through for its
            weights.
        reinitialised: Name prefixes of layers that keep their initial values, with a warning, where
            the file's size differs (a classifier for another number of classes).
        starts_fresh: Name prefixes of layers that a file may lack as a whole: they keep their
            initial values, and the report says so.
        may_be_absent: Whether a file may have nothing of the module, which the host then reports.
        variant_argument: What stands before a variant where it is an argument.
        allow_partial_load: Whether missing or ill-fitting tensors only warn.
    """

    locates_in_parent = False
    reinitialised: tuple[str, ...] = ()
    starts_fresh: tuple[str, ...] = ()
    may_be_absent = False
    variant_argument = 'arch='
    allow_partial_load = False
    deployed = False

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize a tensor of the file to ours, where that makes sense; ``None`` where not.

        It has as many axes as ours.
        """
        return None

    def fit_tensor(self, name: str, value: torch.Tensor, like: torch.Tensor) -> torch.Tensor | None:
        """Resize a tensor of the file to ours; ``None`` where that makes no sense."""
        return self.adapt_tensor(name, value, like) if value.ndim == like.ndim else None

    def fits_better(self, state: Mapping[str, torch.Tensor], unexpected: int) -> bool:
        """Tell whether another variant would leave fewer tensors of a state unused."""
        return False

    def which_variant(self, state: Mapping[str, torch.Tensor]) -> str | None:
        """Name the variant that a state in our layout belongs to, if it is one."""
        return None

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if not prefix:
            locate(state_dict, prefix, anchors_of(type(self).__name__))
        prepare(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def to_ours(name: str, state: dict[str, torch.Tensor]) -> tuple[dict, str, Layout | None]:
    """Bring the state of a module of class ``name`` into our layout, recognised from its keys.

    Returns:
        The state in our layout, what its layout is called, and the foreign layout or
            ``None``.

    Raises:
        CheckpointMismatchError: If tensors that must be equal are not.
    """
    for layout in CONVERTERS.get(name, ()):
        if layout.anchor in state:
            try:
                return layout.to_ours(state), layout.name, layout
            except (ValueError, LookupError, RuntimeError) as error:  # odd sizes, missing tensors
                raise CheckpointMismatchError(
                    f'{name}: this file does not convert: {error}'
                ) from error
    return state, 'mmvit_plugins', None


def prepare(module: nn.Module, state_dict: MutableMapping, prefix: str) -> None:
    """Put a module's part of a state dict into shape, in place, and report it in one line.

    Raises:
        CheckpointMismatchError: If the module would be left partly or wholly without its weights.
    """
    name = type(module).__name__
    found = tensors(state_dict, prefix)
    if not found and module.may_be_absent:
        return
    if module.deployed:
        raise CheckpointMismatchError(
            f'{name}: weights load into the trained form only: load first, then switch_to_deploy()'
        )
    state, source, layout = to_ours(name, found)
    expected = module.state_dict()
    missing, unexpected, misfits = compare(expected, state, module.starts_fresh)
    fresh = [k for k in expected if k.startswith(module.starts_fresh) and k not in state]
    fresh = [k for k in fresh if k not in missing]
    used = {key: state[key] for key in expected if key in state and key not in misfits}
    adapted = {key: module.fit_tensor(key, state[key], expected[key]) for key in misfits}
    resized = {key: value for key, value in adapted.items() if value is not None}
    reset = [key for key in misfits if key.startswith(tuple(module.reinitialised))]
    wrong = [key for key in misfits if key not in resized and key not in reset]
    used.update(resized)
    report = (
        f'{name}: {len(used)} of {len(expected)} tensors used, {len(resized)} resized, '
        f'{len(missing)} missing, {len(unexpected)} unexpected, layout: {source}'
    )
    other = unexpected and module.fits_better(state, len(unexpected))
    if missing or wrong or other or _of_blocks(unexpected):
        problem = explain(module, state, layout)
        if not module.allow_partial_load:
            raise CheckpointMismatchError(f'{name}: {problem}; {PARTIAL}')
        report += f'; partial load allowed although {problem}'
    if reset:
        report += f'; of another size and initialised anew: {", ".join(reset)}'
    if fresh:
        report += f'; not in the file and initialised anew: {_few(fresh)}'
    unused = [key for key in found if layout and key.startswith(layout.unused)]
    if unused:
        report += f'; left out, since the network never reads them: {_few(unused)}'
    if unexpected:
        report += f'; unexpected: {_few(unexpected)}'
    level = logging.WARNING if missing or wrong or reset or unexpected else logging.INFO
    print_log(report, logger='current', level=level)
    for key in found:
        del state_dict[prefix + key]
    # Ill-fitting tensors are gone, so that no loader trips over them; what starts fresh stays as it
    # is; unexpected ones are left for the loader's report.
    kept = used | {key: expected[key] for key in fresh} | {key: state[key] for key in unexpected}
    state_dict.update({prefix + key: value for key, value in kept.items()})


def compare(
    expected: Mapping, state: Mapping, starts_fresh: tuple[str, ...] = ()
) -> tuple[list[str], list[str], list[str]]:
    """List the missing, unexpected and mis-sized keys.

    Batch counters may be missing, and so may everything that starts with one of ``starts_fresh``.
    """
    absent = tuple(p for p in starts_fresh if not any(k.startswith(p) for k in state))
    missing = [
        k
        for k in expected
        if k not in state and not k.endswith('num_batches_tracked') and not k.startswith(absent)
    ]
    unexpected = [k for k in state if k not in expected]
    wrong = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    return missing, unexpected, wrong


def explain(module: nn.Module, state: Mapping[str, torch.Tensor], layout: Layout | None) -> str:
    """Say in a clause why a state in our layout does not fit: which variant it is, if any."""
    expected = module.state_dict()
    if not expected.keys() & state.keys():
        what = f'its first: {_few(list(state))}' if state else 'nothing stands under its prefix'
        return f'none of the tensors in this file are its weights ({what})'
    variant = module.which_variant(state)
    if variant is not None:
        argument = f'{module.variant_argument}{variant}'
        return f'this file holds the variant {variant}, the model is another: set {argument}'
    hint = layout.hint(state) if layout else None
    if hint is not None:
        return f'this file fits no variant: {hint}'
    missing, unexpected, wrong = compare(expected, state, module.starts_fresh)
    deeper = _of_blocks(unexpected)
    parts = []
    if missing:
        parts.append(f'{len(missing)} tensors are missing ({_few(missing)})')
    if deeper:
        parts.append(f'{len(deeper)} are of blocks that the model does not have ({_few(deeper)})')
    if wrong:
        ours, theirs = expected[wrong[0]].shape, state[wrong[0]].shape
        parts.append(
            f'{len(wrong)} have another size ({wrong[0]}: {tuple(theirs)} in the file, '
            f'{tuple(ours)} in the model)'
        )
    return ' and '.join(parts)


def _of_blocks(unexpected: list[str]) -> list[str]:
    """List what only a deeper network has; a decoder or a second head beside it does no harm."""
    return [key for key in unexpected if '.blocks.' in key and key.startswith('stages.')]


def _few(keys: list[str], limit: int = 3) -> str:
    more = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(keys[:limit]) + more
