"""The known hyperspectral scenes as rows of data.

Class names, sizes and counts are those of the public files. No palette is standard; the ones here
occur in public code, a class per colour, none black, which is what is unlabelled.
"""

from dataclasses import dataclass

Palette = tuple[tuple[int, int, int], ...]

# As ENVI colours classes, but for the last, which is there nearly the first's red
ENVI_COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)),
    *((176, 48, 96), (46, 139, 87), (160, 32, 240), (255, 127, 80), (127, 255, 212)),
    *((218, 112, 214), (160, 82, 45), (127, 255, 0), (216, 191, 216), (128, 128, 0)),
)


@dataclass(frozen=True)
class SceneInfo:
    """What is known of a public scene.

    Attributes:
        title: Its name in sentences.
        shape: ``(H, W, B)``.
        classes: Names of classes 1 to K.
        palette: Their colours.
        rgb_bands: The bands, from 0, that make a picture in false colour.
        counts: Labelled pixels of each class; empty: not checked.
        image: ``(file, variable)`` of the cube, all that are in use.
        labels: The same of the label map.
        train_labels: The same of a fixed training part, if there is one.
        test_labels: The same of the fixed test part.
        finer_labels: The label map may also have this many times the rows and columns; a pixel gets
            the label of more than half of its finer ones, else none.
        other_maps: Total of labelled pixels -> what map of the same scene has so many.
        page: What the public page that offers it is called.
    """

    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    palette: Palette
    rgb_bands: tuple[int, int, int]
    counts: tuple[int, ...] = ()
    image: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    train_labels: tuple[tuple[str, str], ...] = ()
    test_labels: tuple[tuple[str, str], ...] = ()
    finer_labels: int = 1
    other_maps: tuple[tuple[int, str], ...] = ()
    page: str = ''


EHU_PAGE = 'Hyperspectral Remote Sensing Scenes (GIC, University of the Basque Country)'

SCENES = {
    'indian-pines': SceneInfo(
        title='Indian Pines',
        shape=(145, 145, 200),
        classes=(
            *('Alfalfa', 'Corn-notill', 'Corn-mintill', 'Corn', 'Grass-pasture', 'Grass-trees'),
            *('Grass-pasture-mowed', 'Hay-windrowed', 'Oats', 'Soybean-notill', 'Soybean-mintill'),
            *('Soybean-clean', 'Wheat', 'Woods', 'Buildings-Grass-Trees-Drives'),
            'Stone-Steel-Towers',
        ),
        palette=ENVI_COLOURS,
        rgb_bands=(43, 21, 11),
        counts=(46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93),
        image=(('Indian_pines_corrected.mat', 'indian_pines_corrected'),),
        labels=(('Indian_pines_gt.mat', 'indian_pines_gt'),),
        other_maps=(
            (10366, 'the older map of this scene, which some published splits are made for'),
        ),
        page=EHU_PAGE,
    ),
    'pavia-u': SceneInfo(
        title='Pavia University',
        shape=(610, 340, 103),
        classes=(
            *('Asphalt', 'Meadows', 'Gravel', 'Trees', 'Painted metal sheets', 'Bare Soil'),
            *('Bitumen', 'Self-Blocking Bricks', 'Shadows'),
        ),
        palette=(
            *((216, 191, 216), (0, 255, 0), (0, 255, 255), (45, 138, 86), (255, 0, 255)),
            *((255, 165, 0), (159, 31, 239), (255, 0, 0), (255, 255, 0)),
        ),
        rgb_bands=(55, 41, 12),
        counts=(6631, 18649, 2099, 3064, 1345, 5029, 1330, 3682, 947),
        image=(('PaviaU.mat', 'paviaU'),),
        labels=(('PaviaU_gt.mat', 'paviaU_gt'),),
        page=EHU_PAGE,
    ),
    'salinas': SceneInfo(
        title='Salinas',
        shape=(512, 217, 204),
        classes=(  # spelled as in the data set
            *('Brocoli_green_weeds_1', 'Brocoli_green_weeds_2', 'Fallow', 'Fallow_rough_plow'),
            *('Fallow_smooth', 'Stubble', 'Celery', 'Grapes_untrained', 'Soil_vinyard_develop'),
            *('Corn_senesced_green_weeds', 'Lettuce_romaine_4wk', 'Lettuce_romaine_5wk'),
            *('Lettuce_romaine_6wk', 'Lettuce_romaine_7wk', 'Vinyard_untrained'),
            'Vinyard_vertical_trellis',
        ),
        palette=ENVI_COLOURS,
        rgb_bands=(43, 21, 11),
        counts=(
            *(2009, 3726, 1976, 1394, 2678, 3959, 3579, 11271, 6203, 3278, 1068, 1927, 916, 1070),
            *(7268, 1807),
        ),
        image=(('Salinas_corrected.mat', 'salinas_corrected'),),
        labels=(('Salinas_gt.mat', 'salinas_gt'),),
        page=EHU_PAGE,
    ),
    'houston2013': SceneInfo(
        title='Houston 2013',
        shape=(349, 1905, 144),
        classes=(
            *('Healthy grass', 'Stressed grass', 'Synthetic grass', 'Trees', 'Soil', 'Water'),
            *('Residential', 'Commercial', 'Road', 'Highway', 'Railway', 'Parking Lot 1'),
            *('Parking Lot 2', 'Tennis Court', 'Running Track'),
        ),
        # Railway is black in other code
        palette=(
            *((0, 205, 0), (127, 255, 0), (46, 139, 87), (0, 139, 0), (160, 82, 45)),
            *((0, 255, 255), (255, 255, 255), (216, 191, 216), (255, 0, 0), (139, 0, 0)),
            *((70, 70, 70), (255, 255, 0), (238, 154, 0), (85, 26, 139), (255, 127, 80)),
        ),
        rgb_bands=(59, 40, 23),
        counts=(
            *(1251, 1254, 697, 1244, 1242, 325, 1268, 1244, 1252, 1227, 1235, 1233, 469, 428, 660),
        ),
        image=(
            *(('Houston.mat', 'Houston'), ('houston.mat', 'houston'), ('Houston.mat', 'input')),
            ('GRSS2013.mat', 'GRSS2013'),
        ),
        labels=(
            *(('Houston_gt.mat', 'gt'), ('Houston_gt.mat', 'Houston_gt')),
            ('GRSS2013_gt.mat', 'GRSS2013_gt'),
        ),
        train_labels=(('houston_gt.mat', 'houston_gt_tr'), ('Houston.mat', 'TR')),
        test_labels=(('houston_gt.mat', 'houston_gt_te'), ('Houston.mat', 'TE')),
        page='2013 IEEE GRSS Data Fusion Contest (University of Houston)',
    ),
    'houston2018-crop': SceneInfo(
        title='Houston 2018 (crop)',
        shape=(128, 128, 48),
        # The file has no names. These are an inference, from the picture and the contest's order.
        # Trees (3 pixels) and Crosswalks (6) are too small to be divided: drop them with label_map.
        classes=(
            *('Healthy grass', 'Stressed grass', 'Artificial turf', 'Trees'),
            *('Non-residential buildings', 'Roads', 'Sidewalks', 'Crosswalks'),
            *('Major thoroughfares', 'Paved parking lots', 'Cars', 'Stadium seats'),
        ),
        palette=(
            *((0, 205, 0), (127, 255, 0), (46, 139, 87), (0, 139, 0), (216, 191, 216)),
            *((255, 0, 0), (255, 127, 80), (255, 255, 255), (139, 0, 0), (255, 255, 0)),
            *((0, 255, 255), (85, 26, 139)),
        ),
        rgb_bands=(23, 12, 4),
        counts=(135, 557, 138, 3, 1427, 449, 546, 6, 324, 171, 280, 1635),
        image=(('houston_dataset.mat', 'hyprImg'),),
        # The public file has a map of 512 x 512; the file looked for first is made by us from it.
        labels=(('houston2018_crop_gt128.mat', 'houston_gt'), ('houston_dataset.mat', 'clasLabs')),
        finer_labels=4,
        page='2018 IEEE GRSS Data Fusion Contest (University of Houston)',
    ),
    'synthetic': SceneInfo(
        title='generated scene',
        shape=(80, 64, 48),
        classes=tuple(f'crop {number}' for number in range(1, 7)),
        palette=ENVI_COLOURS[:6],
        rgb_bands=(36, 24, 12),
    ),
}
