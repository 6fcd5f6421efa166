"""The network of `hourglass_2s` in PyTorch, written for `train_step.py`."""

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Pre-activation bottleneck: BN, ReLU, 1×1; BN, ReLU, 3×3; BN, ReLU, 1×1; plus a skip."""

    def __init__(self, source, width):
        super().__init__()
        half = width // 2
        self.norms = nn.ModuleList([nn.BatchNorm2d(n) for n in (source, half, half)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(source, half, 1),
                nn.Conv2d(half, half, 3, padding=1),
                nn.Conv2d(half, width, 1),
            ]
        )
        self.skip = nn.Identity() if source == width else nn.Conv2d(source, width, 1)

    def forward(self, x):
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(functional.relu(norm(y)))
        return self.skip(x) + y


class Hourglass(nn.Module):
    """One level and, inside it, the next."""

    def __init__(self, depth, width):
        super().__init__()
        self.upper, self.lower = Residual(width, width), Residual(width, width)
        inner = Hourglass(depth - 1, width) if depth > 1 else Residual(width, width)
        self.inner, self.after = inner, Residual(width, width)

    def forward(self, x):
        y = self.after(self.inner(self.lower(functional.max_pool2d(x, 2))))
        return self.upper(x) + functional.interpolate(y, scale_factor=2.0, mode="nearest")


class TwinHourglass(nn.Module):
    """`(N, 3, H, W)` normalised pixels to a list of `(N, K, H / 4, W / 4)` heatmaps."""

    def __init__(self, joints, stacks, width, stem=(64, 128, 128)):
        super().__init__()
        first, before, after = stem
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 7, stride=2, padding=3),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            Residual(first, before),
            nn.MaxPool2d(2),
            Residual(before, after),
            Residual(after, width),
        )
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(4, width),
                Residual(width, width),
                nn.Conv2d(width, width, 1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, joints, 1) for _ in range(stacks))
        between = range(stacks - 1)
        self.back = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in between)
        self.back_maps = nn.ModuleList(nn.Conv2d(joints, width, 1) for _ in between)

    def forward(self, x):
        x, predicted = self.stem(x), []
        for stack, (hourglass, head) in enumerate(zip(self.hourglasses, self.heads, strict=True)):
            features = hourglass(x)
            predicted.append(head(features))
            if stack < len(self.back):
                x = x + self.back[stack](features) + self.back_maps[stack](predicted[-1])
        return predicted


def draw(targets, size, sigma):
    """`(N, K, size, size)` Gaussians at `(N, K, 4)` targets, as `losses.draw_heatmaps` has them."""
    positions = torch.arange(size, device=targets.device, dtype=targets.dtype)
    x, y = (
        torch.exp((positions - targets[..., axis : axis + 1]) ** 2 / (-2 * sigma**2))
        for axis in (0, 1)
    )
    return y[..., :, None] * x[..., None, :] * targets[..., 2, None, None]
