"""SG-Former-base, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_base_retinanet_1x_coco.py 8
Cost:      88.12 M parameters, 489.43 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './sgformer_small_retinanet_1x_coco.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.4), neck=dict(in_channels=[192, 384, 768]))
