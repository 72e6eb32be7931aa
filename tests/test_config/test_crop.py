"""The size of crops is one variable: every place follows it, in files and on the command line."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmvit_plugins.config import crop, load_config
from mmvit_plugins.config.crop import check_crop
from mmvit_plugins.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ADE = ROOT / 'configs/swin/swin_base_upernet_ade20k.py'  # its base has the recipe
CITYSCAPES = ROOT / 'configs/afformer/afformer_tiny_cityscapes.py'
# what makes a place of its own of the window of a test
SLIDE = "test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(340, 256))"


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(crop, 'print_log', lambda text, *_: lines.append(text))
    return lines


def sizes(cfg):
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    return (
        steps['RandomResize'].scale,
        steps['RandomCrop'].crop_size,
        cfg.model.data_preprocessor.size,
        cfg.val_dataloader.dataset.pipeline[1].scale,
    )


@pytest.mark.parametrize('value', [(640, 640), [640, 640], 640])
def test_the_option_reaches_every_place(said, value):
    """ADE20K's recipes keep the short side of a picture at the crop's, as mmsegmentation's do."""
    cfg = load_config(str(ADE), {'crop_size': value})
    assert sizes(cfg) == ((2560, 640), (640, 640), (640, 640), (2560, 640))
    assert cfg.tta_pipeline[1].transforms[0][0].scale == (1280, 320)
    assert said == ['crop_size=(640, 640) goes to all settings that are made from it']


def test_pictures_of_cityscapes_keep_their_own_size(said):
    cfg = load_config(str(CITYSCAPES), {'crop_size': (512, 768)})
    assert sizes(cfg) == ((2048, 1024), (512, 768), (512, 768), (2048, 1024))


def test_the_variable_of_a_later_file_reaches_every_place(tmp_path, said):
    """Through two files, of which the first has a window of its own that is written out."""
    middle, last = tmp_path / 'middle.py', tmp_path / 'last.yaml'
    middle.write_text(f'_base_ = {str(ADE)!r}\nmodel = dict({SLIDE})\n')
    last.write_text('_base_: middle.py\ncrop_size: [256, 384]\n')
    cfg = load_config(str(last))
    assert sizes(cfg) == ((1024, 256), (256, 384), (256, 384), (1024, 256))
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(256, 384), stride=(170, 192))
    check_crop(cfg)
    assert len(said) == 1


def test_nothing_changes_without_another_size(said):
    cfg = load_config(str(ADE), {'crop_size': (512, 512)})
    assert cfg._cfg_dict == Config.fromfile(ADE)._cfg_dict == load_config(str(ADE))._cfg_dict
    assert said == []


def test_a_place_that_differs_is_told(said):
    place = 'model.data_preprocessor.size'
    cfg = load_config(str(ADE), {place: (256, 256)})
    check_crop(cfg)
    assert len(said) == 1
    assert said[0].startswith(f'{place} is (256, 256), but crops of (512, 512) are trained on')
    assert cfg.model.data_preprocessor.size == (256, 256)  # as asked


@pytest.mark.parametrize('value', [0, (1, 2, 3), 'big', (512, -1)])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(UserError, match='give height and width in pixels'):
        load_config(str(ADE), {'crop_size': value})
