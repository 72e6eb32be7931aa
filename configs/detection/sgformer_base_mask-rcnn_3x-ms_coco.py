"""SG-Former-base, Mask R-CNN on COCO: 36 epochs of batches of 16, many sizes (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_base_mask-rcnn_3x-ms_coco.py 8
Cost:      97.46 M parameters, 508.37 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 51.2 box AP (the paper's abstract, which does not name the schedule).
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/sgformer_mask-rcnn.py',
    '../_base_/datasets/coco_instance_ms.py',
    '../_base_/schedules/schedule_3x_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.4), neck=dict(in_channels=[96, 192, 384, 768])
)
