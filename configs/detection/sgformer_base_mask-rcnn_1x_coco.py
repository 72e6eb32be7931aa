"""SG-Former-base, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_base_mask-rcnn_1x_coco.py 8
Cost:      97.46 M parameters, 508.37 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './sgformer_small_mask-rcnn_1x_coco.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.4), neck=dict(in_channels=[96, 192, 384, 768])
)
