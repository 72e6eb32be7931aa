"""AFFormer-tiny, RetinaNet on COCO, boxes alone: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/afformer_tiny_retinanet_1x_coco.py 8
Cost:      12.77 M parameters, 165.81 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.

For annotations without masks, from which a Mask R-CNN cannot learn. For small data and random
weights ``afformer_base_retinanet_bccd.py`` has a longer recipe.
"""

_base_ = [
    '../_base_/models/afformer_tiny_retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]
