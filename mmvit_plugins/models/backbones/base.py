"""The contract that every backbone of the package keeps, in one base class."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...checkpoint import CheckpointMismatchError, ConvertsOnLoad, compare, read_checkpoint
from ..checks import check_positive, check_rate


def repeat_channels(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Fit a weight ``(C', C, ...)`` to another number of input channels, ``(C', channels, ...)``.

    They are repeated in turn and scaled so that a constant picture gives the same sum.
    """
    repeated = weight[:, torch.arange(channels) % weight.shape[1]]
    return repeated * (weight.shape[1] / channels)


class Backbone(ConvertsOnLoad, BaseModule):
    """A map in, maps out: ``(N, C, H, W) -> tuple of (N, C_i, ceil(H / s_i), ceil(W / s_i))``.

    A subclass sets ``archs``, calls ``resolve_arch`` and this constructor, builds ``stem`` and
    ``stages`` (or overrides ``stage_modules`` and ``layer_id``), sets ``depths``, and ends its own
    constructor with ``self._freeze()``. It implements ``forward``.

    Weights load from the authors' files as well as ours (see ``mmvit_plugins.checkpoint``). A file
    that would leave a part of the backbone without weights raises ``CheckpointMismatchError``.

    Args:
        in_channels: Channels of the input.
        stage_channels: Channels of every stage's output.
        stage_strides: Stride of every stage's output.
        out_indices: Stages to return, ascending, negative ones from the end.
        drop_path_rate: Stochastic depth of the last block, in [0, 1).
        frozen_stages: -1 freezes nothing, 0 the stem, i the stem and the first i stages.
        norm_eval: Keep batch norms in eval mode while training.
        allow_partial_load: Let a checkpoint that lacks or mis-sizes some tensors load what
            fits, with a warning, instead of raising.
        init_cfg: mmengine's initialisation.

    Attributes:
        out_channels: Channels of each returned map.
        strides: Stride of each returned map.

    Raises:
        ValueError: For a wrong argument, naming what is allowed.
    """

    archs: dict[str, dict] = {}
    input_layer = 'stem.0.conv.weight'  # its channels follow ``in_channels``
    after_blocks = ('norm',)  # parts of a stage that follow its blocks
    min_size = 1  # smallest height and width of the input, in pixels
    locates_in_parent = True

    def __init__(
        self,
        in_channels: int,
        stage_channels: Sequence[int],
        stage_strides: Sequence[int],
        out_indices: Sequence[int],
        drop_path_rate: float,
        frozen_stages: int,
        norm_eval: bool,
        allow_partial_load: bool,
        init_cfg: dict | None,
    ):
        super().__init__(init_cfg)
        name, stages = type(self).__name__, len(stage_channels)
        check_positive(name, in_channels=in_channels)
        check_rate(name, drop_path_rate=drop_path_rate)
        indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        positive = [i + stages if isinstance(i, int) and i < 0 else i for i in indices]
        if (
            not positive
            or any(i not in range(stages) for i in positive)
            or positive != sorted(set(positive))
        ):
            raise ValueError(
                f'{name}: out_indices={out_indices!r} must be ascending stages of 0..{stages - 1}'
            )
        if frozen_stages not in range(-1, stages + 1):
            raise ValueError(f'{name}: frozen_stages={frozen_stages!r} must be -1..{stages}')
        self.in_channels = in_channels
        self.out_indices = tuple(positive)
        self.stage_channels = tuple(stage_channels)
        self.out_channels = tuple(stage_channels[i] for i in positive)
        self.strides = tuple(stage_strides[i] for i in positive)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.allow_partial_load = allow_partial_load

    @classmethod
    def resolve_arch(cls, arch: str | Mapping) -> dict:
        """Look a variant up, or take one as a mapping with the same keys.

        A number stands for the name that is written like it, since a command line turns one into
        the other.

        Raises:
            ValueError: For an unknown name, and for missing or unknown keys.
        """
        if isinstance(arch, Mapping):
            keys = set(next(iter(cls.archs.values())))
            if set(arch) != keys:
                raise ValueError(
                    f'{cls.__name__}: arch has the keys {sorted(arch)}, but needs {sorted(keys)}'
                )
            return dict(arch)
        arch = str(arch) if isinstance(arch, int) else arch
        if arch not in cls.archs:
            raise ValueError(
                f'{cls.__name__}: arch={arch!r} is unknown; choose from {sorted(cls.archs)} or '
                'pass a dict'
            )
        return cls.archs[arch]

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse what the network cannot take.

        Raises:
            ValueError: If ``x`` is not ``(N, in_channels, H, W)`` with H and W of at least
                ``min_size``.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape[2:]) < self.min_size:
            raise ValueError(
                f'{type(self).__name__}: the input has the shape {tuple(x.shape)}, but '
                f'(N, {self.in_channels}, H, W) with H and W >= {self.min_size} is needed'
            )

    def stage_modules(self) -> list[nn.Module]:
        """List the stem and then the stages, in the order in which they freeze."""
        return [self.stem, *self.stages]

    def layer_id(self, name: str) -> int:
        """Depth of a parameter: 0 for the stem, then one for each block of the schedule.

        What comes before a stage's blocks belongs to the first of them, ``after_blocks`` to the
        last.
        """
        parts = name.split('.')
        if parts[0] == 'stem':
            return 0
        stage = int(parts[1])
        first, last = 1 + sum(self.depths[:stage]), sum(self.depths[: stage + 1])
        if parts[2] == 'blocks':
            return first + int(parts[3])
        return last if parts[2] in self.after_blocks else first

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Tell a parameter's depth for layer-wise learning-rate decay, as mmpretrain asks for it.

        Args:
            param_name: The parameter's full name.
            prefix: The backbone's prefix in that name, such as ``backbone.``.

        Returns:
            The layer's depth and the number of layers (stem and head included);
            parameters outside the backbone belong to the last one.
        """
        num_layers = sum(self.depths) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        return self.layer_id(param_name[len(prefix) :]), num_layers

    def no_weight_decay(self) -> set[str]:
        """Name the parameters that recipes without decay on norms and biases spare."""
        return {name for name, param in self.named_parameters() if param.ndim <= 1}

    def init_weights(self) -> None:
        """Run ``init_cfg``; a file that cannot be read is named in one sentence.

        Raises:
            CheckpointFileError: If a ``Pretrained`` file is missing or no checkpoint.
            CheckpointMismatchError: If its weights do not fit.
        """
        cfgs = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        files = [cfg['checkpoint'] for cfg in cfgs if cfg and 'checkpoint' in cfg]
        try:
            super().init_weights()
        except CheckpointMismatchError as error:
            raise CheckpointMismatchError(f'{", ".join(files)}: {error}') from error
        except Exception:
            for file in files:
                read_checkpoint(file)
            raise

    def _freeze(self) -> None:
        for module in self.stage_modules()[: self.frozen_stages + 1]:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'Backbone':
        """Switch modes; frozen stages (and batch norms with ``norm_eval``) stay in eval mode."""
        super().train(mode)
        if mode:
            self._freeze()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
        return self

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Fit the input layer of a file to another number of channels."""
        if name != self.input_layer or value[:, :1].shape != like[:, :1].shape:
            return None
        return repeat_channels(value, like.shape[1])

    def variants(self, state: Mapping[str, torch.Tensor]) -> dict[str, 'Backbone']:
        """Build, without memory, the variants that a state in our layout may belong to."""
        with torch.device('meta'):
            kind: Any = type(self)
            return {arch: kind(arch) for arch in self.archs}

    def compare_variants(self, state: Mapping[str, torch.Tensor]) -> dict[str, tuple]:
        """Compare a state in our layout with every variant; what can be adapted is not mis-sized.

        Returns:
            Variant -> (missing, unexpected, mis-sized keys).
        """
        variants = {}
        for arch, model in self.variants(state).items():
            expected = model.state_dict()
            missing, unexpected, wrong = compare(expected, state, self.starts_fresh)
            wrong = [k for k in wrong if model.fit_tensor(k, state[k], expected[k]) is None]
            variants[arch] = missing, unexpected, wrong
        return variants

    def fits_better(self, state: Mapping[str, torch.Tensor], unexpected: int) -> bool:
        """Tell whether another variant takes more of a state's tensors than this one.

        T2T-ViT's variants with and without a performer differ in tensors that one does not have.
        """
        return any(
            len(beyond) < unexpected and not missing and not wrong
            for missing, beyond, wrong in self.compare_variants(state).values()
        )

    def which_variant(self, state: Mapping[str, torch.Tensor]) -> str | None:
        """Name the variant that a state in our layout belongs to, if it is one."""
        fitting = {
            arch: len(unexpected)
            for arch, (missing, unexpected, wrong) in self.compare_variants(state).items()
            if not missing and not wrong
        }
        best = min(fitting, key=fitting.get, default=None)
        return repr(best) if best in self.archs else best

    def switch_to_deploy(self) -> None:
        """Fold norms, identities and parallel layers into one another, in place, for inference.

        The outputs stay equal to about 1e-6 relative; state dicts of the trained form no longer
        load.
        """
        if self.deployed:
            return
        self.eval()
        for module in list(self.modules()):
            if hasattr(module, 'fuse'):
                module.fuse()
        self.deployed = True
