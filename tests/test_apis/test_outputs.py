"""What may be written, and whose a work folder is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from mmengine.config import Config

from mmvit_plugins.apis import work_dir
from mmvit_plugins.apis.inference import Classification, Segmentation
from mmvit_plugins.apis.outputs import check_outputs
from mmvit_plugins.apis.pictures import find_pictures
from mmvit_plugins.apis.scene_files import check_files, files_of_scene
from mmvit_plugins.apis.work_dir import checkpoints_in, claim_work_dir, lock_folder, unique_folder
from mmvit_plugins.datasets.hyperspectral.catalogue import SCENES
from mmvit_plugins.errors import UserError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with pictures, a link to them, a file and a result."""
    (tmp_path / 'pictures').mkdir()
    for name in ('pictures/a.png', 'file', 'result.png'):
        (tmp_path / name).touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'pictures')
    (tmp_path / 'alias.png').symlink_to(tmp_path / 'pictures/a.png')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ('files', 'inputs', 'words'),
    [
        (['pictures/a.png'], ['pictures/a.png'], 'pictures/a.png is read, and would be written ov'),
        (['alias.png'], ['pictures/a.png'], 'alias.png is read'),
        (['pictures/a.png'], ['alias.png'], 'is read'),
        (['pictures/b.png'], ['pictures'], 'pictures is read, and would be written into'),
        (['link/new/b.png'], ['pictures'], 'link/new lies in pictures, which is read'),
        (['pictures/../pictures/b.png'], ['link'], 'is read'),
        (['x/a.png', 'x/../x/a.png'], [], 'would be written twice'),
        (['file/a.png'], [], 'file is a file, where the folder file is needed'),
        (['file/x/a.png'], [], 'file is a file'),
        (['pictures'], [], 'pictures is a folder, and a file is to be written'),
        (['result.png'], [], 'result.png is there already: .* with --overwrite'),
    ],
)
def test_what_must_not_be_written(here, files, inputs, words):
    with pytest.raises(UserError, match=words):
        check_outputs(files, inputs)
    if 'there already' not in words:
        with pytest.raises(UserError, match=words):
            check_outputs(files, inputs, overwrite=True)


def test_what_may_be_written(here):
    check_outputs(['new/folder/a.png', 'b.png', '/dev/null'], ['pictures', 'no file', None, ''])
    check_outputs(['b.png'], ['pictures/a.png'])  # beside an input's folder, which has no other
    check_outputs(['pictures/b.png'], ['pictures/a.png'])
    check_outputs(['result.png'], ['pictures'], overwrite=True)
    check_outputs([], ['pictures'], folders=['.'])
    with pytest.raises(UserError, match='file is a file'):
        check_outputs([], folders=['file'])
    assert sorted(path.name for path in here.iterdir()) == [
        'alias.png', 'file', 'link', 'pictures', 'result.png',
    ]  # fmt: skip


def test_a_folder_without_rights_is_said(here, monkeypatch):
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may always
    with pytest.raises(UserError, match='nothing can be written into'):
        check_outputs(['new/a.png'])


def test_label_maps_lie_where_no_picture_does(here):
    """``labels/a.png`` is both the label map of a.png and the picture of labels/a.png."""
    (here / 'pictures/labels').mkdir()
    (here / 'pictures/labels/a.png').touch()
    pictures = find_pictures('pictures')
    with pytest.raises(UserError, match='out/labels/a.png would be written twice'):
        check_outputs(Segmentation.outputs(pictures, Path('out')))
    check_outputs(Classification.outputs(pictures, Path('out')))
    (here / 'predictions.json').touch()
    with pytest.raises(UserError, match='predictions.json is there already'):
        check_outputs(Classification.outputs(pictures, here))


def test_the_files_of_a_map(here):
    Path('m.npy').touch()
    for arguments in (
        ('m.png', False, None, None, ['m.npy'], True),  # NAME.npy is the scene
        ('n.png', False, 'm.npy', None, ['m.npy'], True),
        ('n.png', True, None, 'm.npy', ['m.npy'], True),
    ):
        with pytest.raises(UserError, match='m.npy is read'):
            check_files(*arguments)
    with pytest.raises(UserError, match='n.npy would be written twice'):
        check_files('n.png', False, None, 'n.npy', [], False)
    with pytest.raises(UserError, match='m.npy is there already'):
        check_files('m.png', False, None, None, [], False)
    check_files('n.png', True, 'n.npy', 'scores.npy', ['m.npy'], False)  # the same labels


def config(folder, **settings):
    (folder / 'configs').mkdir(exist_ok=True)
    file = folder / 'configs/c.py'
    file.write_text('')
    loader = dict(
        dataset=dict(data_root='data', data_prefix=dict(img='images'), ann_file='list.json')
    )
    return Config(dict(train_dataloader=loader, work_dir='w', **settings), filename=str(file))


def test_the_folder_of_a_run(here):
    Path('data/images').mkdir(parents=True)
    Path('data/list.json').touch()
    for place, words in (
        ('configs', 'is that of the config .*c.py, which would be written over'),
        ('data/images/w', 'lies in data/images, which is read'),
        ('data', 'data is the folder of the data'),
        ('file', 'file is a file'),
    ):
        cfg = config(here)
        cfg.work_dir = place
        with pytest.raises(UserError, match=words):
            claim_work_dir(cfg)
    with pytest.raises(UserError, match='data/list.json is read'):
        claim_work_dir(config(here), files=['data/list.json'], overwrite=True)
    with pytest.raises(UserError, match='data/images lies|data/images is read'):
        claim_work_dir(config(here), folders=['data/images'])
    claim_work_dir(config(here), anew=True)
    cfg = config(here)
    cfg.work_dir = 'data/work'  # beside the pictures
    claim_work_dir(cfg)
    cfg.train_dataloader.dataset.update(data_root='', data_prefix={}, ann_file='')
    cfg.work_dir = 'anywhere'  # a data set that says only '' has no folder of its own
    claim_work_dir(cfg)
    # the copy of the config that a run has left is tested and resumed where it lies
    Path('configs/2026/vis_data').mkdir(parents=True)
    Path('configs/2026/vis_data/config.py').touch()
    cfg.work_dir = 'configs'
    claim_work_dir(cfg)


@pytest.mark.parametrize('left', ['iter_4.pth', 'best_mIoU_iter_8.pth', 'last_checkpoint'])
def test_a_training_anew_needs_a_folder_without_checkpoints(here, left):
    cfg = config(here)
    claim_work_dir(cfg, anew=True)
    Path('w/pretrained.pth').touch()
    claim_work_dir(cfg, anew=True)
    Path('w', left).touch()
    assert [path.name for path in checkpoints_in(Path('w'))] == [left]
    with pytest.raises(UserError, match=f'checkpoints of another run, as {left}: .* --resume'):
        claim_work_dir(cfg, anew=True)
    claim_work_dir(cfg)


def test_a_locked_folder_is_another_runs_until_that_ends(here, monkeypatch):
    code = (
        'import sys; from pathlib import Path\n'
        'from mmvit_plugins.apis.work_dir import lock_folder\n'
        'lock_folder(Path()); print(flush=True); sys.stdin.read()'
    )
    owner = subprocess.Popen(
        [sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout.readline()
    with pytest.raises(UserError, match=f'another run writes into . .process {owner.pid} on '):
        lock_folder(Path())
    owner.kill()
    owner.wait()
    lock_folder(Path())
    lock_folder(Path())  # it is ours
    work_dir._locks.clear()


def test_log_folders_of_one_second_differ(here):
    assert [unique_folder('.', '2026') for _ in range(3)] == ['2026', '2026_2', '2026_3']


def test_the_files_of_a_scene_are_inputs_by_its_name(tmp_path):
    info = SCENES['indian-pines']
    expected = []
    for kind, value in (('image', np.zeros((2, 2, 3))), ('labels', np.zeros((2, 2)))):
        file, variable = getattr(info, kind)[0]
        scipy.io.savemat(tmp_path / file, {variable: value})
        expected.append(tmp_path / file)
    loading = {'scene': 'indian-pines', 'data_root': str(tmp_path)}
    assert files_of_scene(loading) == expected
    assert files_of_scene({**loading, 'data_root': str(tmp_path / 'nowhere')}) == []
    assert files_of_scene({'scene': 'synthetic'}) == files_of_scene({}) == []
