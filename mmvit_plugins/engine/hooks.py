"""Hooks: checkpoints that survive an interruption or a full disk, and a look at the data first."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ..datasets.checks import check_dataset
from ..errors import UserError
from ..registry import HOOKS
from ..writing import write_bytes
from .storage import LAST, find_checkpoint

BEST = re.compile(r'best_[^/\\]+_(iter|epoch)_\d+(\.\w+)?')  # as mmengine names them


class CheckpointSaveError(UserError):
    """A checkpoint could not be written; names what is left and how to go on."""


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, with no moment at which a stop could cost more than the last interval.

    Files are replaced at once (``backend_args`` defaults to ``dict(backend='atomic')``), and an
    outdated or formerly best checkpoint goes only after the new one is on disk; there must thus
    be room for one checkpoint more. Only files of this run's folder are ever removed: of a path
    that a resumed checkpoint names, which may be of another folder or of anyone's making, the name
    alone counts. Takes mmengine's arguments, all but ``file_client_args``.

    Raises:
        ValueError: An argument that mmengine's hook does not know.
        CheckpointSaveError: While training, a checkpoint could not be written.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        unknown = sorted(self.args) + ['file_client_args'] * (self.file_client_args is not None)
        if unknown:
            raise ValueError(
                f'CheckpointHook: unknown arguments {unknown}; mmengine.hooks.CheckpointHook lists '
                'those that it takes, where files go is chosen with backend_args'
            )
        self.backend_args: dict = self.backend_args or {'backend': 'atomic'}

    def before_train(self, runner: Runner) -> None:
        """Find where files go, and which of those there are are this run's."""
        info: Any = runner.message_hub.runtime_info
        for key in ('keep_ckpt_ids', 'outdated_ckpts'):
            steps = info.get(key)
            info[key] = [x for x in steps if type(x) is int] if isinstance(steps, list) else []
        super().before_train(runner)
        self.best_ckpt_path = self._of_this_run(getattr(self, 'best_ckpt_path', None))
        paths = getattr(self, 'best_ckpt_path_dict', {})
        self.best_ckpt_path_dict = {key: self._of_this_run(path) for key, path in paths.items()}
        for step in info['outdated_ckpts']:  # it was stopped before they were gone
            self._remove(self._path(self.filename_tmpl.format(step)))

    def _path(self, name: str) -> str:
        return self.file_backend.join_path(self.out_dir, name)

    def _of_this_run(self, path: object) -> str | None:
        """Return where the best checkpoint that a resumed run names is in this run's folder."""
        name = PurePath(path).name if isinstance(path, str) else ''
        return self._path(name) if BEST.fullmatch(name) else None

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, note it in ``last_checkpoint``, then remove what ``max_keep_ckpts`` leaves out."""
        outdated = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.keep_ckpt_ids.popleft()
                runner.message_hub.update_info('outdated_ckpts', [outdated])
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

        name = self.filename_tmpl.format(step)
        self.last_ckpt = self._path(name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with _explained(runner):
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
            if is_main_process():
                write_bytes(self.last_ckpt.encode(), Path(runner.work_dir) / LAST)
        if outdated is not None:
            self._remove(self._path(self.filename_tmpl.format(outdated)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save a checkpoint that is better, and only then remove the former best one."""
        if not self.save_best:
            return
        # mmengine removes the former best file, if it knows one, before it writes: hide it.
        single = len(self.key_indicators) == 1
        former = {None: self.best_ckpt_path} if single else dict(self.best_ckpt_path_dict)
        self._set_best(dict.fromkeys(former))
        with _explained(runner):
            super()._save_best_checkpoint(runner, metrics)
        new = {None: self.best_ckpt_path} if single else self.best_ckpt_path_dict
        self._set_best({key: new[key] or path for key, path in former.items()})
        for key, path in former.items():
            if path and new[key] and path != new[key]:
                self._remove(path)
                runner.logger.info(f'The previous best checkpoint {path} is removed')

    def _set_best(self, paths: dict) -> None:
        if None in paths:
            self.best_ckpt_path = paths[None]
        else:
            self.best_ckpt_path_dict = paths

    def _remove(self, path: str) -> None:
        if is_main_process():
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # deepspeed writes folders
                self.file_backend.rmtree(path)


@contextmanager
def _explained(runner: Runner) -> Iterator[None]:
    """Turn a failure to write into one sentence that says how to go on."""
    try:
        yield
    except OSError as error:
        intact = find_checkpoint(runner.work_dir)
        raise CheckpointSaveError(
            f'cannot write the checkpoint {error.filename}: {error.strerror}; '
            + (
                f'the newest intact one is {intact}: make room, then go on with --resume'
                if intact
                else 'there is no earlier one in this work directory: make room, then start again'
            )
        ) from error


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Look at the data before the first iteration, with ``mmvit_plugins.datasets.check_dataset``.

    The processes of a job share the files, and where one finds a fault all end with its sentence.

    Args:
        complete: Open each JPEG file to see whether it is whole, which on a network disk takes
            minutes for ImageNet; else a few hundred of each data set. That all files exist is
            looked up in either case, by one listing of each folder.

    Raises:
        DataError: A data set is empty, which would let mmengine's ``InfiniteSampler`` wait for
            ever, or annotation files are missing or wrong.
    """

    priority = 'VERY_HIGH'

    def __init__(self, complete: bool = False) -> None:
        self.complete = complete
        self.notes: dict[str, list[str]] = {}

    def before_run(self, runner: Runner) -> None:
        """Check the data sets of the loops that this run has built."""
        # The runner's public properties would build the loops that this run does not need.
        for name in ('train', 'val', 'test'):
            loop = getattr(runner, f'_{name}_loop')
            if isinstance(loop, BaseLoop):
                self.notes[name] = check_dataset(
                    loop.dataloader.dataset, name, self.complete, _outputs(runner)
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Say beside the scores which classes they leave out."""
        self._repeat(runner, 'val')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Say beside the scores which classes they leave out."""
        self._repeat(runner, 'test')

    def _repeat(self, runner: Runner, name: str) -> None:
        if notes := self.notes.get(name):
            runner.logger.info(f'of these scores: {"; ".join(notes)}')


def _outputs(runner: Runner) -> int | None:
    """Return how many classes a classifier or a segmentor tells apart, None if it is not known."""
    model: Any = getattr(runner, 'model', None)
    model = getattr(model, 'module', model)  # of a wrapper for many processes
    head: Any = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head  # a cascade
    count = getattr(head, 'num_classes', None)
    return count if isinstance(count, int) and count > 1 else None  # 1: a foreground
