"""Class-activation maps of pictures, by pytorch-grad-cam, for models of any host."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import nn

from ..errors import UserError
from ..models import T2TViT
from ..registry import is_available
from ..visualization import draw_cam
from .batches import for_each_picture
from .outputs import check_outputs
from .pictures import drawn, find_pictures, save
from .predictor import Predictor, check_opacity

METHODS = {  # what they are called here, and in the library
    'gradcam': 'GradCAM',
    'gradcam++': 'GradCAMPlusPlus',
    'xgradcam': 'XGradCAM',
    'hirescam': 'HiResCAM',
    'layercam': 'LayerCAM',
    'eigengradcam': 'EigenGradCAM',
    'eigencam': 'EigenCAM',
    'scorecam': 'ScoreCAM',
}
CLASS_FREE = ('eigencam',)  # looks at the layer alone
EXTRA_TOKENS = 5  # a class token and four more: at most so many come before a map's
BEST = 10  # positions whose scores of a class count for a detector
NO_SCORES = (
    "{} gives no scores of classes in mode 'tensor' that are known here: take method='eigencam', "
    'which needs none'
)
INSTALL = 'pip install --no-deps grad-cam ttach, and pip install tqdm scikit-learn matplotlib'


def visualize_cam(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    method: str = 'gradcam',
    layer: str | None = None,
    target: int | str | None = None,
    device: str | None = None,
    opacity: float = 0.5,
    cfg_options: dict | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``OUT/<name>.png`` for each input picture: it, and beside it its activation map.

    The map shows where the output of a layer speaks for a class: for a classifier for the class's
    logit, for a segmentor for its mean logit over the pixels that are predicted as it (over all
    where there are none), for a detector for the sum of its ten best scores. Drawn is the input of
    the network itself, as :func:`mmvit_plugins.apis.importance.visualize_importance` does, and
    colours go from the map's least to its greatest value.

    Args:
        config: The config file of a classifier, segmentor or detector.
        checkpoint: The weights.
        source: A picture or a folder, which is searched to any depth.
        out: The folder to write into.
        method: One of ``METHODS``; ``'eigencam'`` knows no classes, and ``'scorecam'`` runs the
            model once for each channel of the layer, both without gradients.
        layer: Dotted path of the module to explain, whose output (or the last tensor of it) is
            ``(N, C, H, W)``, ``(N, H, W, C)`` or ``(N, L, C)``, tokens after up to five extra ones.
            By default the backbone's last map, or the tokens that its vector is made from.
        target: Number or name of the class; the predicted one by default.
        device: As ``cuda:0``; the GPU if there is one.
        opacity: Of the map, 0 to 1.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether pictures of an earlier run may be replaced.

    Raises:
        UserError: Nothing to show, a wrong argument, a model, layer or class that has no map, or,
            after all others are written, pictures that could not be read.
    """
    check_opacity(opacity)
    if method not in METHODS:
        raise UserError(f'method={method!r} is unknown: choose from {", ".join(METHODS)}')
    if method in CLASS_FREE and target is not None:
        raise UserError(f'{method} knows no classes, so target={target!r} must be left out')
    if not is_available('pytorch_grad_cam'):
        raise UserError(f'activation maps need pytorch-grad-cam, which is not installed: {INSTALL}')
    pictures = find_pictures(source)
    check_outputs(drawn(pictures, out), [source, config, checkpoint], overwrite)
    predictor = Predictor(config, checkpoint, device, cfg_options)
    path = layer or find_last_map(predictor.model)
    kind = EXPLAINED[predictor.cfg.default_scope]
    explained = kind(predictor.model, path, method not in CLASS_FREE)
    cam = make_cam(explained, method)

    def write(file: Path, name: str) -> None:
        image, batch = predictor.open(file)
        inputs = batch['inputs']
        explained.begin(batch.get('data_samples'), image.shape[:2])
        lines, targets = [f'{method} of {path}'], []
        if explained.with_scores:
            with torch.no_grad():
                scores = explained(inputs)[0]
            known = predictor.names(len(scores))
            if target is None:
                label = explained.predicted(scores)
            else:
                label = predictor.find_class(target, len(scores))
            targets = [lambda scores: scores[label]]
            called = f'{label}: {known[label]}' if known else str(label)
            lines.append(f'class {called}, {explained.describe(scores, label)}')
        with torch.set_grad_enabled(cam.uses_gradients):
            activation = cam(inputs, targets)[0][: image.shape[0], : image.shape[1]]
        if cam.uses_gradients and not cam.activations_and_grads.gradients[0].any():
            raise UserError(
                f'the score of class {called} does not change with the map that {path} gives: name '
                'an earlier layer'
            )
        if activation.max() > 0:
            activation = activation / activation.max()
        else:
            lines.append('No part stands out: the map is even, or speaks against the class.')
        save(draw_cam(image, activation, lines, opacity), Path(out, f'{name}.png'))

    for_each_picture(pictures, out, write)


def find_last_map(model: BaseModel) -> str:
    """Name the layer whose output is the last map of a model's backbone, or its tokens."""
    backbone = model.backbone
    if isinstance(backbone, T2TViT):
        stage = f'backbone.stages.{len(backbone.stages) - 1}'
        if backbone.out_type == 'cls_token':  # the last place where it sees the other tokens
            return f'{stage}.blocks.{len(backbone.stages[-1].blocks) - 1}.norm1'
        if backbone.out_type == 'avg_featmap':
            return f'{stage}.norm'
    return 'backbone'


class Explained(nn.Module):
    """A classifier as the library wants it: pictures in, one score for each class out.

    A layer's output passes through ``probe``, which the library watches. Nothing before it is
    recorded for gradients, and what follows may work in place.

    Args:
        model: Its weights stay as they are, and so does its mode.
        path: Dotted path of the layer.
        with_scores: False for methods that look at the layer alone.

    Raises:
        UserError: The model has no such layer.
    """

    def __init__(self, model: BaseModel, path: str, with_scores: bool = True):
        super().__init__()
        self.model = model.requires_grad_(False)
        self.path = path
        self.with_scores = with_scores
        self.probe = nn.Identity()
        for module in model.modules():
            if hasattr(module, 'with_cp'):
                module.with_cp = False  # what is computed again would miss the probe
        layer = model
        for number, part in enumerate(path.split('.')):
            parts = dict(layer.named_children())
            if part not in parts:
                owner = '.'.join(path.split('.')[:number]) or 'the model'
                known = ', '.join(parts) or 'none'
                raise UserError(f'layer={path!r}: {owner} has no part {part!r}, but {known}')
            layer = parts[part]
        self.begin(None, (0, 0))

    def begin(self, samples: list | None, visible: Sequence[int]) -> None:
        """Prepare for another picture.

        Args:
            samples: What the model gets beside the picture.
            visible: Height and width of the picture without padding.
        """
        self.samples = samples
        self.visible = tuple(visible)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | None:
        """Compute scores ``(N, K)`` of pictures ``(N, C, H, W)``, None without scores.

        Raises:
            UserError: The layer does not run once, has no map, or no part in the scores; or the
                scores are of another kind, or not finite.
        """
        self.runs, self.count, self.sides = 0, len(inputs), tuple(inputs.shape[2:])
        handle = self.model.get_submodule(self.path).register_forward_hook(self._pass_probe)
        try:
            outputs = self.model(inputs, self.samples, mode='tensor')
        finally:
            handle.remove()
        if not self.runs:
            raise UserError(
                f'{self.path} is not called when the model predicts: name another layer, as a part '
                'of it'
            )
        if not self.with_scores:
            return None
        scores = self.read(outputs)
        if not scores.isfinite().all():
            raise UserError('the model gives scores that are not finite: check its checkpoint')
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise UserError(f'the scores do not depend on {self.path}: name another layer')
        return scores

    def _pass_probe(self, _: nn.Module, __: tuple, output: Any) -> Any:
        """Send a layer's output, or the last tensor of it, through ``probe``."""
        self.runs += 1
        if self.runs > 1:
            raise UserError(
                f'{self.path} runs more than once for a picture, so it has no one map: name a '
                'layer that runs once'
            )
        parts = list(output) if isinstance(output, list | tuple) else [output]
        places = [i for i, part in enumerate(parts) if isinstance(part, torch.Tensor)]
        if not places:
            raise UserError(f'{self.path} gives no tensor: name another layer')
        x = parts[places[-1]]
        self.to_map(x)
        if torch.is_grad_enabled():
            x = x.detach().requires_grad_()
        parts[places[-1]] = self.probe(x).clone()
        return type(output)(parts) if isinstance(output, list | tuple) else parts[0]

    def to_map(self, x: torch.Tensor) -> torch.Tensor:
        """Turn a layer's output, or its gradient, into a map ``(N, C, h, w)``.

        Four dimensions are ``(N, h, w, C)`` where only so the sides fit the picture's. In ``(N, L,
        C)`` the map's tokens come last.

        Raises:
            UserError: It is no map.
        """
        grids = {
            (height, width)
            for stride in range(1, max(self.sides) + 1)
            for height in (self.sides[0] // stride, -(-self.sides[0] // stride))
            for width in (self.sides[1] // stride, -(-self.sides[1] // stride))
            if height * width > 1
        }
        if len(x) == self.count and x.ndim == 3:
            fits = [
                (x.shape[1] - h * w, abs(h * self.sides[1] - w * self.sides[0]), (h, w))
                for h, w in grids
                if 0 <= x.shape[1] - h * w <= EXTRA_TOKENS
            ]
            if fits:
                extra, _, grid = min(fits)
                return x[:, extra:].unflatten(1, grid).permute(0, 3, 1, 2)
        if len(x) == self.count and x.ndim == 4:
            if x.shape[1:3] in grids and x.shape[2:] not in grids:
                x = x.permute(0, 3, 1, 2)
            if x.shape[2] * x.shape[3] > 1:
                return x
        raise UserError(
            f'{self.path} gives {tuple(x.shape)} for a picture of {self.sides}, which is no map: '
            'name a layer that gives (N, C, H, W), (N, H, W, C) or tokens (N, L, C)'
        )

    def read(self, outputs: Any) -> torch.Tensor:
        """Take the scores ``(N, K)`` from what the model gives.

        Raises:
            UserError: There are none.
        """
        if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
            raise UserError(NO_SCORES.format(type(self.model).__name__))
        return outputs.float()

    def predicted(self, scores: torch.Tensor) -> int:
        """Return the class that is predicted, from the scores ``(K,)`` of the picture."""
        return int(scores.argmax())

    def describe(self, scores: torch.Tensor, label: int) -> str:
        """Say in a few words what is known of a class."""
        return f'score {scores[label]:.3g}'


class ExplainedSegmentor(Explained):
    """A segmentor; the score of a class is its mean logit over the pixels predicted as it.

    These are the pixels of the first pass, for all that follow. A class that is predicted nowhere
    has its mean over all pixels. Padding does not count.
    """

    def begin(self, samples: list | None, visible: Sequence[int]) -> None:
        """Prepare for another picture."""
        super().begin(samples, visible)
        self.masks: Any = None

    def read(self, outputs: Any) -> torch.Tensor:
        """Take the scores from logits ``(N, K, h, w)``."""
        if not isinstance(outputs, torch.Tensor) or outputs.ndim != 4:
            raise UserError(NO_SCORES.format(type(self.model).__name__))
        logits = outputs.float()
        if logits.shape[1] == 1:  # one logit says how much it is class 1
            head = self.model.decode_head
            head = head[-1] if isinstance(head, nn.ModuleList) else head
            over = logits - torch.tensor(head.threshold).logit()
            logits = torch.cat((-over, over), dim=1)
        if self.masks is None:
            height, width = (
                max(round(side * shown / padded), 1)
                for side, shown, padded in zip(
                    logits.shape[2:], self.visible, self.sides, strict=True
                )
            )
            labels = logits[0].argmax(0)[:height, :width]
            self.masks = F.one_hot(labels, logits.shape[1]).permute(2, 0, 1).float()
            self.shares = self.masks.mean((1, 2))
            self.masks[self.shares == 0] = 1
        height, width = self.masks.shape[1:]
        weights = self.masks / self.masks.sum((1, 2), keepdim=True)
        return (logits[..., :height, :width] * weights).sum((2, 3))

    def predicted(self, scores: torch.Tensor) -> int:
        """Return the class that most pixels are predicted as."""
        return int(self.shares.argmax())

    def describe(self, scores: torch.Tensor, label: int) -> str:
        """Say in a few words what is known of a class."""
        share = self.shares[label]
        where = f'predicted for {share:.1%} of the pixels' if share else 'predicted nowhere'
        return f'mean logit {scores[label]:.3g}, {where}'


class ExplainedDetector(Explained):
    """A detector; the score of a class is the sum of its ten best ones, over all positions.

    In mode 'tensor' mmdetection's detectors give what their box head gives, class scores first: a
    map ``(1, A * K, H, W)`` for each level, ``(layers, 1, Q, K)`` for the queries of each decoder
    layer, or ``(R, K)`` for regions. K may have a last column for the background.
    """

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | None:
        """Compute scores picture by picture: regions of several could not be told apart."""
        scores = [super(ExplainedDetector, self).forward(picture) for picture in inputs.split(1)]
        return torch.cat(scores) if self.with_scores else None

    def read(self, outputs: Any) -> torch.Tensor:
        """Take the scores from raw outputs of the head, nested in any way."""
        model = self.model
        head = getattr(getattr(model, 'roi_head', None) or model, 'bbox_head', None)
        head = head[0] if isinstance(head, nn.ModuleList) else head
        first, levels = outputs, [outputs]
        while isinstance(first, list | tuple) and first:
            levels, first = first, first[0]
        # others give masks first, or mix classes with boxes
        if head is None or hasattr(head, 'num_attrib') or not isinstance(first, torch.Tensor):
            raise UserError(NO_SCORES.format(type(model).__name__))
        if first.ndim != 4 or len(first) > 1:
            scores = (first[-1] if first.ndim == 4 else first).flatten(0, -2)
        else:
            count = getattr(head, 'cls_out_channels', first.shape[1])
            if any(level.shape[1] % count for level in levels):
                raise UserError(NO_SCORES.format(type(model).__name__))
            anchors = [level[0].unflatten(0, (-1, count)).flatten(2) for level in levels]
            scores = torch.cat([x.transpose(1, 2).flatten(0, 1) for x in anchors])
        scores = scores[:, : getattr(head, 'num_classes', None)].float()
        return scores.topk(min(BEST, len(scores)), dim=0).values.sum(0, keepdim=True)

    def describe(self, scores: torch.Tensor, label: int) -> str:
        """Say in a few words what is known of a class."""
        return f'sum of the {BEST} best scores {scores[label]:.3g}'


EXPLAINED = {'mmpretrain': Explained, 'mmseg': ExplainedSegmentor, 'mmdet': ExplainedDetector}


def make_cam(explained: Explained, method: str) -> Any:
    """Make the library's object that computes activation maps ``(N, H, W)``, 0 to 1."""
    import pytorch_grad_cam

    cam = getattr(pytorch_grad_cam, METHODS[method])(explained, [explained.probe], explained.to_map)
    # as the library calls it, the layer's maps are the fourth argument, their gradients the fifth
    if method == 'eigencam':
        cam.get_cam_image = lambda *args: first_component(args[3])
    elif method == 'eigengradcam':
        cam.get_cam_image = lambda *args: first_component(args[3] * args[4])
    return cam


def first_component(maps: np.ndarray) -> np.ndarray:
    """Project maps ``(N, C, h, w)`` on their first principal component: ``(N, h, w)``.

    As the library's, but of a sign that does not depend on the machine: the greatest value is
    positive; and without a matrix of all positions by all positions, which a large map has no room
    for.
    """
    x = maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)
    x = x - x.mean(1, keepdims=True)
    directions = np.linalg.svd(x, full_matrices=False)[2][:, 0]
    projected = np.einsum('npc,nc->np', x, directions)
    flipped = -projected.min(1, keepdims=True) > projected.max(1, keepdims=True)
    return np.where(flipped, -projected, projected).reshape(len(maps), *maps.shape[2:])
