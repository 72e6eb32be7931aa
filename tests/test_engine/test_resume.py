"""Going on with a training: what is refused, told, stretched, and what is never removed."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import get_priority

from mmvit_plugins.engine import CheckpointHook, InvalidLossHook
from mmvit_plugins.engine.resume import (
    STATES,
    check_optimizer_state,
    check_resumable,
    explained,
    fit_schedules,
    read_config,
)
from mmvit_plugins.engine.training import LossError
from mmvit_plugins.errors import UserError

SETTINGS = {
    'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 40},
    'train_dataloader': {'batch_size': 4},
    'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 0.1, 'betas': (0.9, 0.999)}},
    'param_scheduler': [{'type': 'CosineAnnealingLR', 'by_epoch': False}],
    'randomness': {'seed': 0},
}


def config(**changes):
    return Config({**SETTINGS, **changes})


def checkpoint(cfg=None, **meta):
    """What a run of a config would save in its twentieth iteration."""
    text = (cfg or config()).pretty_text
    return {
        'meta': {'iter': 20, 'epoch': 0, 'seed': 0, 'cfg': text, STATES: [{}], **meta},
        'state_dict': {},
        'message_hub': {},
        'optimizer': {},
        'param_schedulers': [{}],
    }


@pytest.fixture
def told(caplog):
    logger = MMLogger.get_instance('test_resume', logger_name='test_resume')
    MMLogger._instance_dict.move_to_end('test_resume')
    logger.addHandler(caplog.handler)
    yield lambda: ' '.join(record.getMessage() for record in caplog.records)
    logger.removeHandler(caplog.handler)


def test_the_same_run_goes_on_in_silence(told):
    check_resumable(checkpoint(), config(), 'x.pth')
    assert told() == ''


INCOMPLETE = {
    'no optimizer': ({'optimizer': None}, {}, 'optimizer'),
    'no schedules': ({'param_schedulers': None}, {}, 'param_schedulers'),
    'no meta': ({'meta': None}, {}, 'meta'),
    'text': ({}, {'iter': 'two'}, "iter='two'"),
    'negative': ({}, {'epoch': -1}, 'epoch=-1'),
}


@pytest.mark.parametrize('case', INCOMPLETE)
def test_what_no_training_wrote_is_refused(case):
    entries, meta, word = INCOMPLETE[case]
    with pytest.raises(UserError, match=f'{word}.*load_from'):
        check_resumable({**checkpoint(**meta), **entries}, config(), 'x.pth')


def test_a_run_without_schedules_needs_none():
    check_resumable({**checkpoint(), 'param_schedulers': None}, config(param_scheduler=[]), 'x.pth')


def test_a_run_by_epochs_does_not_become_one_by_iterations():
    """The checkpoint says epoch 0 of a run by iterations: it would never end."""
    epochs = config(train_cfg={'by_epoch': True, 'max_epochs': 3})
    with pytest.raises(UserError, match='counts iters, the config counts epochs'):
        check_resumable(checkpoint(), epochs, 'x.pth')


def test_an_optimizer_without_its_state_is_refused():
    lost = {'state': {}, 'param_groups': [{'params': [0]}]}
    with pytest.raises(UserError, match='lost its state'):
        check_resumable({**checkpoint(), 'optimizer': lost}, config(), 'x.pth')


def test_a_seed_is_a_number():
    with pytest.raises(UserError, match="seed='x'"):
        check_resumable(checkpoint(seed='x'), config(), 'x.pth')


@pytest.mark.parametrize('error', [KeyError('param_groups'), TypeError('x'), AssertionError('y')])
def test_what_is_no_state_of_this_training_is_a_sentence(error):
    with (
        pytest.raises(UserError, match='^x.pth: .* is no state of this training'),
        explained('x.pth'),
    ):
        raise error
    with pytest.raises(UserError, match='^ours$'), explained('x.pth'):
        raise UserError('ours')


def test_what_an_optimizer_remembers_has_the_size_of_its_weight():
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    wrapper = OptimWrapper(torch.optim.AdamW([weight]))
    check_optimizer_state(wrapper)
    wrapper.optimizer.state[weight] = {'step': torch.tensor(1.0), 'exp_avg': torch.zeros(2, 3)}
    check_optimizer_state(wrapper)
    wrapper.optimizer.state[weight]['exp_avg'] = torch.zeros(1, 3)
    with pytest.raises(ValueError, match='exp_avg'):
        check_optimizer_state(wrapper)


def test_another_optimizer_is_refused():
    other = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
    with pytest.raises(UserError, match='AdamW, the config has SGD'):
        check_resumable(checkpoint(), config(optim_wrapper=other), 'x.pth')


OTHER = {
    'batch size is 2, it was 4': {'train_dataloader': {'batch_size': 2}},
    'lr is 0.5, it was 0.1': {
        'optim_wrapper': {'optimizer': {**SETTINGS['optim_wrapper']['optimizer'], 'lr': 0.5}}
    },
    'seed is 7, it was 0': {'randomness': {'seed': 7}},
    'dataset is another than it was': {
        'train_dataloader': {'batch_size': 4, 'dataset': {'type': 'X'}}
    },
    'finished': {'train_cfg': {'max_iters': 20}},
}


@pytest.mark.parametrize('words', OTHER)
def test_what_differs_is_told_in_a_line(words, told):
    check_resumable(checkpoint(), config(**OTHER[words]), 'x.pth')
    assert words.replace('batch size', 'batch_size') in told()


def test_another_number_of_processes_is_told(told):
    check_resumable(checkpoint(**{STATES: [{}, {}]}), config(), 'x.pth')
    assert '1 processes train, there were 2' in told()


def test_a_run_without_a_seed_takes_that_of_the_checkpoint():
    """Else the samples would come in another order."""
    cfg = config(randomness={})
    check_resumable(checkpoint(config(randomness={}), seed=123), cfg, 'x.pth')
    assert cfg.randomness.seed == 123


def test_the_config_of_a_checkpoint_is_data(tmp_path):
    mark = str(tmp_path / 'mark')
    text = f'a = dict(b=[1, (2, 3)], c=open({mark!r}, "w"))\nd = dict(e=-1.5)\nf = {{"g": None}}'
    assert read_config(text) == {'d': {'e': -1.5}, 'f': {'g': None}}
    assert not (tmp_path / 'mark').exists()
    assert read_config('syntax error(') == read_config(7) == {}


def resumed(schedules, former, length, at):
    """A runner of ``length`` iterations, resumed at ``at`` from a run of ``former``."""
    cfg = config(param_scheduler=schedules, train_cfg={'max_iters': length})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    loop = SimpleNamespace(max_iters=length, max_epochs=1, iter=at)
    wrapper = OptimWrapper(optimizer)
    runner = SimpleNamespace(cfg=cfg, optim_wrapper=wrapper, train_loop=loop)

    def build(configs, optimizer):
        from mmengine.registry import PARAM_SCHEDULERS

        for one in configs:
            one.setdefault('end', length)
        return [PARAM_SCHEDULERS.build(x, default_args={'optimizer': optimizer}) for x in configs]

    runner._build_param_scheduler = build
    then = config(param_scheduler=schedules, train_cfg={'max_iters': former})
    runner.param_schedulers = None
    fit_schedules(runner, checkpoint(then))
    return runner


WARM = [
    {'type': 'LinearLR', 'start_factor': 0.1, 'begin': 0, 'end': 10, 'by_epoch': False},
    {'type': 'CosineAnnealingLR', 'begin': 10, 'by_epoch': False},
]


@pytest.mark.parametrize('length', [80, 30])
def test_a_schedule_to_the_end_is_stretched(length):
    """The rate is that of a run which had this length from the start."""
    runner = resumed(WARM, 40, length, 20)
    expected = 0.05 * (1 + math.cos(math.pi * 10 / (length - 10)))
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6)


def test_the_same_length_keeps_the_schedules_of_the_file():
    assert resumed(WARM, 40, 40, 20).param_schedulers is None


def test_a_schedule_that_ends_before_the_training_is_refused():
    fixed = [{'type': 'CosineAnnealingLR', 'begin': 0, 'end': 40, 'by_epoch': False}]
    with pytest.raises(UserError, match='raise the end'):
        resumed(fixed, 40, 80, 20)
    constant = [WARM[0]]  # stays at the full rate
    assert resumed(constant, 40, 80, 20).optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.1)


def run_hook(work, **info):
    """CheckpointHook at the start of a training that was resumed with such information."""
    hub = MessageHub('test')
    for key, value in info.items():
        hub.update_info(key, value)
    runner = SimpleNamespace(
        work_dir=str(work), message_hub=hub, logger=MMLogger.get_instance('test_resume')
    )
    hook = CheckpointHook(by_epoch=False, save_best='score', rule='greater', max_keep_ckpts=1)
    hook.before_train(runner)
    return hook


def test_a_checkpoint_names_no_file_outside_of_the_run(tmp_path):
    """Resuming a copy of a work dir, or a stranger's file, removes nothing elsewhere."""
    original, work = tmp_path / 'original', tmp_path / 'work'
    for folder in (original, work):
        folder.mkdir()
        (folder / 'best_score_iter_4.pth').write_text('x')
    hook = run_hook(work, best_ckpt=str(original / 'best_score_iter_4.pth'))
    assert hook.best_ckpt_path == str(work / 'best_score_iter_4.pth')
    hook._remove(hook.best_ckpt_path)
    assert (original / 'best_score_iter_4.pth').exists()
    assert not (work / 'best_score_iter_4.pth').exists()


@pytest.mark.parametrize(
    'path', ['/etc', '..', 'precious.pth', 'best_x_iter_1.pth/..', '', 7, None, ['a']]
)
def test_what_the_hook_never_wrote_is_nothing_to_remove(path, tmp_path):
    (tmp_path / 'precious.pth').write_text('x')
    assert run_hook(tmp_path, best_ckpt=path).best_ckpt_path is None


def test_numbers_of_outdated_files_are_numbers(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    for name in ('iter_2.pth', 'iter_4.pth', 'iter_6.pth', '../kept.pth'):
        (work / name).write_text('x')
    steps = ['../../kept', 2, 4, 6]
    hook = run_hook(work, keep_ckpt_ids=steps, outdated_ckpts=['/../../kept', None])
    assert list(hook.keep_ckpt_ids) == [6]
    assert sorted(path.name for path in work.iterdir()) == ['iter_6.pth']
    assert (tmp_path / 'kept.pth').exists()
    run_hook(work, keep_ckpt_ids=[6], outdated_ckpts=[6])
    assert list(work.iterdir()) == []  # it was stopped between writing and removing


def losing(values, **wrapper):
    """Let the hook see losses; returns how many it has let pass."""
    hub = MessageHub('losses')
    hub.log_scalars['train/loss'] = HistoryBuffer()
    runner = SimpleNamespace(
        message_hub=hub, iter=0, work_dir='nowhere', optim_wrapper=SimpleNamespace(**wrapper)
    )
    hook = InvalidLossHook()
    for runner.iter, value in enumerate(values):
        hub.log_scalars['train/loss'].update(value)
        hook.after_train_iter(runner, runner.iter)


@pytest.mark.parametrize('loss', [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_training(loss):
    with pytest.raises(LossError, match=f'{loss} at iteration 3'):
        losing([1.0, 0.5, loss, 1.0])


def test_a_scaler_may_leave_steps_out():
    losing([1.0, *[math.inf] * 19, 1.0, math.inf], loss_scaler=None)
    with pytest.raises(LossError):
        losing([math.nan] * 21, loss_scaler=None)


def test_the_stop_comes_before_the_checkpoint():
    """By mmengine's order of hooks: nothing is saved after a loss that is no number."""
    stop, save = (get_priority(hook.priority) for hook in (InvalidLossHook, CheckpointHook))
    assert stop < save
