"""AFFormer-base, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/afformer_base_retinanet_1x_coco.py 8
Cost:      13.58 M parameters, 170.87 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/afformer_retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
