"""AFFormer-tiny on ImageNet-1K, 224x224: 300 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/afformer/afformer_tiny_in1k.py 8
Cost:      2.25 M parameters, 0.53 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.

The authors say "refer to DeiT" and publish neither code nor accuracy for this step, so the recipe
is DeiT's, with mmpretrain's parts and without DeiT's repeated augmentation and weight averaging. On
N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 1024 / N, or pass ``--auto-scale-lr``.
"""

_base_ = [
    '../_base_/models/afformer_cls.py',
    '../_base_/datasets/imagenet_bs128_deit_224.py',
    '../_base_/schedules/imagenet_bs1024_adamw_deit.py',
    '../_base_/default_cls.py',
]
