"""Map a hyperspectral scene: ``tools/map_scene.py CONFIG CHECKPOINT SCENE --out map.png``."""

import argparse

from command import add_overwrite, add_settings, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, which carries the band transform')
    parser.add_argument(
        'scene',
        help='name of a scene, as indian-pines, or file of a cube: .mat, .npy, .npz, ENVI, GeoTIFF',
    )
    parser.add_argument(
        '--out', required=True, help='the panel, NAME.png; exact maps and NAME.npy go beside it'
    )
    parser.add_argument('--variable', help='name of the cube in a .mat or .npz file')
    parser.add_argument('--labels', help='file of the ground truth, where the scene has none')
    parser.add_argument('--labels-variable', help='its name in a .mat or .npz file')
    parser.add_argument(
        '--mask', choices=['all', 'labelled'], default='all', help='which pixels are computed'
    )
    parser.add_argument(
        '--georeference', action='store_true', help='also write NAME.tif, placed as the scene is'
    )
    parser.add_argument('--save', help='a further file of the labels: .npy, .mat or .tif')
    parser.add_argument('--scores', help='file of the scores of all classes: .npy, float16')
    add_overwrite(parser)
    parser.add_argument('--device', help='as cuda:0 or cpu; the GPU if there is one')
    parser.add_argument('--batch-size', type=int, default=256, help='windows at once')
    add_settings(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Map."""
    from mmvit_plugins.apis.scene_inference import map_scene

    map_scene(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
