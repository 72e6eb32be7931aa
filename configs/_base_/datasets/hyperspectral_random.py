"""The published protocol: 10 % of the pixels of each class at random, all others for testing.

It is there to be compared with the literature, not to be believed: at 10 % nearly every test pixel
lies inside the window of a training pixel (99.6 % of them on Indian Pines), and the transform of
the bands is fitted on the whole scene, test pixels included. The run prints both. As in the
authors' code the split is scikit-learn's with seed 5, and windows are filled up with zeros, the
mean of the whitened components. No pixel is for validation, so the last epoch counts.
"""

_base_ = './hyperspectral.py'

dataset = dict(
    split_cfg=dict(mode='sklearn', train=0.1, seed=5),
    fit_on='scene',
    pad_mode='constant',
)
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = val_evaluator = val_cfg = None
