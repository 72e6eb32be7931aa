"""T2T-ViT-14, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/t2t_vit_14_retinanet_1x_coco.py 8
Cost:      33.00 M parameters, 417.32 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/t2t_vit_retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
