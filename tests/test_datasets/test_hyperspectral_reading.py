"""Reading cubes and label maps: every format gives the same array, broken files say so."""

import pickle
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio import Affine

from mmvit_plugins.datasets.hyperspectral.reading import (
    LazyArray,
    list_variables,
    open_cube,
    read_georeference,
    read_variable,
)
from mmvit_plugins.errors import DataError

CUBE = np.random.RandomState(0).randint(0, 4000, (4, 5, 6)).astype(np.uint16)
LABELS = (CUBE[..., 0] % 3).astype(np.uint8)
UTM = {'crs': 'EPSG:32616', 'transform': Affine(20, 0, 500000, 0, -20, 4480000)}


def save_hdf5(path, **arrays):
    """As MATLAB v7.3 does: a text before the data, the axes the other way round."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
        file['note'] = np.full((1, 3), 65, np.uint16)
        file['note'].attrs['MATLAB_class'] = np.bytes_('char')
        file['options/depth'] = 3.0  # a struct


def save_tiff(path, cube, **where):
    height, width, bands = cube.shape
    profile = {'height': height, 'width': width, 'count': bands, 'dtype': cube.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that it says nothing of where it lies
        with rasterio.open(path, 'w', driver='GTiff', **profile, **where) as file:
            file.write(cube.transpose(2, 0, 1))


def save_envi(path, cube, interleave='bsq', order='<', offset=0, **entries):
    """Write ``path`` and the header beside it."""
    axes = {'bsq': (2, 0, 1), 'bil': (0, 2, 1), 'bip': (0, 1, 2)}[interleave]
    raw = cube.transpose(axes).astype(cube.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(b'x' * offset + raw)
    kind = {'uint8': 1, 'int16': 2, 'float32': 4, 'float64': 5, 'uint16': 12}[cube.dtype.name]
    fields = {
        **dict(zip(('lines', 'samples', 'bands'), cube.shape, strict=True)),
        'data type': kind,
        'interleave': interleave,
        'byte order': int(order == '>'),
        'header offset': offset,
        'wavelength': '{400.0,\n 500.0, lines = 7}',
        **entries,
    }
    lines = '\n'.join(f'{name} = {value}' for name, value in fields.items() if value is not None)
    path.with_suffix('.hdr').write_text(f'ENVI\ndescription = {{a scene}}\n{lines}\n')
    return path.with_suffix('.hdr')


def save(folder, kind):
    """Write ``CUBE`` in one of the formats and return the file to open."""
    path = folder / f'scene.{kind.split("-")[0]}'
    if kind == 'mat-5':
        scipy.io.savemat(path, {'scene': CUBE, 'date': 'June', 'scale': 2.0})
    elif kind == 'mat-7':
        scipy.io.savemat(path, {'scene': CUBE}, do_compression=True)
    elif kind == 'mat-7.3':
        save_hdf5(path, scene=CUBE)
    elif kind == 'npy':
        np.save(path, CUBE)
    elif kind == 'npz':
        np.savez(path, scene=CUBE, names=np.array(['a', 'b']))
    elif kind == 'tif':
        save_tiff(path, CUBE)
    else:
        _, interleave, order, given = kind.split('-')
        header = save_envi(folder / 'scene.img', CUBE, interleave, order, offset=7)
        path = header if given == 'header' else header.with_suffix('.img')
    return path


KINDS = [
    *('mat-5', 'mat-7', 'mat-7.3', 'npy', 'npz', 'tif'),
    *('envi-bsq-<-header', 'envi-bil->-header', 'envi-bip-<-raw', 'envi-bsq->-raw'),
]


@pytest.mark.parametrize('kind', KINDS)
def test_every_format_gives_the_same_cube(tmp_path, kind):
    path = save(tmp_path, kind)
    cube = open_cube(path)
    assert cube.shape == (4, 5, 6) and cube.dtype.name == 'uint16'
    np.testing.assert_array_equal(cube[1:3], CUBE[1:3])
    assert cube[3:99].shape == (1, 5, 6) and cube[4:6].shape == (0, 5, 6)
    np.testing.assert_array_equal(read_variable(str(path), ndim=3), CUBE)
    assert list_variables(path)['scene'] == (4, 5, 6)


@pytest.mark.parametrize('kind', ['npy', 'tif', 'mat-7.3', 'envi-bil-<-header'])
def test_what_can_be_is_read_lazily(tmp_path, kind):
    """A change of the file after opening is seen: nothing was read before."""
    cube = open_cube(save(tmp_path, kind))
    assert isinstance(cube, np.memmap | LazyArray)
    if kind == 'tif':
        save_tiff(tmp_path / 'scene.tif', CUBE + 1)
    elif kind == 'mat-7.3':
        save_hdf5(tmp_path / 'scene.mat', scene=CUBE + 1)
    else:
        file = tmp_path / ('scene.npy' if kind == 'npy' else 'scene.img')
        data = file.read_bytes()
        with file.open('r+b') as changed:
            changed.write(data[:-2] + (CUBE[-1, -1, -1] + 1).tobytes())
    assert cube[3:4][0, -1, -1] == CUBE[-1, -1, -1] + 1


def test_rows_only(tmp_path):
    cube = open_cube(save(tmp_path, 'tif'))
    for wrong in (1, slice(0, 4, 2), (slice(0, 2), 0)):
        with pytest.raises(TypeError, match='by rows'):
            cube[wrong]


@pytest.mark.parametrize('kind', ['4', '5', '7.3', 'npy', 'npz', 'tif', 'hdr'])
def test_label_maps(tmp_path, kind):
    path = tmp_path / {'npy': 'gt.npy', 'npz': 'gt.npz', 'tif': 'gt.tif'}.get(kind, 'gt.mat')
    if kind == '7.3':
        save_hdf5(path, gt=LABELS)
    elif kind == 'npy':
        np.save(path, LABELS)
    elif kind == 'npz':
        np.savez(path, LABELS)
    elif kind == 'tif':
        save_tiff(path, LABELS[..., None])
    elif kind == 'hdr':
        path = save_envi(tmp_path / 'gt', LABELS[..., None])
    else:
        scipy.io.savemat(path, {'gt': LABELS}, format=kind)
    labels = read_variable(path, ndim=2)
    assert labels.shape == (4, 5)
    np.testing.assert_array_equal(labels, LABELS)


def test_which_variable(tmp_path):
    path = tmp_path / 'all.mat'
    scipy.io.savemat(
        path,
        {'cube': CUBE, 'other': CUBE[1:], 'gt': LABELS, 'scale': 2.0, 'turned': LABELS.T, 's': 'a'},
    )
    np.testing.assert_array_equal(open_cube(path, 'other')[:], CUBE[1:])
    np.testing.assert_array_equal(read_variable(path, ndim=2, size=(4, 5)), LABELS)
    with pytest.raises(DataError, match='2 variables that could be the cube') as caught:
        open_cube(path)
    listing = 'it holds cube 4 x 5 x 6, other 3 x 5 x 6, gt 4 x 5, scale 1 x 1, turned 5 x 4'
    assert listing in str(caught.value)
    with pytest.raises(DataError, match='3 variables that could be the label map'):
        read_variable(path, ndim=2)
    with pytest.raises(DataError, match=f"no variable 'cub': {listing}"):
        open_cube(path, 'cub')
    with pytest.raises(DataError, match=f'gt in .*all.mat is no cube .*{listing}'):
        open_cube(path, 'gt')


def test_no_variable_fits(tmp_path):
    scipy.io.savemat(tmp_path / 'flat.mat', {'Y': LABELS})
    with pytest.raises(DataError, match=r'holds no cube \(H x W x B\): it holds Y 4 x 5; give'):
        open_cube(tmp_path / 'flat.mat')
    scipy.io.savemat(tmp_path / 'text.mat', {'Y': 'words'})
    with pytest.raises(DataError, match='it holds no arrays of numbers'):
        open_cube(tmp_path / 'text.mat')
    np.save(tmp_path / 'empty.npy', np.zeros((0, 5, 6)))
    with pytest.raises(DataError, match='holds no cube .* it holds empty 0 x 5 x 6'):
        open_cube(tmp_path / 'empty.npy')
    scipy.io.savemat(tmp_path / 'complex.mat', {'Y': CUBE + 1j})
    with pytest.raises(DataError, match='holds numbers of type complex128'):
        open_cube(tmp_path / 'complex.mat')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.9])
def test_cut_off_files(tmp_path, kind, share):
    path = save(tmp_path, kind)
    path = path.with_suffix('.img') if 'envi' in kind else path
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    words = 'is cut off: it has' if 'envi' in kind else 'cannot be read'
    with pytest.raises(DataError, match=rf'scene\.\w+ {words}') as caught:
        open_cube(path)[:]
    assert '\n' not in str(caught.value) and 'fetch it again' in str(caught.value)


def test_a_web_page_under_the_name_of_a_file(tmp_path):
    for name in ('scene.mat', 'scene.npy', 'scene.tif'):
        (tmp_path / name).write_text('<!DOCTYPE html><html>no such file</html>' * 9)
        with pytest.raises(DataError, match='not what its name says; fetch it again'):
            open_cube(tmp_path / name)


def test_unknown_and_missing_files(tmp_path):
    with pytest.raises(DataError, match=r'there is no file .*nothing.mat: correct the path'):
        open_cube(tmp_path / 'nothing.mat')
    (tmp_path / 'scene.raw').write_bytes(b'1234')
    with pytest.raises(DataError, match=r'no known kind: allowed are .mat, .npy, .*\(.hdr\)'):
        open_cube(tmp_path / 'scene.raw')


def test_the_raw_file_that_is_given_is_read(tmp_path):
    """Though another has the same header."""
    header = save_envi(tmp_path / 'scene.img', CUBE)
    (tmp_path / 'scene.dat').write_bytes(bytes(CUBE.nbytes))
    np.testing.assert_array_equal(open_cube(tmp_path / 'scene.img')[:], CUBE)
    assert not open_cube(tmp_path / 'scene.dat')[:].any() and open_cube(header).shape == CUBE.shape


def test_broken_envi_headers(tmp_path):
    header = save_envi(tmp_path / 'scene.img', CUBE, bands=None)
    with pytest.raises(DataError, match=r"scene.hdr lacks a usable entry \('bands'\): it must"):
        open_cube(header)
    save_envi(tmp_path / 'scene.img', CUBE)
    good = header.read_text()
    for entry, other in (('= bsq', '= bxq'), ('type = 12', 'type = 6'), ('= 4\n', '= four\n')):
        header.write_text(good.replace(entry, other))
        with pytest.raises(DataError, match='lacks a usable entry'):
            open_cube(header)
    save_envi(tmp_path / 'scene.img', CUBE, **{'file compression': 1})
    with pytest.raises(DataError, match='compressed'):
        open_cube(header)
    header.write_text('lines = 4\n')
    with pytest.raises(DataError, match='is no ENVI header'):
        open_cube(header)
    header.write_text('ENVI\nlines = 4\n')
    (tmp_path / 'scene.img').unlink()
    with pytest.raises(DataError, match='the raw file of .*scene.hdr is missing: scene is looked'):
        open_cube(header)


@pytest.mark.parametrize(('package', 'kind'), [('h5py', 'mat-7.3'), ('rasterio', 'tif')])
def test_optional_packages(tmp_path, monkeypatch, package, kind):
    path = save(tmp_path, kind)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f'is not installed: pip install {package}'):
        open_cube(path)
    for other in ('mat-5', 'npy', 'npz', 'envi-bsq-<-header'):
        open_cube(save(tmp_path, other))


@pytest.mark.parametrize('kind', ['tif', 'envi'])
def test_georeference_goes_round(tmp_path, kind, recwarn):
    if kind == 'tif':
        save_tiff(tmp_path / 'a.tif', CUBE, **UTM)
        where = read_georeference(tmp_path / 'a.tif')
    else:
        info = '{UTM, 1.0, 1.0, 500000.0, 4480000.0, 20.0, 20.0, 16, North, WGS-84, units=Meters}'
        header = save_envi(tmp_path / 'a.img', CUBE, **{'map info': info})
        where = read_georeference(header)
        assert read_georeference(tmp_path / 'a.img') == where
    assert where['transform'] == tuple(UTM['transform'])[:6] and isinstance(where['crs'], str)
    save_tiff(tmp_path / 'b.tif', CUBE, **where)
    with rasterio.open(tmp_path / 'b.tif') as file:
        assert file.crs.to_epsg() == 32616 and file.transform == UTM['transform']
    assert not recwarn.list


@pytest.mark.parametrize('kind', KINDS)
def test_no_georeference(tmp_path, kind, recwarn):
    path = save(tmp_path, kind)
    assert read_georeference(path) is None
    assert not recwarn.list


def hdf5(path, fill):
    with h5py.File(path, 'w', userblock_size=512) as file:
        fill(file)
    return path


def virtual(file):
    layout = h5py.VirtualLayout((6, 5, 4), 'u2')
    layout[:] = h5py.VirtualSource('other.mat', 'scene', shape=(6, 5, 4))
    file.create_virtual_dataset('scene', layout)


def through_a_group(file):
    file.create_group('group')['out'] = h5py.ExternalLink('other.mat', '/')
    file['scene'] = h5py.SoftLink('/group/out/scene')


ELSEWHERE = {
    'link': lambda file: file.__setitem__('scene', h5py.ExternalLink('other.mat', 'scene')),
    'soft link': through_a_group,
    'storage': lambda file: file.create_dataset(
        'scene', (6, 5, 4), 'u2', external=[('other.raw', 0, 240)]
    ),
    'virtual': virtual,
}


@pytest.mark.parametrize('kind', ELSEWHERE)
def test_hdf5_files_whose_numbers_lie_elsewhere(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    save_hdf5(tmp_path / 'other.mat', scene=CUBE)
    (tmp_path / 'other.raw').write_bytes(CUBE.tobytes())
    path = hdf5(tmp_path / 'scene.mat', ELSEWHERE[kind])
    with pytest.raises(
        DataError, match=r'scene.mat \(scene\) (names 1 files that lead out|is a link)'
    ):
        open_cube(path)


def test_a_link_inside_of_a_file_is_followed(tmp_path):
    def fill(file):
        file.create_group('group')['cube'] = CUBE.T
        file['scene'] = h5py.SoftLink('/group/cube')

    cube = open_cube(hdf5(tmp_path / 'scene.mat', fill))
    np.testing.assert_array_equal(cube[0:4], CUBE)


def test_a_vrt_under_the_name_of_a_tiff(tmp_path):
    save_tiff(tmp_path / 'other.tif', CUBE)
    path = tmp_path / 'scene.tif'
    path.write_text('<VRTDataset rasterXSize="5" rasterYSize="4"><VRTRasterBand/></VRTDataset>')
    with pytest.raises(DataError, match='is a VRT, which only names other files'):
        open_cube(path)


@pytest.mark.parametrize(
    ('name', 'words'),
    [('/etc/passwd', 'lead out of the data'), ('other.img', 'names the raw file other.img, but')],
)
def test_an_envi_header_that_names_another_file(tmp_path, name, words):
    header = save_envi(tmp_path / 'scene.img', CUBE, **{'data file': name})
    with pytest.raises(DataError, match=words):
        open_cube(header)
    header = save_envi(tmp_path / 'scene.img', CUBE, **{'data file': 'scene.img'})
    np.testing.assert_array_equal(open_cube(header), CUBE)


def claim(path):
    """Write a .npy file that claims terabytes."""
    np.save(path, CUBE)
    path.write_bytes(path.read_bytes().replace(b'(4, 5, 6), ', b'(9999999, 99999, 999), ', 1))


@pytest.mark.parametrize('kind', ['npy', 'npz', 'mat', 'hdr'])
def test_claims_of_terabytes_are_refused_before_anything_is_read(tmp_path, kind):
    path = tmp_path / f'scene.{kind}'
    if kind == 'npy':
        claim(path)
    elif kind == 'npz':
        claim(tmp_path / 'a.npy')
        with zipfile.ZipFile(path, 'w') as archive:
            archive.write(tmp_path / 'a.npy', 'a.npy')
    elif kind == 'mat':
        shape = (10**5, 10**5, 10**3)
        hdf5(path, lambda file: file.create_dataset('a', shape, 'f4', chunks=(100, 100, 10)))
    else:
        save_envi(tmp_path / 'scene.img', CUBE, lines=10**9)
    with pytest.raises(DataError, match='claims to hold|cut off|cannot be read'):
        open_cube(path)


def test_objects_are_never_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / 'ran').touch, ()

    np.save(tmp_path / 'object.npy', np.array([Evil()]), allow_pickle=True)
    np.savez(tmp_path / 'object.npz', a=np.array([Evil()]))
    (tmp_path / 'pickle.npy').write_bytes(pickle.dumps(Evil()))
    (tmp_path / 'pickle.npz').write_bytes(pickle.dumps(Evil()))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match='object|pickle'):
            open_cube(path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('path', [None, 5, [], b'scene.npy'])
def test_what_is_no_path(path):
    for read in (open_cube, list_variables, read_variable, read_georeference):
        with pytest.raises(DataError, match='a file is wanted, not'):
            read(path)
