"""Hooks of every training that the tools start: exact resuming, and a stop where learning ends."""

import math
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..errors import UserError
from ..registry import HOOKS
from .randomness import get_states, place_samples, set_states
from .resume import STATES, VALIDATED, explained
from .storage import find_checkpoint

PATIENCE = 20  # losses in a row that a scaler of gradients may find too large


class LossError(UserError):
    """A loss that is not finite; says when, and from where to go on."""


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stop a training whose loss is NaN or infinite, before a checkpoint is written.

    With a scaler of gradients (fp16), which leaves out steps that are too large, only after 20 such
    losses in a row.

    Raises:
        LossError: That, with the iteration and the last good checkpoint.
    """

    priority = 'LOW'  # after the log's line, before the checkpoint

    def __init__(self) -> None:
        self.count = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Look at the loss that mmengine has logged: asking the GPU again would cost time."""
        scalars = runner.message_hub.log_scalars
        loss = scalars['train/loss'].current() if 'train/loss' in scalars else 0.0
        self.count = 0 if math.isfinite(loss) else self.count + 1
        scaled = hasattr(runner.optim_wrapper, 'loss_scaler')
        if self.count <= (PATIENCE if scaled else 0):
            return
        good = find_checkpoint(runner.work_dir)
        raise LossError(
            f'the loss is {loss} at iteration {runner.iter + 1}: the training is stopped. Take a '
            'lower rate (optim_wrapper.optimizer.lr), clip gradients (optim_wrapper.clip_grad), or '
            'look at the data; '
            + (f'the last good checkpoint is {good}' if good else 'no checkpoint was written yet')
        )


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Let a resumed training go on as if it had never stopped, to the bit.

    Random states are those of the checkpoint, and a validation that was due at its step is made up
    for. Holds for the same machine, number of processes and workers.
    """

    priority = 'LOWEST'  # when the others have opened what a validation writes into

    def __init__(self) -> None:
        self.validating = False

    def before_train(self, runner: Runner) -> None:
        """Put things back, then number the samples."""
        meta = getattr(runner, 'resumed_meta', None)
        states = None
        if meta:
            known = meta.get(STATES)
            if isinstance(known, list) and len(known) == get_world_size():
                with explained(str(runner._load_from)):
                    set_states(known[get_rank()])
            if _is_due(runner) and not meta.get(VALIDATED):
                runner.logger.info('resume: the validation of this step is made up for')
                runner.val_loop.run()
            # an uninterrupted run would not make the iterator of its loader here
            goes_on = not isinstance(runner.train_loop, EpochBasedTrainLoop)
            if goes_on or runner.train_dataloader.persistent_workers:
                states = get_states()
        place_samples(runner.train_dataloader, runner, states)

    def before_val(self, runner: Runner) -> None:
        """Remember that what is saved now has its validation behind it."""
        self.validating = True

    def after_val(self, runner: Runner) -> None:
        """Forget it."""
        self.validating = False


def _is_due(runner: Runner) -> bool:
    """Tell whether a validation belongs to where the training stands."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    step, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return step >= loop.val_begin and step > 0 and (step % loop.val_interval == 0 or step == end)
