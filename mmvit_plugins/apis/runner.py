"""mmengine's runner, which says less on the screen and more of a data set that is empty."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, RUNNERS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ..checkpoint import fitting_meta, whole
from ..config import builds, check_classes, check_same_classes, check_tested
from ..datasets.checks import empty_dataset
from ..datasets.wrappers import leaf_configs
from ..engine.randomness import get_states
from ..engine.resume import (
    FAULTS,
    STATES,
    VALIDATED,
    check_optimizer_state,
    explained,
    fit_schedules,
)
from ..engine.training import ExactResumeHook, InvalidLossHook
from ..errors import UserError, sentence
from ..writing import write_bytes
from .console import keep_brief, stop_on_errors
from .work_dir import unique_folder


class _Explains:
    """Goes before a runner of mmengine's.

    Its checkpoints hold the random states of all processes, and what it resumes goes on exactly.
    """

    verbose = False
    step = 'run'  # what is done: train, val, test
    complete = False  # whether a checkpoint must have all of the model
    model: Any
    exact: ExactResumeHook
    loaded: dict
    optim_wrapper: Any
    worked: set[str]
    cfg: Config
    work_dir: str
    timestamp: str
    _timestamp: str

    def setup_env(self, env_cfg: dict) -> None:
        super().setup_env(env_cfg)
        # mmengine names it after the second, of which another run may have been started too
        self._timestamp = unique_folder(self.work_dir, self._timestamp)

    def dump_config(self) -> None:
        """Write the config beside the checkpoints; a test leaves there that of the training."""
        target = Path(self.work_dir, Path(self.cfg.filename or f'{self.timestamp}.py').name)
        is_there = target.is_file() and (self.complete or target.samefile(self.cfg.filename))
        if is_main_process() and not is_there:
            write_bytes(self.cfg.dump().encode(), target)

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        stop_on_errors(logger)
        if not self.verbose:
            keep_brief(logger)
        return logger

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        match fn_name.split('_'):
            case ['before', ('train' | 'val' | 'test') as step, *_]:
                self.step = step
            case ['after', 'train', 'iter']:
                self.worked.add('train')
            case ['after', step, 'epoch']:  # of a test: its scores are there too
                self.worked.add(step)
        super().call_hook(fn_name, **kwargs)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what fails in the first iteration, or the first test, into a sentence.

        Until then nothing has shown that the settings fit each other. Later it is the program's.

        Raises:
            UserError: Names the module, and what it says.
        """
        try:
            yield
        except FAULTS as error:
            # what a class says of its settings is told with their place, by config.explained
            if self.step in self.worked or sentence(error) or builds(error):
                raise
            text = ' '.join(str(error).split())[:300]
            firsts = {'train': 'the first iteration', 'val': 'the first validation'}
            what = firsts.get(self.step, f'the {self.step}')
            raise UserError(
                f'{what} fails in {_module_of(error)}: '
                f'{type(error).__name__}: {text}; most often settings do not fit each other or '
                'the data (MMVIT_TRACEBACK=1 shows the way there)'
            ) from error

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict:
        if not self.complete:
            return super().load_checkpoint(filename, *args, **kwargs)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        with whole(model, filename):
            self.loaded = super().load_checkpoint(filename, *args, **kwargs)
        names = fitting_meta(model, self.loaded, filename).get('classes')
        tested = getattr(self, '_test_loop', None)
        if names and isinstance(tested, BaseLoop):
            check_tested(self.cfg, names, tested.dataloader.dataset)
        return self.loaded

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        self.complete = True
        with explained(filename):
            super().resume(filename, *args, **kwargs)
            if isinstance(self.optim_wrapper, OptimWrapper):
                check_optimizer_state(self.optim_wrapper)
            fit_schedules(self, self.loaded)
        self.resumed_meta = self.loaded['meta']
        self.loaded = {}

    def save_checkpoint(self, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        states = all_gather_object(get_states())
        meta = {**(meta or {}), STATES: states, VALIDATED: self.exact.validating}
        super().save_checkpoint(*args, meta=meta, **kwargs)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_train_loop(loop)
        check_classes(self.cfg, built.dataloader.dataset)
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_val_loop(loop)
        trained = getattr(self, '_train_loop', None)  # mmengine builds it first
        if isinstance(trained, BaseLoop):
            check_same_classes(self.cfg, trained.dataloader.dataset, built.dataloader.dataset)
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


def _module_of(error: Exception) -> str:
    """Name the innermost module of a network, else the function, in which an error came up."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    owners = (frame.f_locals.get('self') for frame in reversed(frames))
    places = (type(x) for x in owners if isinstance(x, nn.Module))
    found = next((x for x in places if not x.__module__.startswith('torch.')), None)
    return found.__name__ if found else frames[-1].f_code.co_name


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


def build_runner(cfg: Config, verbose: bool, testing: bool = False) -> Runner:
    """Build the runner that a config names, by default mmengine's ``Runner``.

    Args:
        cfg: The whole config.
        verbose: Let the screen show all that goes into the log file.
        testing: Refuse a checkpoint that leaves a part of the model random.
    """
    kind = RUNNERS.get(cfg.get('runner_type', 'Runner'))
    explains: Any = type(
        kind.__name__, (_Explains, kind), {'verbose': verbose, 'complete': testing}
    )
    runner = explains.from_cfg(cfg)
    runner.worked = set()
    if not testing:
        runner.exact = ExactResumeHook()
        runner.register_hook(runner.exact)
        runner.register_hook(InvalidLossHook())
    return runner
