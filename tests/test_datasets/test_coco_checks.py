"""Checks of COCO files: each fault is named, and what mmdetection drops is counted as it does."""

import json
import re
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS
from mmengine.runner import BaseLoop

from mmvit_plugins.apis import run
from mmvit_plugins.datasets import check_dataset, checks, coco_checks
from mmvit_plugins.datasets.checks import check_layouts, empty_dataset
from mmvit_plugins.datasets.coco_checks import (
    check_classes,
    check_scored,
    count_left_out,
    read_coco,
)
from mmvit_plugins.engine.hooks import DataCheckHook
from mmvit_plugins.errors import DataError

CLASSES = ('cat', 'dog', 'bird')
NAN, INFINITE = float('nan'), float('inf')


def box(picture, category, *numbers, **more):
    area = numbers[2] * numbers[3] if len(numbers) == 4 else 1
    return dict(image_id=picture, category_id=category, bbox=list(numbers), area=area) | more


def content():
    """Three pictures with boxes and one without; ids are in no order."""
    boxes = [
        box(7, 5, 0, 0, 10, 10),
        box(7, 1, 5, 5, 20, 30),
        box(3, 9, 90, 70, 20, 20),
        box(8, 1, 1.5, 2.5, 1, 1),
    ]
    return {
        'images': [
            dict(id=number, file_name=f'{number}.jpg', width=100, height=80)
            for number in (7, 3, 8, 4)
        ],
        'annotations': [dict(entry, id=number) for number, entry in enumerate(boxes, 11)],
        'categories': [
            dict(id=number, name=name) for number, name in zip((5, 1, 9), CLASSES, strict=True)
        ],
    }


@pytest.fixture
def write(tmp_path):
    def write(data, name='instances.json'):
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)

    return write


def add(data, *boxes):
    start = 100 + len(data['annotations'])
    data['annotations'] += [dict(entry, id=number) for number, entry in enumerate(boxes, start)]
    return data


def config(path, classes=CLASSES, **more):
    return dict(type='CocoDataset', ann_file=path, metainfo=dict(classes=classes)) | more


def test_a_good_file_is_read(write):
    file = read_coco(write(content()))
    assert file.labelled and file.categories == {5: 'cat', 1: 'dog', 9: 'bird'}
    assert list(file.images) == [7, 3, 8, 4] and len(file.annotations) == 4


def test_scores_are_taken_from_a_sound_file_of_the_same_pictures(write):
    own = write(content())
    loader = dict(dataset=config(own))
    others, broken = content(), content()
    for image in others['images']:
        image['file_name'] = f'other/{image["file_name"]}'
    broken['annotations'][0]['category_id'] = '5'

    def check(path):
        check_scored(loader, [dict(type='CocoMetric', ann_file=path), dict(type='Other')])

    check(own)
    check(write(content(), 'copy.json'))
    with pytest.raises(DataError, match='of other pictures than the data'):
        check(write(others, 'others.json'))
    with pytest.raises(DataError, match='category_id'):
        check(write(broken, 'broken.json'))
    with pytest.raises(DataError, match='no annotation file'):
        check('nowhere.json')


def test_scores_of_other_classes_are_refused_and_of_other_boxes_told(write, monkeypatch):
    """mmdetection's label 1 is the second of the classes, in the order of the evaluator's file."""
    own = write(content())
    loader = dict(dataset=config(own))
    turned, fewer, more = content(), content(), content()
    turned['categories'] = turned['categories'][::-1]
    del fewer['annotations'][1]
    more['categories'].append(dict(id=30, name='ghost'))  # no class of the data: no label moves
    said = []
    monkeypatch.setattr(coco_checks, 'print_log', lambda text, *rest: said.append((text, *rest)))

    def check(data, name):
        path = write(data, name)
        check_scored(loader, [dict(type='CocoMetric', ann_file=path)])
        return path

    with pytest.raises(DataError, match=r"'bird', 'dog', 'cat'.* order \('cat', 'dog', 'bird'\)"):
        check(turned, 'turned.json')
    check(more, 'more.json')
    assert not said
    path = check(fewer, 'fewer.json')
    assert [text for text, *_ in said] == [
        f'the scores are taken from {path}, which has 3 annotations, not from {own} of the data, '
        'which has 4'
    ]


@pytest.mark.parametrize('classes', [CLASSES, ('cat', 'bird'), ['dog']])
def test_all_classes_and_parts_in_order_pass(write, classes):
    check_layouts(dict(dataset=config(write(content()), classes)))


def changed(kind, number, **values):
    data = content()
    data[kind][number].update(values)
    return data


def without(kind, number, key):
    data = content()
    del data[kind][number][key]
    return data


FAULTS = {
    '{"images": [': r'is no JSON file \(.*line 1.*\): fetch or write it anew',
    '[1]': 'holds a list, COCO files hold an object with images, annotations and categories',
    **{
        json.dumps({key: value for key, value in content().items() if key != lost}): (
            rf'instances.json has no list of {lost}, COCO files have images, annotations and '
            'categories: correct ann_file, or convert'
        )
        for lost in content()
    },
    json.dumps(content() | {'annotations': {'11': {}}}): 'has no list of annotations',
    json.dumps(content() | {'images': [1]}): '1 of 1 images have another form .*, the first is 1: ',
    json.dumps(without('images', 2, 'width')): (
        "1 of 4 images have no width that is a finite number, the first is {'file_name': '8.jpg', "
        "'height': 80, 'id': 8}: correct the file, or leave out what is wrong"
    ),
    json.dumps(without('annotations', 1, 'area')): (
        '1 of 4 annotations have no area that is a finite number'
    ),
    json.dumps(changed('images', 1, id=7)): '1 of 4 images have the id of another.*: 7,',
    json.dumps(changed('images', 1, id=[7])): '1 of 4 images have no id that is a number or text',
    json.dumps(changed('annotations', 1, id=11)): '1 of 4 annotations have the id of another.* 11,',
    json.dumps(changed('categories', 1, id=5)): '1 of 3 categories have the id of another',
    json.dumps(changed('annotations', 2, category_id=2)): (
        '1 of 4 annotations have category_id not among the categories, 5, 1, 9, the first is .*'
        "'category_id': 2, 'id': 13"
    ),
    json.dumps(changed('annotations', 0, image_id=70)): (
        "1 of 4 annotations have image_id not among the images, .*'image_id': 70}"
    ),
    **{
        json.dumps(changed('annotations', 1, bbox=wrong)): (
            "1 of 4 annotations have no bbox that is 4 finite numbers, .*'id': 12"
        )
        for wrong in (
            *([NAN, 1, 2, 3], [1, 2, INFINITE, 3], [1, 2, 3, '4'], [1, 2, 3], None, 'x'),
            [True] * 4,
        )
    },
    json.dumps(changed('annotations', 3, area=None)): "no area .*'area': None.*'id': 14",
    json.dumps(changed('annotations', 3, area=NAN)): 'no area that is a finite number, .*: nan',
    json.dumps(changed('images', 0, height='80')): "no height that is a finite number.*: '80'",
}


@pytest.mark.parametrize(('text', 'words'), FAULTS.items(), ids=range(len(FAULTS)))
def test_faults_of_a_file_are_named_before_anything_is_built(write, text, words):
    path = write(text)
    with pytest.raises(DataError, match=words) as caught:
        check_layouts(dict(dataset=config(path)))
    assert path in str(caught.value) and '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    lost = config('annotations/lost.json', data_root=str(tmp_path))
    wrapped = dict(dataset=dict(type='RepeatDataset', times=2, dataset=lost))
    for loader in (dict(dataset=lost), wrapped, dict(dataset=dict(lost, type='mmdet.CocoDataset'))):
        with pytest.raises(DataError, match='there is no annotation file .*lost.json: put it'):
            check_layouts(loader)
    with pytest.raises(DataError, match='CocoDataset has no ann_file: set it'):
        check_layouts(dict(dataset=config('')))
    check_layouts(dict(dataset=dict(lost, data_root='s3://bucket')))
    check_layouts(dict(dataset=dict(lost, backend_args=dict(backend='petrel'))))
    check_layouts(dict(dataset=dict(lost, type='mmpretrain.CustomDataset')))


def test_test_sets_may_lack_annotations_where_nothing_is_scored(write):
    data = content()
    del data['annotations']
    loader = dict(dataset=config(write(data), test_mode=True))
    check_layouts(loader, labelled=False)
    with pytest.raises(DataError, match='no list of annotations'):
        check_layouts(loader)
    file = read_coco(write(data))
    assert not file.labelled and count_left_out(file, CLASSES) == []


def test_missing_classes_are_named(write):
    loader = dict(dataset=config(write(content()), ('cat', 'cow', 'dog')))
    words = (
        r"for 1 of the 3 classes \('cow'\), its categories are 'cat', 'dog', 'bird'; set the data"
    )
    with pytest.raises(DataError, match=words):
        check_layouts(loader)
    loader = dict(dataset=config(write(changed('categories', 0, name='1')), (1,)))
    with pytest.raises(DataError, match=r"1 classes \(1\), its categories are '1', 'dog', 'bird'"):
        check_layouts(loader)  # as the command line's options make of a class '1'


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (
            ('dog', 'cat'),
            "classes from label 0 on as 'dog', 'cat', but .*json, 'cat', 'dog'; list",
        ),
        (
            ('cat', 'bird', 'dog'),
            "classes from label 1 on as 'bird', 'dog', but .*json, 'dog', 'bird'; list the",
        ),
    ],
)
def test_wrong_orders_are_named_both(write, classes, words):
    with pytest.raises(DataError, match=words):
        check_layouts(dict(dataset=config(write(content()), classes)))


def test_two_categories_of_one_name_shift_labels(write):
    data = content()
    data['categories'].insert(1, dict(id=2, name='cat'))
    with pytest.raises(DataError, match="1 on as 'dog', 'bird', but .*, 'cat', 'dog', 'bird'"):
        check_layouts(dict(dataset=config(write(data))))


def test_long_lists_of_classes_are_cut(write):
    data = content()
    data['categories'] += [dict(id=20 + i, name=f'c{i}') for i in range(30)]
    classes = [*CLASSES, *(f'c{i}' for i in range(30))]
    classes[10:12] = classes[11:9:-1]
    with pytest.raises(
        DataError, match="label 10 on as 'c8', 'c7', 'c9', .*, 'c16' and 13 more, but"
    ):
        check_classes(read_coco(write(data)), classes)


def test_annotations_of_other_categories_are_counted(write):
    sentence, *_ = count_left_out(read_coco(write(content())), ('dog',))
    assert sentence.startswith('2 of 4 annotations in ')
    assert sentence.endswith(
        "are left out, as their categories are no classes of the config: 'cat', 'bird'"
    )


def test_nothing_is_said_of_boxes_that_are_used(write):
    data = content()
    data['images'].pop()
    assert count_left_out(read_coco(write(data)), CLASSES) == []
    data = add(data, box(7, 5, 500, 0, 9, 9, ignore=1))  # left out on purpose
    assert count_left_out(read_coco(write(data)), CLASSES) == []


UNUSED = {
    'right of it': box(3, 9, 100, 5, 9, 9),
    'below it': box(3, 9, 5, 80, 9, 9),
    'left of it': box(3, 9, -9, 5, 9, 9),
    'above it': box(3, 9, 5, -9, 9, 9),
    'no width': box(3, 9, 5, 5, 0, 9),
    'no height': box(3, 9, 5, 5, 9, 0),
    'thin': box(3, 9, 5, 5, 0.9, 9),
    'flat': box(3, 9, 5, 5, 9, 0.9),
    'no area': box(3, 9, 5, 5, 9, 9, area=0),
    'turned': box(3, 9, 50, 50, -9, -9),
}


@pytest.mark.parametrize('wrong', UNUSED.values(), ids=UNUSED)
def test_boxes_that_cannot_be_used_are_counted_and_the_first_is_named(write, wrong):
    data = add(content(), wrong, dict(wrong, image_id=8))
    sentence, *_ = count_left_out(read_coco(write(data)), CLASSES)
    assert sentence.startswith('2 of 6 boxes in ') and sentence.endswith('in 3.jpg')
    assert (
        'outside of their picture, are less than a pixel wide or high, or have an area' in sentence
    )


def test_pictures_without_boxes_are_counted(write):
    data = content()
    data['annotations'] = data['annotations'][:3]
    data = add(data, box(8, 1, 200, 0, 9, 9))
    file = read_coco(write(data))

    sentence = '2 of 4 pictures in .* have no box that is used'
    assert re.fullmatch(sentence, count_left_out(file, CLASSES)[-1])
    assert re.fullmatch(
        sentence + '; filter_empty_gt leaves out 1 of them', count_left_out(file, CLASSES, True)[-1]
    )


def test_sets_that_are_left_with_nothing_are_refused(write):
    data = content() | {'annotations': []}
    path = write(data)
    filters = dict(filter_empty_gt=True)
    with pytest.raises(DataError, match='no picture of .* is left .*: of 4, 0 have annotations of'):
        check_layouts(dict(dataset=config(path, filter_cfg=filters)))
    check_layouts(dict(dataset=config(path)))
    check_layouts(dict(dataset=config(path, filter_cfg=filters, test_mode=True)))
    path = write(content(), 'small.json')
    with pytest.raises(DataError, match='of 4, 3 have .* and 0 have edges of min_size=90 or more'):
        check_layouts(dict(dataset=config(path, filter_cfg=dict(min_size=90))))
    with pytest.raises(DataError, match='none.json lists no pictures'):
        check_layouts(
            dict(dataset=config(write(content() | {'images': [], 'annotations': []}, 'none.json')))
        )


@pytest.mark.parametrize('format_only', [False, True])
def test_the_testing_tool_asks_for_annotations_where_it_scores(
    write, tmp_path, monkeypatch, format_only
):
    class Passed(Exception):
        pass

    def passed(cfg, verbose, testing):
        raise Passed

    data = content()
    del data['annotations']
    cfg = Config(
        dict(
            model={},
            work_dir=str(tmp_path / 'work'),
            test_cfg={},
            test_dataloader=dict(dataset=config(write(data), test_mode=True)),
            test_evaluator=[dict(type='CocoMetric', format_only=format_only)],
        )
    )
    monkeypatch.setattr(run, 'prepare', lambda args, parts: cfg)
    monkeypatch.setattr(run, 'read_checkpoint', lambda path: None)
    monkeypatch.setattr(run, 'build_runner', passed)
    args = dict.fromkeys(
        (
            'out',
            'out_item',
            'amp',
            'show',
            'show_dir',
            'tta',
            'checkpoint',
            'config',
            'verbose',
            'overwrite',
        )
    )
    with pytest.raises(Passed if format_only else DataError):
        run.test(SimpleNamespace(**args))


# With mmdetection's own data set, which is what the checks speak of


@pytest.fixture
def build(tmp_path):
    """A data set of mmdetection's on a file, its pictures in place."""
    pytest.importorskip('mmdet.datasets', exc_type=ImportError)
    for number in (7, 3, 8, 4):
        (tmp_path / f'{number}.jpg').write_bytes(b'\xff\xd8\xff\xd9')

    def build(path, classes=CLASSES, **more):
        settings = config(path, classes, data_prefix=dict(img=str(tmp_path)), pipeline=[]) | more
        return DATASETS.build(settings | dict(type='mmdet.CocoDataset'))

    return build


@pytest.fixture
def logged(monkeypatch):
    lines = []
    for module in (coco_checks, checks):
        monkeypatch.setattr(module, 'print_log', lambda message, *_: lines.append(message))
    return lines


def test_mmdetection_numbers_labels_in_the_order_of_the_file(write, build):
    """The trap itself: where this fails, the check of the order may go."""
    dataset = build(write(content()), ('dog', 'cat'))
    labels = [entry['bbox_label'] for entry in dataset.get_data_info(0)['instances']]
    assert labels == [0, 1]  # a cat and a dog: metainfo would have them dog and cat
    with pytest.raises(DataError, match='labels would get wrong names'):
        check_dataset(dataset, 'train')


@pytest.mark.slow
def test_mmdetection_drops_what_is_counted(write, build):
    data = add(content(), *UNUSED.values(), *(dict(wrong, image_id=4) for wrong in UNUSED.values()))
    data = add(
        data, box(8, 5, 1, 1, 9, 9, ignore=1), box(4, 1, -5, -5, 9, 9), box(4, 1, 99, 79, 1, 1)
    )
    data['images'] += [dict(id=i, file_name='7.jpg', width=50, height=i) for i in (20, 80, 90)]
    path = write(add(data, box(80, 5, 1, 1, 3, 3), box(90, 5, 90, 90, 3, 3)))
    file = read_coco(path)
    for classes, ids in ((CLASSES, (5, 1, 9)), (('cat',), (5,)), (('dog', 'bird'), (1, 9))):
        for filters in (None, dict(filter_empty_gt=True), dict(filter_empty_gt=True, min_size=25)):
            dataset = build(path, classes, filter_cfg=filters)
            everything = build(path, classes)
            used = [
                info['instances'] for info in map(everything.get_data_info, range(len(everything)))
            ]
            sentences = ' '.join(count_left_out(file, classes, *(filters or {}).values()))
            known = [entry for entry in data['annotations'] if entry['category_id'] in ids]
            unused = len(known) - sum(map(len, used)) - sum('ignore' in entry for entry in known)
            if unused:
                assert f'{unused} of {len(data["annotations"])} boxes' in sentences
            empty = sum(not instances for instances in used)
            assert f'{empty} of {len(data["images"])} pictures' in sentences
            if filters == dict(filter_empty_gt=True):
                out = len(everything) - len(dataset)
                assert f'leaves out {out} of them' in sentences


def mixed(dataset):
    from mmdet.datasets import MultiImageMixDataset

    return MultiImageMixDataset(dataset=dataset, pipeline=[])


WRAPPERS = {
    'alone': lambda dataset: dataset,
    'repeated': lambda dataset: RepeatDataset(dataset, times=2),
    'joined': lambda dataset: ConcatDataset([dataset, dataset]),
    'mixed': mixed,
}


@pytest.mark.slow
@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_wrapped_sets_are_checked(write, build, logged, tmp_path, wrap):
    data = add(content(), UNUSED['thin'])
    dataset = build(write(data))
    check_dataset(wrap(dataset), 'train')
    assert any('1 of 5 boxes in' in line for line in logged)
    assert any('1 of 4 pictures in' in line for line in logged)

    (tmp_path / '8.jpg').write_bytes(b'\xff\xd8')
    check_dataset(wrap(dataset), 'train')
    assert 'of the train data set that were looked at are cut off' in logged[-1]
    (tmp_path / '8.jpg').unlink()
    with pytest.raises(DataError, match=r'lacks 1 of 4 pictures, the .*8\.jpg'):
        check_dataset(wrap(dataset), 'train')
    with pytest.raises(DataError, match='labels would get wrong names'):
        check_dataset(wrap(build(write(data), ('dog', 'cat'))), 'train')


def test_default_classes_that_the_file_lacks(write, build):
    """A config without metainfo has COCO's 80 classes, which only the built set tells."""
    path = write(content())
    loader = dict(dataset=dict(type='CocoDataset', ann_file=path))
    check_layouts(loader)
    with pytest.raises(
        DataError, match=r"no category for 77 of the 80 classes \('person', .*67 more\)"
    ):
        check_dataset(build(path, metainfo=None), 'train')


def test_sets_that_cannot_be_built_for_emptiness_say_why(write, build):
    data = content()
    data['annotations'] = data['annotations'][:1]
    lazy = build(write(data), ('dog',), filter_cfg=dict(filter_empty_gt=True), lazy_init=True)
    with pytest.raises(ValueError, match='concatenate') as caught:
        lazy.full_init()
    assert not isinstance(caught.value, DataError)
    assert 'of 4, 0 have annotations of the classes' in str(empty_dataset(lazy, 'train'))


def test_a_training_set_needs_annotations(write, build):
    data = content()
    del data['annotations']
    path = write(data)
    check_dataset(build(path, test_mode=True), 'test')
    with pytest.raises(DataError, match='has no list of annotations'):
        check_dataset(build(path), 'train')


def test_label_maps_are_asked_for_where_they_are_loaded(write, build, tmp_path):
    places = dict(img=str(tmp_path), seg=str(tmp_path / 'maps'))
    for with_seg in (False, True):
        steps = [dict(type='mmdet.LoadAnnotations', with_bbox=True, with_seg=with_seg)]
        dataset = build(write(content()), data_prefix=places, pipeline=steps)
        if with_seg:
            with pytest.raises(DataError, match='lacks 4 of 4 annotation files'):
                check_dataset(dataset, 'train')
        else:
            check_dataset(dataset, 'train')


@pytest.mark.slow
def test_the_hook_checks_each_loop_and_reads_a_file_once(write, build, logged, monkeypatch):
    class Loop(BaseLoop):
        def __init__(self, dataset):
            self.dataloader = SimpleNamespace(dataset=dataset)

        run = None

    good, bad = write(content(), 'good.json'), write(add(content(), UNUSED['flat']), 'bad.json')
    loops = dict(_train_loop=Loop(build(good)), _val_loop=Loop(build(bad, test_mode=True)))
    reads = []
    monkeypatch.setattr(
        coco_checks, 'read_coco', lambda path: reads.append(path) or read_coco(path)
    )
    check_layouts(dict(dataset=config(good)))
    check_layouts(dict(dataset=config(bad, test_mode=True)))
    DataCheckHook().before_run(SimpleNamespace(**loops, _test_loop=None))
    assert [line for line in logged if 'bad.json' in line and ' boxes ' in line]
    assert sorted(reads) == [bad, good]
    loops['_train_loop'] = Loop(build(good, ('bird', 'cat')))
    with pytest.raises(DataError, match='list the classes in that order'):
        DataCheckHook().before_run(SimpleNamespace(**loops, _test_loop=None))


MASKED = dict(pipeline=[dict(type='LoadAnnotations', with_bbox=True, with_mask=True)])
TRIANGLE = [1, 1, 20, 1, 20, 20.5]
FULL = dict(size=[80, 100], counts=[4000, 4000])


def masked(mask):
    data = content()
    for entry in data['annotations']:
        entry['segmentation'] = [TRIANGLE]
    data['annotations'][1]['segmentation'] = mask
    return data


@pytest.mark.parametrize(
    'mask',
    [
        *(None, [], 'x', 5, TRIANGLE, [[[1, 1], [2, 2], [3, 3]]], [[1, 1, 2, 2, 3, '3']]),
        *([[1, 1, 2, 2, 3, NAN]], dict(FULL, size=[100, 80]), dict(FULL, counts=[9000])),
        *(dict(FULL, counts=[-1, 8001]), dict(FULL, counts='é'), dict(counts=[8000])),
    ],
)
def test_masks_of_other_forms_are_refused_where_they_are_loaded(write, mask):
    path = write(masked(mask))
    with pytest.raises(DataError, match='the annotation 12 of 7.jpg has segmentation=.*give polyg'):
        check_layouts(dict(dataset=config(path, **MASKED)))
    check_layouts(dict(dataset=config(path)))


@pytest.mark.parametrize('mask', [[TRIANGLE, TRIANGLE], FULL, dict(FULL, counts='PY`0')])
def test_good_masks_pass(write, mask):
    check_layouts(dict(dataset=config(write(masked(mask)), **MASKED)))


def test_masks_without_a_polygon_are_told(write):
    file = read_coco(write(masked([[1, 1, 2, 2]])))
    said = coco_checks.check_masks(file.path, file.annotations, file.images)
    assert said[0].startswith('1 masks in') and 'that of annotation 12' in said[0]


@pytest.mark.parametrize('wrong', [dict(iscrowd=1), dict(bbox=[-50, -50, 10, 10])])
def test_sets_of_boxes_that_are_not_trained_on_are_refused(write, wrong):
    data = content()
    for entry in data['annotations'][1:]:
        entry.update(wrong)
    check_layouts(dict(dataset=config(write(data))))
    data['annotations'][0].update(wrong)
    path = write(data, 'all.json')
    with pytest.raises(DataError, match='no box of .* is left to train on: of 4 annotations'):
        check_layouts(dict(dataset=config(path)))
    check_layouts(dict(dataset=config(path, test_mode=True)))


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [(dict(ann_file=5), 'ann_file=5'), (dict(filter_cfg=dict(min_size='a')), "min_size='a'")],
)
def test_settings_of_another_kind(write, wrong, words):
    with pytest.raises(DataError, match=words):
        check_layouts(dict(dataset=config(write(content())) | wrong))
