"""mmengine's runner, which says less on the screen and more of a data set that is empty."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, RUNNERS
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from ..config import check_classes
from ..datasets.checks import empty_dataset
from ..datasets.wrappers import leaf_configs
from ..errors import sentence
from .console import keep_brief


class _Explains:
    """Goes before a runner of mmengine's."""

    cfg: Config
    verbose = False

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        if not self.verbose:
            keep_brief(logger)
        return logger

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_train_loop(loop)
        check_classes(self.cfg, built.dataloader.dataset)
        return built

    @staticmethod
    def build_dataloader(dataloader: DataLoader | Mapping, *args, **kwargs) -> DataLoader:
        # mmengine cannot join the parts of an empty list, mmpretrain finds 0 files
        try:
            return Runner.build_dataloader(dataloader, *args, **kwargs)
        except (ValueError, RuntimeError) as error:
            if sentence(error):
                raise
            for config in leaf_configs(dataloader):
                _refuse_empty(config, error)
            raise


def _refuse_empty(config: Mapping, error: Exception) -> None:
    """Raise what to do about a data set that lists nothing, if that is why it was not built."""
    try:
        dataset = DATASETS.build({**config, 'lazy_init': True})
    except TypeError:  # it cannot wait: what stopped it says more
        return
    if not isinstance(dataset, BaseDataset):
        return
    try:
        dataset.data_list = dataset.load_data_list()
        dataset.data_list = dataset.filter_data()
    except RuntimeError as reason:
        if not str(reason).startswith('Found 0 files'):  # as mmpretrain's data sets say it
            return
        dataset.data_list = []
    if not dataset.data_list:
        raise empty_dataset(dataset) from error


def build_runner(cfg: Config, verbose: bool) -> Runner:
    """Build the runner that a config names, by default mmengine's ``Runner``.

    Args:
        cfg: The whole config.
        verbose: Let the screen show all that goes into the log file.
    """
    kind = RUNNERS.get(cfg.get('runner_type', 'Runner'))
    explains: Any = type(kind.__name__, (_Explains, kind), {'verbose': verbose})
    return explains.from_cfg(cfg)
