"""The protocol for mapping a scene: one end of every field for training, the rest for testing.

Each connected area of a class gives 10 % of its pixels, at one end of it, for training and 5 % for
validation. Pixels so near to these that the window of one would hold the other are not used, so
that no window of one part holds a labelled pixel of another; where a class would have nothing left
to test, the gap is smaller and the run says so. The transform of the bands is fitted on the pixels
inside training windows; windows are mirrored at the border.
"""

_base_ = './hyperspectral.py'

dataset = dict(
    split_cfg=dict(mode='field_caps', train=0.1, val=0.05, guard='window', seed=0),
    fit_on='train_window',
    pad_mode='symmetric',
)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
