"""MLPs, plain and with a depthwise convolution, and what they are made of."""

import torch
from torch import nn

from .sizes import ceil_div, is_capturing

# Elements of an MLP's hidden map at once, in inference on a CPU, where a large one costs more in
# fresh memory than in arithmetic: glibc gives 32 MiB and more back each time. Without a convolution
# between them, the products of a smaller map are faster whole.
STRIP, WHOLE = 2**20, 2**23


def inference_on_cpu(x: torch.Tensor) -> bool:
    """Tell whether an operation runs for itself: no backward pass, no graph, no GPU."""
    return x.device.type == 'cpu' and not torch.is_grad_enabled() and not is_capturing()


class Mlp(nn.Module):
    """Linear, GELU, linear, with dropout after either: ``(..., C) -> (..., C)``."""

    def __init__(self, channels: int, hidden: int, drop_rate: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix channels."""
        if inference_on_cpu(x):
            tokens = x.reshape(-1, x.shape[-1])
            hidden = tokens.shape[0] * self.fc1.out_features
            if hidden > WHOLE:
                strips = ceil_div(hidden, STRIP)
                return torch.cat([self._run(s) for s in tokens.chunk(strips)]).view(x.shape)
        return self._run(x)

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


def depthwise(channels: int, window: int) -> nn.Conv2d:
    """Build a depthwise convolution with bias that keeps the map's size."""
    return nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels)


class ResidualDepthwise(nn.Module):
    """A map plus its 3x3 depthwise convolution: ``(N, H, W, C) -> (N, H, W, C)``."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = depthwise(channels, 3)
        self.fused = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look at the neighbours."""
        out = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out if self.fused else x + out

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold the identity into the centre of the kernel."""
        self.conv.weight[:, :, 1, 1] += 1
        self.fused = True


class ConvMlp(nn.Module):
    """Linear, ``GELU(u + depthwise(u))``, linear: ``(N, H, W, C) -> (N, H, W, C)``."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.depthwise = ResidualDepthwise(hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix channels, with a look at the neighbours."""
        if inference_on_cpu(x):
            rows = max(STRIP // (x.shape[0] * x.shape[2] * self.fc1.out_features), 1)
            if rows < x.shape[1]:
                return self._in_strips(x, rows)
        return self.fc2(self.act(self.depthwise(self.fc1(x))))

    def _in_strips(self, x: torch.Tensor, rows: int) -> torch.Tensor:
        strips = []
        for start in range(0, x.shape[1], rows):
            above = min(start, 1)  # the row before, and below the row after, are only looked at
            hidden = self.fc1(x[:, start - above : start + rows + 1])
            hidden = self.depthwise(hidden)[:, above : above + rows]
            strips.append(self.fc2(self.act(hidden)))
        return torch.cat(strips, dim=1)
