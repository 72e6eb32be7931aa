"""What reads which part of a config: registries, classes, and names that mmengine looks for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmengine import registry as reg
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.distributed import init_process_group
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from .signatures import parameters

# what mmengine's runner and the tools read beside the runner's own arguments
ALSO_READ = {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type',
    'strategy', 'sync_bn', 'tta_model', 'tta_pipeline',
}  # fmt: skip
DEFAULT_HOOKS = {
    'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'
}  # fmt: skip
PARAMWISE = {
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult',
    'flat_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate',
}  # fmt: skip


FACTORS = {'lr_mult', 'decay_mult'}


def names_of(*functions: Callable) -> set[str]:
    """Return the keyword arguments of some functions and classes."""
    return {name for function in functions for name in parameters(function).names}


@dataclass(frozen=True)
class Built:
    """A dict with a ``type``, or a list of them.

    Attributes:
        registry: Of the type.
        default: The type of a dict that names none.
        extra: What is read beside the arguments of the class.
    """

    registry: Registry
    default: str | None = None
    extra: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Read:
    """A dict whose ``names`` are read one by one.

    Attributes:
        names: All that is read.
        strict: Another name raises an error; else it is passed over in silence.
        below: What reads the values of some of them.
    """

    names: set[str]
    strict: bool = True
    below: dict[str, Any] = field(default_factory=dict)


MODEL = Built(reg.MODELS)
DATASET = Built(reg.DATASETS)
SAMPLER = Built(reg.DATA_SAMPLERS)
TRANSFORM = Built(reg.TRANSFORMS)
METRIC = Built(reg.METRICS)
EVALUATOR = Built(reg.EVALUATOR, 'Evaluator')
HOOK = Built(reg.HOOKS, extra=frozenset({'priority'}))
CONSTRUCTOR = Built(reg.OPTIM_WRAPPER_CONSTRUCTORS)
SCHEDULER = Built(reg.PARAM_SCHEDULERS, extra=frozenset({'convert_to_iter_based'}))
LOADER = Read(
    {
        'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn',
        'num_batch_per_epoch', 'disable_subprocess_warning', *names_of(DataLoader),
    },
    below={
        'dataset': DATASET,
        'sampler': SAMPLER,
        'batch_sampler': SAMPLER,
        'collate_fn': Built(reg.FUNCTIONS),
    },
)  # fmt: skip
ENVIRONMENT = Read(
    {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    strict=False,
    below={
        'mp_cfg': Read(names_of(set_multi_processing)),
        'dist_cfg': Read({'backend', 'init_backend', 'port', *names_of(init_process_group)}),
    },
)
SECTIONS: dict[str, Built | Read] = {
    'model': MODEL,
    'data_preprocessor': MODEL,
    'tta_model': MODEL,
    'tta_pipeline': TRANSFORM,
    'train_dataloader': LOADER,
    'val_dataloader': LOADER,
    'test_dataloader': LOADER,
    'train_cfg': Built(reg.LOOPS),
    'val_cfg': Built(reg.LOOPS, 'ValLoop'),
    'test_cfg': Built(reg.LOOPS, 'TestLoop'),
    'optim_wrapper': Built(
        reg.OPTIM_WRAPPERS, 'OptimWrapper', frozenset({'constructor', 'paramwise_cfg'})
    ),
    'param_scheduler': SCHEDULER,
    'val_evaluator': METRIC,
    'test_evaluator': METRIC,
    'default_hooks': HOOK,
    'custom_hooks': HOOK,
    'visualizer': Built(reg.VISUALIZERS, 'Visualizer'),
    'log_processor': Built(reg.LOG_PROCESSORS, 'LogProcessor'),
    'randomness': Read(names_of(Runner.set_randomness)),
    'auto_scale_lr': Read({'enable', 'base_batch_size'}, strict=False),
    'custom_imports': Read({'imports', 'allow_failed_imports'}),
    'env_cfg': ENVIRONMENT,
}
# what is built from the settings of what is built
BELOW: dict[str, Built | Read] = {
    **dict.fromkeys(('pipeline', 'transforms'), TRANSFORM),
    **dict.fromkeys(('dataset', 'datasets'), DATASET),
    **dict.fromkeys(
        ('backbone', 'neck', 'head', 'decode_head', 'auxiliary_head', 'data_preprocessor',
         'rpn_head', 'roi_head', 'bbox_head', 'mask_head'),
        MODEL,
    ),
    'optimizer': Built(reg.OPTIMIZERS),
    'clip_grad': Read({'type', *names_of(clip_grad_norm_, clip_grad_value_)}),
    'vis_backends': Built(reg.VISBACKENDS),
    'metrics': METRIC,
}  # fmt: skip
