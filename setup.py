"""Metadata of the package. Versions of the tested set are in ``requirements.txt``."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What mim looks for in an installed package, under `mmvit_plugins/.mim`
MIM = ('configs', 'tools', 'model-index.yml')


class BuildPy(build_py):
    """Put configs, tools and the model index beside the modules: copies in a wheel.

    An editable install gets links instead. pip builds both through this command, whichever way
    it is called, so no command line has to be read.
    """

    def run(self):
        super().run()
        if not self.editable_mode:  # beside the package, where Python looks when it starts
            startup = ROOT / 'mmvit_plugins' / 'ops' / 'startup.pth'
            shutil.copy(startup, Path(self.build_lib) / 'mmvit_plugins_startup.pth')
        base = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        mim = base / 'mmvit_plugins' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for source in filter(Path.exists, (ROOT / name for name in MIM)):
            if self.editable_mode:
                (mim / source.name).symlink_to(source)
            elif source.is_dir():
                ignore = shutil.ignore_patterns('__pycache__', 'setup_env.py')
                shutil.copytree(source, mim / source.name, ignore=ignore)
            else:
                shutil.copy(source, mim)


STACK = [
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmsegmentation>=1.4.2',
    'onedl-mmpretrain>=1.3.6',
    'torchvision',
]

setup(
    name='mmvit_plugins',
    version=re.search(
        r"__version__ = '(.+)'", (ROOT / 'mmvit_plugins' / 'version.py').read_text()
    ).group(1),
    description='Vision-transformer backbones for mmsegmentation, mmpretrain and mmdetection',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmvit_plugins authors',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['mmvit_plugins', 'mmvit_plugins.*']),
    package_data={'mmvit_plugins': ['py.typed']},
    cmdclass={'build_py': BuildPy},
    python_requires='>=3.10,<3.14',
    # Only what cannot clash with the OpenMMLab stack a user already has
    install_requires=['torch>=2.5', 'numpy', 'einops', 'safetensors>=0.4.3', 'scipy'],
    extras_require={
        'stack': STACK,
        'det': [*STACK, 'onedl-mmdetection>=3.5.1'],
        # other libraries' networks for tools/benchmark.py
        'benchmark': ['timm==1.0.31', 'torchvision'],
        # hyperspectral scenes in MATLAB 7.3, ENVI and GeoTIFF files, splits, baselines and maps
        'hsi': ['h5py>=3.12', 'rasterio>=1.4', 'scikit-learn>=1.5', 'matplotlib>=3.9'],
        # class-activation maps; its opencv-python-headless is written over another OpenCV
        'cam': ['grad-cam>=1.5.7'],
        'dev': [
            *('grad-cam', 'h5py', 'matplotlib', 'mypy', 'pytest', 'pytest-xdist', 'rasterio'),
            *('ruff', 'scikit-learn', 'setuptools>=77'),
        ],
    },
    zip_safe=False,
)
