"""SG-Former-small, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_small_mask-rcnn_1x_coco.py 8
Cost:      42.18 M parameters, 277.20 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 47.4 box AP, 42.6 mask AP (the paper, as later papers quote it).
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/sgformer_mask-rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
