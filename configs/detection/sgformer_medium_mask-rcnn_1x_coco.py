"""SG-Former-medium, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/sgformer_medium_mask-rcnn_1x_coco.py 8
Cost:      58.33 M parameters, 336.65 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 48.2 box AP, 43.6 mask AP (the paper, as later papers quote it).
Ours:      not trained yet.
"""

_base_ = './sgformer_small_mask-rcnn_1x_coco.py'

model = dict(backbone=dict(arch='medium', drop_path_rate=0.2))
