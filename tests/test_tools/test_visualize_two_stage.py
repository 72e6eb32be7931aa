"""Pictures of both looks: those of the model itself, in pixels of its input, and in the file."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from pictures import write_model, write_picture
from PIL import Image

from mmvit_plugins.apis import two_stage
from mmvit_plugins.errors import UserError
from mmvit_plugins.visualization import draw_two_stage

CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='mmvit_plugins.TwoStageClassifier',
    backbone=dict(
        type='mmvit_plugins.SwinTransformer',
        arch=dict(embed_dims=8, depths=(1,) * 4, num_heads=(1,) * 4, window_size=7),
        out_indices=(1, 3)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=7, in_channels=64),
    localizer=dict(type='mmvit_plugins.ActivationLocalizer', index=0),
    box=dict(max_area=1.0, min_side=0.1, threshold='otsu'))
data_preprocessor = dict(
    type='ClsDataPreprocessor', num_classes=7, mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True,
    pad_size_divisor=32)
test_dataloader = dict(dataset=dict(type='ImageNet', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""
NAMES = [f'bird {number}' for number in range(7)]


def model_of(tmp_path, names=True):
    pytest.importorskip('mmpretrain')
    meta = {'dataset_meta': {'classes': NAMES}} if names else None
    config, checkpoint, model = write_model(tmp_path, CONFIG, meta)
    for name, parameter in model.named_parameters():  # scores that are neither equal nor one
        if name.startswith('head.'):
            torch.nn.init.normal_(parameter, std=0.05)
    torch.save({'state_dict': model.state_dict(), 'meta': meta or {}}, checkpoint)
    return config, checkpoint, model


@pytest.fixture
def drawn(monkeypatch):
    """Collect what is drawn."""
    calls = []
    monkeypatch.setattr(
        two_stage, 'draw_two_stage', lambda *args: (calls.append(args), draw_two_stage(*args))[1]
    )
    return calls


def test_both_looks(run, tmp_path, drawn):
    config, checkpoint, model = model_of(tmp_path)
    folder = tmp_path / 'pictures/deep'
    folder.mkdir(parents=True)
    pixels = write_picture(folder / 'a.png')
    write_picture(folder / 'b.png', 60, 60)
    (folder / 'damaged.png').write_text('no picture')
    options = ('pictures', '--out', 'o', '--opacity', 0.3)
    done = run('visualize_two_stage.py', config, checkpoint, *options)
    assert done.returncode == 2
    assert '1 of 3 pictures could not be read' in done.stderr.strip().splitlines()[-1]

    inputs = torch.zeros(1, 3, 96, 128)
    inputs[0, :, :90, :110] = (torch.tensor(pixels).permute(2, 0, 1).float() - 128) / 64
    looks = model.two_stages(inputs)
    assert looks['statuses'] == ['ok']  # else nothing is seen of the second look
    scores = looks['logits'][:, 0].softmax(-1)
    fused = looks['logits'][:, 0].mean(0).softmax(-1)
    image, response, box, status, lines, opacity = drawn[0]
    np.testing.assert_array_equal(image[:90, :110], pixels)
    assert image.shape == (96, 128, 3) and not image[90:].any() and not image[:, 110:].any()
    np.testing.assert_allclose(response, looks['response'][0], rtol=1e-3)
    assert box == pytest.approx(looks['boxes'][0].tolist(), abs=0.01)
    assert status == 'ok' and opacity == 0.3

    written = json.loads((tmp_path / 'o/predictions.json').read_text())
    assert list(written) == ['deep/a', 'deep/b']
    entry = written['deep/a']
    assert entry['box'] == box and entry['status'] == 'ok'
    for title, expected in {'stage one': scores[0], 'stage two': scores[1], 'fused': fused}.items():
        best = expected.argsort(descending=True)[:5].tolist()
        assert [found['label'] for found in entry[title]] == best
        assert [found['class'] for found in entry[title]] == [NAMES[label] for label in best]
        values = [found['score'] for found in entry[title]]
        assert values == pytest.approx(expected[best].tolist(), abs=1e-5)
        assert lines[title] == [f'{v:.3f}  {NAMES[k]}' for v, k in zip(values, best, strict=True)]
    assert entry['stage one'] != entry['stage two']
    with Image.open(tmp_path / 'o/deep/a.png') as sheet:
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(draw_two_stage(*drawn[0])))
    assert (tmp_path / 'o/deep/b.png').is_file()


def test_one_look_and_classes_without_names(tmp_path, drawn):
    """A picture of one size is cut to no box: the second look is the first."""
    config, checkpoint, _ = model_of(tmp_path, names=False)
    write_picture(tmp_path / 'a.png')
    args = (config, checkpoint, str(tmp_path / 'a.png'), str(tmp_path / 'o'))
    two_stage.visualize_two_stage(*args, cfg_options={'model.box.max_area': 0.0})
    written = json.loads((tmp_path / 'o/predictions.json').read_text())['a']
    assert written['status'] == 'whole' and written['box'] == [0, 0, 128, 96]
    assert written['stage one'] == written['stage two'] == written['fused']
    # ImageNet's 1000 names are not those of seven classes
    assert [entry['class'] for entry in written['fused']] == [
        str(entry['label']) for entry in written['fused']
    ]


def test_what_cannot_be_shown_is_said(tmp_path):
    config, checkpoint, _ = model_of(tmp_path)
    write_picture(tmp_path / 'a.png')

    def refused(words, source='a.png', **options):
        with pytest.raises(UserError, match=words) as caught:
            two_stage.visualize_two_stage(
                config, checkpoint, str(tmp_path / source), str(tmp_path / 'o'), **options
            )
        assert '\n' not in str(caught.value)

    refused('opacity=-1: give a number from 0', opacity=-1)
    refused('nix does not exist', source='nix')
    refused(
        r"default_scope='mmseg', pictures can be made for \['mmpretrain'\]",
        cfg_options={'default_scope': 'mmseg', 'model': None, 'data_preprocessor': None},
    )
    model = {
        key: value
        for key, value in Config.fromfile(config).model.items()
        if key not in ('localizer', 'box')
    }
    once = {**model, 'type': 'ImageClassifier', '_delete_': True}
    refused('the model is a ImageClassifier, which looks once: give', cfg_options={'model': once})


def test_what_is_done_is_kept_when_the_rest_fails(tmp_path, drawn, monkeypatch):
    config, checkpoint, _ = model_of(tmp_path)
    (tmp_path / 'pictures').mkdir()
    for name in 'abc':
        write_picture(tmp_path / f'pictures/{name}.png')
    args = (config, checkpoint, str(tmp_path / 'pictures'))
    two_stage.visualize_two_stage(*args, str(tmp_path / 'whole'))
    whole = json.loads((tmp_path / 'whole/predictions.json').read_text())
    results = iter((draw_two_stage(*drawn[0]), draw_two_stage(*drawn[1])))
    monkeypatch.setattr(two_stage, 'draw_two_stage', lambda *_: next(results))
    with pytest.raises(StopIteration):
        two_stage.visualize_two_stage(*args, str(tmp_path / 'part'))
    part = json.loads((tmp_path / 'part/predictions.json').read_text())
    assert list(whole) == ['a', 'b', 'c']
    assert part == {name: whole[name] for name in 'ab'}
