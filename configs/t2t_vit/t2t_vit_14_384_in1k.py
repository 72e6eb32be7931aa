"""T2T-ViT-14 on ImageNet-1K, 384x384: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_14_384_in1k.py 8
Cost:      21.47 M parameters, 16.41 GFLOPs at 384x384 (tools/get_flops.py).
Published: 83.3 top-1 (the authors' README).
Ours:      not trained yet.

The authors train this from random weights as they do at 224x224, with ``--img-size 384`` and
nothing else changed. The test resizes the short edge to 426, the 384 of the crop by 0.9.
"""

_base_ = './t2t_vit_14_in1k.py'

model = dict(backbone=dict(img_size=384))

train_pipeline = [
    _base_.train_pipeline[0],
    dict(_base_.train_pipeline[1], scale=384),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=426),
    dict(_base_.test_pipeline[2], crop_size=384),
    *_base_.test_pipeline[3:],
]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
