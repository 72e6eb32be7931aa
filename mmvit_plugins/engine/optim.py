"""Layer-wise decay of the learning rate, for the models of every host."""

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from ..errors import UserError
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with a learning rate that falls towards the input of the backbone.

    A parameter's rate is multiplied by ``layer_decay_rate ** (layers - 1 - depth)``, with what the
    backbone's ``get_layer_depth`` says; outside the backbone it keeps its rate. All of mmengine's
    settings hold (``custom_keys`` with ``lr_mult`` and ``decay_mult``, ``norm_decay_mult``,
    ``bypass_duplicate`` ...), and the two multiply. Parameters that share all settings share a
    group, so that the optimizer steps them at once.

    In a config::

        optim_wrapper = dict(
            constructor='mmvit_plugins.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.9, norm_decay_mult=0.0),
            optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))

    Works where mmpretrain's and mmseg's constructors do not: those need a model that forwards
    ``get_layer_depth`` and ignore ``lr_mult``, or know three networks by name.

    Schedules follow each group's own rate as long as their settings are relative: give
    ``eta_min_ratio``, since one absolute ``eta_min`` for all layers lies above the rate of the
    first ones.

    Args:
        optim_wrapper_cfg: mmengine's; the optimizer needs an ``lr``.
        paramwise_cfg: mmengine's, and ``layer_decay_rate``, a number in (0, 1].

    Raises:
        UserError: The rate or ``lr`` is missing or out of range; later, on calling it with a model,
            the backbone does not tell the depth of its layers, or parameters are tied without
            ``bypass_duplicate``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            found = f'it is {rate!r}' if rate is not None else f'found {sorted(self.paramwise_cfg)}'
            raise UserError(
                f'{type(self).__name__}: paramwise_cfg needs layer_decay_rate, a number in (0, 1]; '
                f'{found}'
            )
        if self.base_lr is None:
            raise UserError(f'{type(self).__name__}: the optimizer needs lr, which is scaled')
        self.rate = rate

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: float | None = None,
    ) -> None:
        """Add the groups of a module to ``params``, those of a whole model scaled and joined."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:  # else mmengine's recursion, which comes back here for every child
            params[:] = self._scale(params, module)

    def _scale(self, groups: list[dict], model: nn.Module) -> list[dict]:
        """Scale groups of one parameter each by their layers, and join those that are alike."""
        if len({group['params'][0] for group in groups}) < len(groups):
            raise UserError(
                f'{type(self).__name__}: the model holds a parameter in two places (tied weights): '
                'set bypass_duplicate=True in paramwise_cfg, and it counts where it stands first'
            )
        backbones = self._find_backbones(model)
        names = {param: name for name, param in model.named_parameters()}
        joined: list[dict] = []
        scales: dict[str, float] = {}
        for group in groups:
            name, layer, scale = names[group['params'][0]], 'the rest', 1.0
            for prefix, backbone in backbones.items():
                if name.startswith(prefix):
                    depth, count = backbone.get_layer_depth(name[len(prefix) :])
                    layer = f'{prefix.rstrip(".")} layer {depth}'.lstrip()
                    scale = self.rate ** (count - 1 - depth)
            scales[layer] = scale
            group['lr'] = group.get('lr', self.base_lr) * scale
            alike = next((other for other in joined if _options(other) == _options(group)), None)
            if alike:
                alike['params'].extend(group['params'])
            else:
                joined.append(group)
        rates = (f'{layer}: {self.base_lr * scale:.4g}' for layer, scale in scales.items())
        print_log(
            f'layer-wise decay by {self.rate}, learning rates of the layers before any lr_mult: '
            f'{", ".join(rates)}; {len(joined)} groups',
            'current',
        )
        return joined

    def _find_backbones(self, model: nn.Module, prefix: str = '') -> dict[str, nn.Module]:
        """Find what tells the depth of its layers, by prefix; mmpretrain's models only forward."""
        if hasattr(model, 'get_layer_depth') and not hasattr(model, 'backbone'):
            return {prefix: model}
        found: dict[str, nn.Module] = {}
        for name, child in model.named_children():
            inside = self._find_backbones(child, f'{prefix}{name}.')
            if name == 'backbone' and not inside:
                raise self._no_depth(child)
            found |= inside
        if not prefix and not found:
            raise self._no_depth(model)
        return found

    def _no_depth(self, module: nn.Module) -> UserError:
        host, name = type(module).__module__.split('.')[0], type(module).__name__
        return UserError(
            f'{type(self).__name__}: {host}.{name} has no get_layer_depth, which tells the depth '
            'of a layer: take a backbone of mmvit_plugins or one of mmpretrain that has it, or '
            "mmengine's constructor without layer_decay_rate"
        )


def _options(group: dict) -> dict:
    return {key: value for key, value in group.items() if key != 'params'}
