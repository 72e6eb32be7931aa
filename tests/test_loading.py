"""What loading changes in the process (docs/loading.md) touches nothing of others."""

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys, torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.registry import MODELS, init_default_scope

path = sys.argv[1]
init_default_scope('mmpretrain')


def look():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=32),
    ))
    state = {key: value + 1 for key, value in model.state_dict().items()}
    torch.save({'state_dict': state, 'state_dict_ema': {}, 'meta': {'x': 1}}, path)
    load_checkpoint(model, path, map_location='cpu')
    hooks = [len(m._load_state_dict_pre_hooks) + len(m._state_dict_hooks) for m in model.modules()]
    content = CheckpointLoader.load_checkpoint(path, 'cpu', logger='silent')
    return [
        sum(hooks),
        all(torch.equal(value, state[key]) for key, value in model.state_dict().items()),
        float(model.eval()(torch.ones(1, 3, 32, 32)).sum()),
        sorted(content),
        sorted(map(str, torch.serialization.get_safe_globals())),
    ]


before = look()
import mmvit_plugins.engine, mmvit_plugins.models
after = look()
ours = MODELS.build(dict(
    type='ImageClassifier', backbone=dict(type='mmvit_plugins.T2TViT', arch='7'), neck=None,
    head=dict(type='LinearClsHead', num_classes=3, in_channels=256),
))
print(json.dumps([before, after, len(ours._load_state_dict_pre_hooks)]))
"""


def test_a_model_without_a_part_of_ours_loads_as_before(tmp_path):
    pytest.importorskip('mmpretrain')
    command = [sys.executable, '-c', CODE, str(tmp_path / 'x.pth')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    before, after, ours = json.loads(done.stdout.splitlines()[-1])
    assert before == after
    hooks, equal, *_ = before
    assert (hooks, equal) == (0, True)
    assert ours == 1, 'one hook, on the module that has a backbone of ours'
