"""AFFormer-base, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/afformer_base_mask-rcnn_1x_coco.py 8
Cost:      24.19 M parameters, 190.14 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/afformer_mask-rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
