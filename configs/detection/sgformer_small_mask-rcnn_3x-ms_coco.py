"""SG-Former-small, Mask R-CNN on COCO: 36 epochs of batches of 16, many sizes (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_small_mask-rcnn_3x-ms_coco.py 8
Cost:      42.18 M parameters, 277.20 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/sgformer_mask-rcnn.py',
    '../_base_/datasets/coco_instance_ms.py',
    '../_base_/schedules/schedule_3x_adamw.py',
    '../_base_/default_det.py',
]
