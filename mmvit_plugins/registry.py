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
        host (str): Its import name, a key of ``HOSTS``.
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


def register_missing(name: str, reason: ImportError) -> Callable:
    """Register what stands in for a model whose host cannot be used, and return it.

    A host that is missing or broken is thus no reason to do without the rest of the package.

    Args:
        name (str): The model's name.
        reason (ImportError): From :func:`host_error`.

    Returns:
        Callable: Raises ``ImportError`` with one sentence that names the host and what is wrong
            with it.
    """

    def stand_in(*args, **kwargs):
        raise ImportError(f'{SCOPE}.{name} needs {reason}') from reason

    stand_in.__name__ = name
    MODELS.register_module(name=name, module=stand_in)
    return stand_in
