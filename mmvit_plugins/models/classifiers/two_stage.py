"""A classifier that looks twice: at the picture, then at the object in it, enlarged.

Source: Xu et al., "Two-stage fine-grained image classification model based on multi-granularity
feature fusion", Pattern Recognition 146 (2024) 110042, which has no code: a frozen localizer says
where the object is, one classifier sees the picture and the crop, and both results are combined.
How they are combined, the box's rules and what the second look does in training are choices of ours
(``configs/mgff/README.md``).
"""

import inspect
import logging
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import nn

from ...registry import MODELS
from ..checks import check_options, check_size
from ..localizers import crop_boxes, find_boxes, resize_pictures

FUSIONS = ('logit_mean', 'prob_mean', 'logit_max', 'stage2')


@MODELS.register_module()
class TwoStageClassifier(ImageClassifier):
    """mmpretrain's ``ImageClassifier``, whose predictions come from two looks.

    The first look is at the picture, resized to ``input_size``. A frozen localizer gives a response
    map, ``find_boxes`` a box, and what is in it, cut from the picture as it came and resized to
    ``input_size``, is the second look, through the same network. With a test pipeline that
    ends at 512 pixels and ``input_size=384``, the second look has detail that the first has not.

    Where the box is the whole picture (:func:`~mmvit_plugins.models.localizers.find_boxes` says
    when: among others for a response that is constant or has NaN), there is no second look, and
    the result is that of the first, bit for bit. A picture of one colour is no special case: the
    localizer's positions may make its response vary, and then it is cropped. One that is smaller
    than a patch of the localizer is enlarged where ``input_size`` or the localizer's ``size`` says
    to what, and else refused.

    Parameters are called as in ``ImageClassifier`` (``backbone.*``, ``neck.*``, ``head.*``), so
    checkpoints of one stage load; the localizer's (``localizer.*``) are saved along. ``forward`` in
    mode 'tensor', ``extract_feat`` and the loss are those of one stage. Training sees the whole
    picture, or its crop with the probability ``crop_in_train``; batch augmentations such as Mixup
    come before that, so that a mixed picture is cropped where its mixture responds.

    A prediction has, besides mmpretrain's fields, ``crop_box`` (4,), x0 y0 x1 y1 in pixels of the
    input tensor; ``crop_status``, a word; ``response_map`` (h, w), float16; ``stage_scores``
    (2, num_classes), the softmax of each look.

    Cost: twice the classifier and once the localizer, see :meth:`all_passes`.

    Args:
        backbone: As in ``ImageClassifier``, and so the next two.
        neck: The neck.
        head: One of mmpretrain's or ours whose output is one logit for each class.
        localizer: ``mmvit_plugins.AttentionLocalizer``, ``mmvit_plugins.ActivationLocalizer`` or
            another module with their attributes. One that needs no maps gets the picture as the
            first look sees it, or as it came if its ``size`` is set, in its own ``mean`` and
            ``std`` if it has them; channels are in the classifier's order.
        input_size: Side, or height and width, that the classifier
            works at; None: the size as it comes.
        box: Arguments of ``find_boxes``.
        fusion: 'logit_mean', 'prob_mean' (mean of probabilities), 'logit_max' (the larger
            logit of each class), 'stage2' (the second look alone).
        stage_weights: Weight of each look in the two means, divided by their sum.
        crop_in_train: Probability with which a training picture is replaced by its crop.
        two_stage_in_val: False: validation in training looks once; tests look twice always.
        pretrained: As in ``ImageClassifier``, and so the rest.
        train_cfg: Batch augmentations.
        data_preprocessor: Its mean and std are what a localizer with other ones is adapted from.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: For a wrong argument, naming what is allowed.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        localizer: dict | None = None,
        input_size: int | Sequence[int] | None = None,
        box: dict | None = None,
        fusion: str = 'logit_mean',
        stage_weights: Sequence[float] = (0.5, 0.5),
        crop_in_train: float = 0.0,
        two_stage_in_val: bool = True,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg)
        _check_head(self.head)
        if localizer is None:
            raise ValueError(
                'TwoStageClassifier: localizer=None came, but a localizer finds the object; give '
                "one such as dict(type='mmvit_plugins.ActivationLocalizer'), or use ImageClassifier"
            )
        check_options('TwoStageClassifier', fusion=(fusion, FUSIONS))
        if not 0 <= crop_in_train <= 1:
            raise ValueError(
                f'TwoStageClassifier: crop_in_train={crop_in_train!r} must be a probability, 0 to 1'
            )
        if len(stage_weights) != 2 or min(stage_weights) < 0 or not sum(stage_weights):
            raise ValueError(
                f'TwoStageClassifier: stage_weights={stage_weights!r} must be two numbers, not '
                'negative and not both 0'
            )
        self.input_size = None
        if input_size is not None:
            self.input_size = check_size('TwoStageClassifier', 'input_size', input_size)
        self.box = _checked_box(box or {})
        self.fusion = fusion
        self.stage_weights = tuple(weight / sum(stage_weights) for weight in stage_weights)
        self.crop_in_train = crop_in_train
        self.two_stage_in_val = two_stage_in_val
        self.localizer = (
            localizer if isinstance(localizer, nn.Module) else MODELS.build(localizer)
        ).requires_grad_(False)
        self.localizer.eval()
        self._set_statistics()
        self._checked = False
        for module in self._weighty():
            module.was_loaded = False
            module._register_load_state_dict_pre_hook(_note_weights, with_module=True)

    def train(self, mode: bool = True) -> 'TwoStageClassifier':
        """Switch the mode of all but the localizer, which does not train."""
        super().train(mode)
        self.localizer.eval()
        return self

    def extract_feat(self, inputs: torch.Tensor, stage: str = 'neck'):
        """Extract features of the first look, as ``ImageClassifier`` does."""
        return super().extract_feat(self.resize(inputs), stage)

    def loss(self, inputs: torch.Tensor, data_samples: list[DataSample]) -> dict:
        """Compute the loss of one look, at the pictures or at crops of some."""
        if self.training and self.crop_in_train:
            inputs = self._crop_some(inputs)
        return super().loss(inputs, data_samples)

    def predict(
        self, inputs: torch.Tensor, data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Predict from two looks; see the class for the fields of the result."""
        out = self.two_stages(inputs)
        samples = self.head._get_predictions(self.fuse(out['logits']), data_samples)
        scores = out['logits'].float().softmax(-1)
        for i, sample in enumerate(samples):
            sample.crop_box = out['boxes'][i]
            sample.crop_status = out['statuses'][i]
            sample.response_map = out['response'][i].half()
            sample.stage_scores = scores[:, i]
        return samples

    def val_step(self, data: dict) -> list[DataSample]:
        """Predict for validation in training: from one look if ``two_stage_in_val=False``."""
        if self.two_stage_in_val:
            return super().val_step(data)
        return super().predict(**self.data_preprocessor(data, False))

    @torch.no_grad()
    def two_stages(self, inputs: torch.Tensor) -> dict:
        """Look twice.

        Args:
            inputs: Pictures ``(N, C, H, W)``, normalised.

        Returns:
            ``logits`` (2, N, num_classes) of both looks, equal where there is no second one;
            ``boxes`` (N, 4) float32, in pixels of ``inputs``, and their ``statuses``; ``response``
            (N, h, w); ``crops``, what the second look sees (where there is none, what the first
            saw).
        """
        view = self.resize(inputs)
        maps = self.backbone(view)
        first = self._classify(maps)
        found = self._locate(inputs, view, maps)
        second, crops = first.clone(), found['crops']
        if again := _cropped(found['statuses']):
            second[again] = self._classify(self.backbone(crops[again]))
        return dict(logits=torch.stack((first, second)), **found)

    def all_passes(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run all that a prediction from two looks costs, but for the search for boxes.

        Tensors alone, for counting, timing and tracing: the whole picture stands for the crop.

        Returns:
            Fused logits ``(N, num_classes)``.
        """
        view = self.resize(inputs)
        maps = self.backbone(view)
        first = self._classify(maps)
        response = self._respond(inputs, view, maps)
        height, width = inputs.shape[2:]
        # with a share of 0 in the boxes, since what nothing needs is dropped by compilers
        boxes = 0 * response.flatten(1).mean(1, keepdim=True)
        boxes = boxes + boxes.new_tensor((0, 0, width, height))
        second = self._classify(self.backbone(crop_boxes(inputs, boxes, view.shape[2:])))
        return self.fuse(torch.stack((first, second)))

    def fuse(self, logits: torch.Tensor) -> torch.Tensor:
        """Combine the logits of two looks: ``(2, N, num_classes) -> (N, num_classes)``, float32.

        Equal ones stay as they are. Their softmax is the score; for 'prob_mean' they are therefore
        the logarithms of the mean probabilities.
        """
        first, second = logits.float()
        if self.fusion == 'stage2':
            return second
        if self.fusion == 'logit_max':
            return torch.maximum(first, second)
        if self.fusion == 'logit_mean':
            fused = self.stage_weights[0] * first + self.stage_weights[1] * second
        else:
            weights = first.new_tensor(self.stage_weights).log()
            fused = torch.logaddexp(
                first.log_softmax(-1) + weights[0], second.log_softmax(-1) + weights[1]
            )
        return torch.where((first == second).all(-1, keepdim=True), first, fused)

    def resize(self, inputs: torch.Tensor) -> torch.Tensor:
        """Resize pictures to ``input_size``, with antialiasing, where they have another."""
        return resize_pictures(inputs, self.input_size)

    def _classify(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.head(self.neck(maps) if self.with_neck else maps)

    def _respond(
        self, inputs: torch.Tensor, view: torch.Tensor, maps: Sequence[torch.Tensor] | None
    ) -> torch.Tensor:
        """Run the localizer: ``(N, h, w)``."""
        if self.localizer.needs_maps:
            return self.localizer(maps)
        picture = view if self.localizer.size is None else inputs
        if self.localizer_scale is not None:
            picture = picture * self.localizer_scale + self.localizer_shift
        return self.localizer(picture)

    def _locate(
        self, inputs: torch.Tensor, view: torch.Tensor, maps: Sequence[torch.Tensor] | None
    ) -> dict:
        """Find the boxes and cut out what is in them; all of :meth:`two_stages` but the logits."""
        self._make_sure_of_weights()
        response = self._respond(inputs, view, maps)
        boxes, statuses = find_boxes(response, inputs.shape[2:], **self.box)
        crops = view
        if again := _cropped(statuses):
            crops = view.clone()
            crops[again] = crop_boxes(inputs[again], boxes[again], view.shape[2:])
        return dict(boxes=boxes, statuses=statuses, response=response, crops=crops)

    @torch.no_grad()
    def _crop_some(self, inputs: torch.Tensor) -> torch.Tensor:
        """Replace some pictures by their crops, in ``input_size``."""
        chosen = (torch.rand(len(inputs)) < self.crop_in_train).nonzero().flatten().tolist()
        if not chosen:
            return inputs
        view = self.resize(inputs)
        seen, maps = view[chosen], None
        if self.localizer.needs_maps:
            self.backbone.eval()  # no dropout here, and no batch counted twice in statistics
            maps = self.backbone(seen)
            self.backbone.train()
        crops = view.clone()
        crops[chosen] = self._locate(inputs[chosen], seen, maps)['crops']
        return crops

    def _set_statistics(self) -> None:
        """Keep what brings a picture from the classifier's mean and std to the localizer's."""
        ours = [getattr(self.data_preprocessor, name, None) for name in ('mean', 'std')]
        theirs = [getattr(self.localizer, name, None) for name in ('mean', 'std')]
        if theirs[0] is None:
            scale = shift = None
        else:
            mean, std = (
                torch.tensor(float(default)) if value is None else value.float()
                for value, default in zip(ours, (0, 1), strict=True)
            )
            wanted, spread = (torch.as_tensor(value).float().view(-1, 1, 1) for value in theirs)
            scale, shift = std / spread, (mean - wanted) / spread
        self.register_buffer('localizer_scale', scale, persistent=False)
        self.register_buffer('localizer_shift', shift, persistent=False)

    def _weighty(self) -> list[nn.Module]:
        """List the localizer's modules that own parameters."""
        return [m for m in self.localizer.modules() if any(True for _ in m.parameters(False))]

    def _make_sure_of_weights(self) -> None:
        """Load what the localizer's ``init_cfg`` names if no checkpoint had anything of it, once.

        A checkpoint of one stage has not. Random weights are warned of: their boxes look like any.
        """
        if self._checked:
            return
        self._checked = True
        weighty = self._weighty()
        cfgs = [getattr(module, 'init_cfg', None) for module in self.localizer.modules()]
        named = any(isinstance(cfg, dict) and cfg.get('type') == 'Pretrained' for cfg in cfgs)
        if named and not any(module.was_loaded for module in weighty):
            print_log('TwoStageClassifier: the localizer is loaded from its init_cfg', 'current')
            try:
                self.localizer.init_weights()
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    'TwoStageClassifier: no checkpoint with the localizer was loaded, so its '
                    f'init_cfg is followed, but {str(error).rstrip(".")}; put that file there, '
                    'load a checkpoint of two stages, or take out the init_cfg'
                ) from error
        if random := sum(not module.was_loaded for module in weighty):
            print_log(
                f'TwoStageClassifier: {random} of the {len(weighty)} layers of the localizer were '
                'never loaded but are random, and so are the boxes that come of them; load a '
                'checkpoint of two stages, or name weights in the init_cfg of the localizer',
                logger='current',
                level=logging.WARNING,
            )


def _note_weights(module: nn.Module, state: dict, prefix: str, *_: object) -> None:
    """Remember, before a state is loaded, that it has weights for a module."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    module.was_loaded |= all(prefix + name in state for name in names)


def _cropped(statuses: Sequence[str]) -> list[int]:
    return [i for i, status in enumerate(statuses) if status == 'ok']


def _check_head(head: nn.Module | None) -> None:
    """Refuse heads whose logits are not simply ``head(feats)`` or whose scores are no softmax.

    Raises:
        ValueError: It is one of those.
    """
    plain = (
        isinstance(head, ClsHead)
        and type(head).predict is ClsHead.predict
        and type(head)._get_predictions is ClsHead._get_predictions
        and len(inspect.signature(head.forward).parameters) == 1
    )
    if not plain:
        raise ValueError(
            f'TwoStageClassifier: head={type(head).__name__} is not possible, since two stages '
            'need one plain logit for each class; use a head such as LinearClsHead or '
            'mmvit_plugins.MGFFHead'
        )


def _checked_box(box: dict) -> dict:
    """Check arguments of ``find_boxes`` by finding the box of nothing.

    Raises:
        ValueError: There is none of this name, or its value is not allowed.
    """
    allowed = list(inspect.signature(find_boxes).parameters)[2:]
    if unknown := sorted(set(box) - set(allowed)):
        raise ValueError(f'TwoStageClassifier: box has {unknown}, but may have {allowed} only')
    find_boxes(torch.zeros(1, 1, 1, device='cpu'), (1, 1), **box)
    return dict(box)
