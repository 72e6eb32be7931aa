"""T2T-ViT-14, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/t2t_vit_14_mask-rcnn_1x_coco.py 8
Cost:      44.48 M parameters, 453.03 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/t2t_vit_mask-rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
