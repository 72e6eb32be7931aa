"""Registry nodes of the scope ``mmvit_plugins``, and what binds them to the hosts.

``dict(type='mmvit_plugins.AFFormer')`` is found from any host's scope: mmengine imports
``mmvit_plugins.registry`` for the prefix and then the ``locations`` of the node. Bare names work
where the package has been imported (``custom_imports``) and no host owns them.
"""

import importlib.util
from collections.abc import Callable

from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import Registry

SCOPE = 'mmvit_plugins'

MODELS = Registry('model', parent=ROOT_MODELS, scope=SCOPE, locations=[f'{SCOPE}.models'])
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

# import name -> (what people call it, how to get it)
HOSTS = {
    'mmseg': ('mmsegmentation', 'pip install onedl-mmcv onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'pip install onedl-mmcv onedl-mmpretrain'),
    'mmdet': ('mmdetection', 'pip install onedl-mmcv onedl-mmdetection'),
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


def missing_host(name: str, host: str) -> Callable:
    """Build what stands in for a component whose host is not installed.

    Args:
        name (str): The component's name.
        host (str): The import name of the host that it needs, a key of ``HOSTS``.

    Returns:
        Callable: Raises ``ImportError`` with one sentence that names the host and how to install
            it.
    """
    project, command = HOSTS[host]

    def stand_in(*args, **kwargs):
        raise ImportError(f'{SCOPE}.{name} needs {project}, which is not installed: {command}')

    stand_in.__name__ = name
    return stand_in
