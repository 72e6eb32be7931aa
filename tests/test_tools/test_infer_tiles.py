"""Large pictures: tiles against NumPy, places on Earth, pixels without data, probabilities."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmseg')
pytest.importorskip('rasterio')

import rasterio  # noqa: E402
import rasterio.shutil  # noqa: E402
from blending import places, weigh  # noqa: E402
from pixels import CLASSES, PALETTE, draw, softmax, write_segmentor  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

from mmvit_plugins.apis import inference, windows  # noqa: E402
from mmvit_plugins.apis.inference import infer  # noqa: E402
from mmvit_plugins.apis.predictor import Predictor  # noqa: E402
from mmvit_plugins.apis.scores import Scores  # noqa: E402
from mmvit_plugins.apis.tiles import Axis  # noqa: E402
from mmvit_plugins.apis.windows import Raster, Whole  # noqa: E402
from mmvit_plugins.errors import UserError  # noqa: E402

CRS, TRANSFORM = 'EPSG:32633', from_origin(5e5, 5e6, 0.2, 0.2)


def write_tiff(path, picture, **about):
    """Write a TIFF ``(H, W, C)``; with a place on Earth, unless ``about`` says otherwise."""
    height, width, count = picture.shape
    about = {'crs': CRS, 'transform': TRANSFORM, 'compress': 'deflate'} | about
    about = {key: value for key, value in about.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with rasterio.open(
            path, 'w', 'GTiff', width, height, count, dtype=picture.dtype, **about
        ) as file:
            file.write(picture.transpose(2, 0, 1))
    return str(path)


@pytest.mark.parametrize('options', [{}, {'tile': 64}, {'tile': 50, 'overlap': 0.6}])
def test_a_geotiff_keeps_its_place_and_gaps(options, tmp_path):
    """Whole or by tiles, a network that sees single pixels says the same as NumPy."""
    config, checkpoint, logits = write_segmentor(tmp_path)
    picture = draw(150, 210)
    picture[:70, :100] = 0  # some tiles have no data at all
    picture[100, 100] = 0
    picture[100, 101, :2] = 0  # one band has data
    source = write_tiff(tmp_path / 'scene.tif', picture, nodata=0)
    infer(config, checkpoint, source, str(tmp_path / 'o'), save=['probabilities'], **options)
    gaps = (picture == 0).all(-1)
    expected = softmax(logits(picture))
    with rasterio.open(tmp_path / 'o/labels/scene.tif') as file:
        labels = file.read(1)
        assert (file.crs, file.transform) == (rasterio.CRS.from_string(CRS), TRANSFORM)
        assert (file.nodata, file.dtypes, file.descriptions) == (255, ('uint8',), ('class',))
        assert [list(file.colormap(1)[k][:3]) for k in range(4)] == PALETTE
        assert [file.tags(1)[f'class_{k}'] for k in range(4)] == CLASSES
        rasterio.shutil.copy(file, tmp_path / 'as_gdal_reads_it.vrt', driver='VRT')
    assert '<Category>road &amp; rail</Category>' in (tmp_path / 'as_gdal_reads_it.vrt').read_text()
    np.testing.assert_array_equal(labels, np.where(gaps, 255, expected.argmax(0)))
    assert len(np.unique(labels)) == 5
    with rasterio.open(tmp_path / 'o/probabilities/scene.tif') as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_string(CRS), TRANSFORM)
        assert list(file.descriptions) == CLASSES
        assert file.tags(1, ns='IMAGE_STRUCTURE') == {'NBITS': '16'}
        values = file.read()
    assert np.isnan(values[:, gaps]).all()
    np.testing.assert_allclose(values[:, ~gaps], expected[:, ~gaps], atol=1e-3)
    np.testing.assert_allclose(values[:, ~gaps].sum(0), 1, atol=2e-3)
    assert Image.open(tmp_path / 'o/scene.png').width > 2 * 210


def blend(picture, logits, tile, overlap):
    """Compute the probabilities of each tile, and their weighted mean."""
    axes = [Axis(side, tile, overlap) for side in picture.shape[:2]]
    return weigh([softmax(logits(picture[place])) for place in places(*axes)], *axes)


@pytest.mark.parametrize(('workers', 'batch_size'), [(0, 1), (3, 4)])
def test_tiles_of_a_network_that_sees_all_of_them(workers, batch_size, tmp_path):
    """Of a plain picture; the blend of NumPy comes out, and names are in the files."""
    config, checkpoint, logits = write_segmentor(tmp_path, context=3.0)
    picture = draw(120, 170, 8)
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    infer(config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / 'o'), tile=64,
          overlap=0.5, save=['probabilities'], workers=workers, batch_size=batch_size)  # fmt: skip
    expected = blend(picture, logits, 64, 0.5)
    assert abs(expected - softmax(logits(picture))).max() > 0.2  # as a whole it is another
    with np.load(tmp_path / 'o/probabilities/picture.npz') as file:
        assert file['classes'].tolist() == CLASSES
        assert file['probabilities'].dtype == np.float16
        np.testing.assert_allclose(file['probabilities'], expected, atol=1e-3)
    image = Image.open(tmp_path / 'o/labels/picture.png')
    assert image.mode == 'L'  # each reader sees the classes, none colours
    table = json.loads(image.text['classes'])
    assert [entry['class'] for entry in table] == CLASSES
    assert [entry['colour'] for entry in table] == PALETTE
    best = np.sort(expected, 0)[-2:]
    clear = best[1] - best[0] > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(np.asarray(image)[clear], expected.argmax(0)[clear])


@pytest.mark.parametrize('tile', [200, 0, None])
def test_a_tile_that_holds_the_picture_changes_nothing(tile, tmp_path):
    config, checkpoint, _ = write_segmentor(tmp_path, context=3.0)
    Image.fromarray(draw(90, 200, 4)).save(tmp_path / 'picture.png')
    for name, options in (('whole', {}), ('tiled', {'tile': tile})):
        infer(config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / name),
              save=['probabilities'], **options)  # fmt: skip
    for file in ('picture.png', 'labels/picture.png', 'probabilities/picture.npz'):
        whole, tiled = ((tmp_path / name / file) for name in ('whole', 'tiled'))
        if file.endswith('png'):
            assert whole.read_bytes() == tiled.read_bytes()
        else:
            np.testing.assert_array_equal(
                np.load(whole)['probabilities'], np.load(tiled)['probabilities']
            )


def test_tiles_are_seen_in_the_pictures_own_size(tmp_path):
    """A step of the pipeline that resizes is left out: its scale is that of whole pictures."""
    change = ("e='PackSeg", "e='Resize', scale=(64, 64)), dict(type='PackSeg")
    config, checkpoint, logits = write_segmentor(tmp_path, change=change)
    picture = draw(100, 140)
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    infer(config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / 'o'), tile=32)
    labels = np.asarray(Image.open(tmp_path / 'o/labels/picture.png'))
    np.testing.assert_array_equal(labels, logits(picture).argmax(0))


@pytest.mark.parametrize('limit', [{'LARGE': 300 * 500 - 1}, {'SCORES': 4 * 300 * 500 - 1}])
def test_a_huge_picture_is_never_loaded_as_a_whole(limit, tmp_path, monkeypatch):
    """Tiles are its default; what is drawn is every n-th pixel."""
    config, checkpoint, logits = write_segmentor(tmp_path)
    picture = draw(300, 500)
    source = write_tiff(tmp_path / 'scene.tif', picture, tiled=True, blockxsize=64, blockysize=64)
    for name, value in limit.items():
        monkeypatch.setattr(inference, name, value)
    monkeypatch.setattr(inference, 'TILE', 80)
    monkeypatch.setattr(windows, 'MAX_SIDE', 100)
    sizes, load = [], Predictor.load

    def note(self, *args):
        found = load(self, *args)
        sizes.append(found['img'].shape[:2])
        return found

    monkeypatch.setattr(Predictor, 'load', note)
    infer(config, checkpoint, source, str(tmp_path / 'o'))
    assert set(sizes) == {(80, 80), (60, 100)}
    with rasterio.open(tmp_path / 'o/labels/scene.tif') as file:
        np.testing.assert_array_equal(file.read(1), logits(picture).argmax(0))
    assert Image.open(tmp_path / 'o/scene.png').width < 5 * 300


KINDS = {
    'rgb': (draw(40, 50), {}),
    'alpha': (np.dstack([draw(40, 50), draw(40, 50)[..., 0]]), {}),
    'grey': (draw(40, 50)[..., :1], {}),
    'deep': (draw(40, 50)[..., :1].astype(np.uint16) * 257, {}),
    'jpeg': (
        np.mgrid[0:40, 0:50, 0:3].sum(0).astype(np.uint8) * 2,
        {'compress': 'jpeg', 'photometric': 'ycbcr'},
    ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_windows_hold_what_the_loader_makes_of_the_file(kind, tmp_path):
    config, checkpoint, _ = write_segmentor(tmp_path)
    picture, about = KINDS[kind]
    path = tmp_path / 'scene.tif'
    write_tiff(path, picture, crs=None, transform=None, **about)
    predictor = Predictor(config, checkpoint)
    whole, raster = Whole(predictor, path), Raster(predictor, path)
    rows, columns = slice(7, 31), slice(11, 50)
    expected, found = whole.read(rows, columns), raster.read(rows, columns)
    assert found['img'].dtype == expected['img'].dtype
    # two decoders of JPEG fill in colours each in its own way
    near = 2 if kind == 'jpeg' else 0
    assert abs(found['img'].astype(int) - expected['img']).mean() <= near
    for key in ('img_path', 'img_shape', 'ori_shape'):
        assert found[key] == expected[key], key
    assert abs(raster.overview()[0].astype(int) - whole.overview()[0]).mean() <= near
    raster.close()


def test_a_table_of_colours_is_kept_in_windows(tmp_path):
    config, checkpoint, _ = write_segmentor(tmp_path)
    path = tmp_path / 'scene.tif'
    Image.fromarray(draw(40, 50, 8)).quantize(9).save(path)
    predictor = Predictor(config, checkpoint)
    place = slice(3, 40), slice(5, 33)
    expected, found = (kind(predictor, path).read(*place)['img'] for kind in (Whole, Raster))
    np.testing.assert_array_equal(found, expected)


def test_a_head_of_one_channel(tmp_path):
    """Its sigmoid is compared with its threshold, in tiles too; both classes have a probability."""
    change = ('num_classes=4', 'num_classes=2, out_channels=1, threshold=0.7')
    config, checkpoint, logits = write_segmentor(tmp_path, change=change)
    text = (tmp_path / 'pixels.py').read_text()
    text = text.replace("'soil', 'grass', 'road & rail', 'roof'", "'soil', 'roof'")
    (tmp_path / 'pixels.py').write_text(text.replace('[128, 128, 128], [200, 30, 30]', ''))
    picture = draw(60, 70)
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    expected = 1 / (1 + np.exp(-logits(picture)[0]))
    for name, options in (('whole', {}), ('tiled', {'tile': 32})):
        infer(config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / name),
              save=['probabilities'], **options)  # fmt: skip
        labels = np.asarray(Image.open(tmp_path / name / 'labels/picture.png'))
        np.testing.assert_array_equal(labels, expected > 0.7)
        with np.load(tmp_path / name / 'probabilities/picture.npz') as file:
            assert file['classes'].tolist() == ['soil', 'roof']
            np.testing.assert_allclose(file['probabilities'], [1 - expected, expected], atol=1e-3)


def test_heads_of_other_kinds():
    """A sigmoid for each class; scores that are no probabilities are blended, not written."""
    from mmseg.models import FCNHead

    def sample(values):
        return SimpleNamespace(seg_logits=SimpleNamespace(data=values))

    common = dict(in_channels=3, channels=3, num_classes=3, num_convs=0, concat_input=False)
    loss = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)
    logits = torch.randn(3, 4, 5)
    many = Scores(SimpleNamespace(decode_head=FCNHead(**common, loss_decode=loss)))
    torch.testing.assert_close(many.read(sample(logits)), 1 / (1 + (-logits).exp()))
    cascade = torch.nn.ModuleList([FCNHead(**common, loss_decode=loss), FCNHead(**common)])
    assert Scores(SimpleNamespace(decode_head=cascade)).kind == 'softmax'
    other = Scores(SimpleNamespace(decode_head=torch.nn.Identity()))
    assert other.read(sample(logits)) is logits
    with pytest.raises(UserError, match='scores that are no probabilities'):
        other.check_probabilities()


def test_a_damaged_raster_is_named_and_the_rest_written(tmp_path):
    """Also where its damage is found in the middle."""
    config, checkpoint, _ = write_segmentor(tmp_path)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for name in 'abc':
        path = folder / f'{name}.tif'
        write_tiff(path, draw(100, 100), tiled=True, blockxsize=16, blockysize=16)
    data = bytearray((folder / 'b.tif').read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    (folder / 'b.tif').write_bytes(data)
    with pytest.raises(UserError, match=r'1 of 3 pictures could not be read: .*b\.tif'):
        infer(config, checkpoint, str(folder), str(tmp_path / 'o'), tile=32)
    assert sorted(p.name for p in (tmp_path / 'o/labels').glob('*.tif')) == ['a.tif', 'c.tif']


def test_what_is_for_segmentors_is_refused_of_others(tmp_path):
    with pytest.raises(UserError, match='--tile and --save are for segmentors'):
        inference.Classification.outputs({}, tmp_path, inference.Options(tile=64))
    with pytest.raises(UserError, match="save=.'logits'.: only probabilities"):
        infer('c', 'w', 's', 'o', save=['logits'])
    with pytest.raises(UserError, match='batch_size=0, workers=2'):
        infer('c', 'w', 's', 'o', batch_size=0)


def test_pictures_of_two_sizes_in_batches(tmp_path, monkeypatch):
    """Those of one size go together, and each gets its own mean."""
    config, checkpoint, logits = write_segmentor(tmp_path, context=1.0)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    pictures = [draw(40 + index % 2, 60 + index, 5)[:, :60] for index in range(8)]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f'{index}.png')
    sizes, forward = [], Predictor.forward

    def note(self, samples):
        sizes.append(len(samples))
        return forward(self, samples)

    monkeypatch.setattr(Predictor, 'forward', note)
    infer(config, checkpoint, str(folder), str(tmp_path / 'o'), batch_size=3)
    assert sorted(sizes) == [1, 1, 3, 3]
    for index, picture in enumerate(pictures):
        labels = np.asarray(Image.open(tmp_path / f'o/labels/{index}.png'))
        np.testing.assert_array_equal(labels, logits(picture).argmax(0))
