"""Registry nodes of the scope ``mmvit_plugins``, and what binds them to the hosts.

``dict(type='mmvit_plugins.AFFormer')`` is found from any host's scope: mmengine imports
``mmvit_plugins.registry`` for the prefix and then the ``locations`` of the node. Bare names work
where the package has been imported (``custom_imports``) and no host owns them: mmengine's root gets
a location more.
"""

import importlib.util

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

SCOPE = 'mmvit_plugins'

# models that inherit from a host's -> (where they are, the host's import name)
HOST_MODELS = {
    'AFFormerHead': (f'{SCOPE}.models.seg_heads', 'mmseg'),
    'MGFFHead': (f'{SCOPE}.models.cls_heads', 'mmpretrain'),
    'TwoStageClassifier': (f'{SCOPE}.models.classifiers', 'mmpretrain'),
}


class ModelRegistry(Registry):
    """Imports what inherits from a host's class when it is asked for: not every host is wanted."""

    def get(self, key: str) -> type | None:
        """Look a model up.

        Raises:
            ImportError: Its host is missing or broken, in one sentence.
        """
        name = key.removeprefix(f'{SCOPE}.')
        if name in HOST_MODELS and name not in self.module_dict:
            module, host = HOST_MODELS[name]
            if reason := host_error(host):
                raise ImportError(f'{SCOPE}.{name} needs {reason}') from reason
            importlib.import_module(module)
        return super().get(key)


MODELS = ModelRegistry('model', parent=ROOT_MODELS, scope=SCOPE, locations=[f'{SCOPE}.models'])
DATASETS = Registry('dataset', parent=ROOT_DATASETS, scope=SCOPE, locations=[f'{SCOPE}.datasets'])
TRANSFORMS = Registry(
    'transform', parent=ROOT_TRANSFORMS, scope=SCOPE, locations=[f'{SCOPE}.datasets']
)
METRICS = Registry('metric', parent=ROOT_METRICS, scope=SCOPE, locations=[f'{SCOPE}.evaluation'])
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope=SCOPE, locations=[f'{SCOPE}.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=ROOT_OPTIM_WRAPPER_CONSTRUCTORS,
    scope=SCOPE,
    locations=[f'{SCOPE}.engine'],
)

# A root that was asked before has imported its locations once and would not look at this one.
# The list is one that all of mmengine's registries share by default: a new one is put in its place.
ROOT_MODELS._locations = [*ROOT_MODELS._locations, f'{SCOPE}.models']
ROOT_MODELS._imported = False

# import name -> (what people call it, how to get it); the last two import torchvision and ask pip
# for none
HOSTS = {
    'mmseg': ('mmsegmentation', 'pip install onedl-mmcv onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'pip install onedl-mmcv onedl-mmpretrain torchvision'),
    'mmdet': ('mmdetection', 'pip install onedl-mmcv onedl-mmdetection torchvision'),
}


def is_available(package: str) -> bool:
    """Tell whether a package is installed, without importing it.

    An error inside the package stays visible where it is imported, which ``except ImportError``
    hides.
    """
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a spec, put in place by hand
        return False


def alias_in_root(*names: str) -> None:
    """Make models of ours known under their bare names to every host, unless the name is taken."""
    for name in names:
        if name not in ROOT_MODELS.module_dict:
            ROOT_MODELS.register_module(name=name, module=MODELS.module_dict[name])


def host_error(host: str) -> ImportError | None:
    """Tell why a host's models cannot be used; None if they can.

    Args:
        host: Its import name, a key of ``HOSTS``.
    """
    project, command = HOSTS[host]
    if not is_available(host):
        return ImportError(f'{project}, which is not installed: {command}')
    try:
        importlib.import_module(f'{host}.models')
    except Exception as error:  # torchvision raises a RuntimeError beside a torch that is not its
        cause = f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no text"}'
        reason = ImportError(f'{project}, which is installed but cannot be imported ({cause})')
        reason.__cause__ = error
        return reason
    return None
