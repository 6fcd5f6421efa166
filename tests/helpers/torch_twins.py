"""PyTorch twins of the two published layouts, written from their arrays' names for the tests."""

import torch
from torch import nn
from torch.nn import functional as F


def randomise(network, seed=3):
    """Weights and statistics that are all different, and keep activations near one."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        with torch.no_grad():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = (1.2 / module.weight[0].numel()) ** 0.5
            uniform(module.weight, -bound, bound)
            uniform(module.bias, -0.2, 0.2)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.7, 1.3),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):
                uniform(tensor, low, high)
            module.num_batches_tracked.fill_(7)
    return network.eval()


class Bottleneck(nn.Module):
    """A residual of the bearpaw layout."""

    def __init__(self, source, width):
        super().__init__()
        half = width // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(source), nn.Conv2d(source, half, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), nn.Conv2d(half, width, 1)
        if source != width:
            self.downsample = nn.Sequential(nn.Conv2d(source, width, 1))

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (self.downsample(x) if hasattr(self, "downsample") else x)


class BearpawHourglass(nn.Module):
    """Levels counted from the innermost: 0 upper, 1 lower, 2 after, 3 innermost."""

    def __init__(self, width, blocks, depth):
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*(Bottleneck(width, width) for _ in range(blocks)))
                for _ in range(4 if level == 0 else 3)
            )
            for level in range(depth)
        )

    def climb(self, level, x):
        branches = self.hg[level]
        low = branches[1](F.max_pool2d(x, 2))
        low = self.climb(level - 1, low) if level else branches[3](low)
        return branches[0](x) + F.interpolate(branches[2](low), scale_factor=2)

    def forward(self, x):
        return self.climb(len(self.hg) - 1, x)


class Bearpaw(nn.Module):
    """pytorch-pose's network: `hg1`, `hg2`, `hg8`."""

    def __init__(self, joints, stacks, width, blocks=1, depth=4):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 128))
        self.layer2 = nn.Sequential(Bottleneck(128, width))
        self.layer3 = nn.Sequential(Bottleneck(width, width))
        self.hg = nn.ModuleList(BearpawHourglass(width, blocks, depth) for _ in range(stacks))
        self.res = nn.ModuleList(
            nn.Sequential(*(Bottleneck(width, width) for _ in range(blocks))) for _ in range(stacks)
        )
        self.fc = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for _ in range(stacks)
        )
        self.score = nn.ModuleList(nn.Conv2d(width, joints, 1) for _ in range(stacks))
        self.fc_ = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.score_ = nn.ModuleList(nn.Conv2d(joints, width, 1) for _ in range(stacks - 1))

    def forward(self, images):
        mean = torch.tensor([0.4404, 0.4440, 0.4327]).reshape(3, 1, 1)
        x = F.relu(self.bn1(self.conv1(images / 255 - mean)))
        x = self.layer3(self.layer2(F.max_pool2d(self.layer1(x), 2)))
        found = []
        for stack, hourglass in enumerate(self.hg):
            y = self.fc[stack](self.res[stack](hourglass(x)))
            found.append(self.score[stack](y))
            if stack < len(self.fc_):
                x = x + self.fc_[stack](y) + self.score_[stack](found[-1])
        return found


class Conv(nn.Module):
    """A convolution in a module of its own, as the princeton layout has it."""

    def __init__(self, source, width, kernel=1, stride=1, norm=False):
        super().__init__()
        self.conv = nn.Conv2d(source, width, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(width) if norm else None

    def forward(self, x):
        x = self.conv(x)
        return F.relu(self.bn(x)) if self.bn else x


class PrincetonResidual(nn.Module):
    """A residual with a skip convolution that is there even where it is not called."""

    def __init__(self, source, width):
        super().__init__()
        half = width // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(source), Conv(source, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), Conv(half, half, 3)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), Conv(half, width)
        self.skip_layer = Conv(source, width)
        self.needed = source != width

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (self.skip_layer(x) if self.needed else x)


class PrincetonHourglass(nn.Module):
    """The inner levels are nested as `low2`."""

    def __init__(self, depth, width):
        super().__init__()
        self.up1 = PrincetonResidual(width, width)
        self.low1 = PrincetonResidual(width, width)
        inner = PrincetonHourglass(depth - 1, width) if depth > 1 else None
        self.low2 = inner or PrincetonResidual(width, width)
        self.low3 = PrincetonResidual(width, width)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2)


class Merge(nn.Module):
    """A 1×1 convolution, two modules deep."""

    def __init__(self, source, width):
        super().__init__()
        self.conv = Conv(source, width)

    def forward(self, x):
        return self.conv(x)


class Princeton(nn.Module):
    """pytorch_stacked_hourglass's network: 2 and 8 stacks."""

    def __init__(self, joints, stacks, width, depth=4):
        super().__init__()
        self.pre = nn.Sequential(
            Conv(3, 64, 7, 2, norm=True),
            PrincetonResidual(64, 128),
            nn.MaxPool2d(2),
            PrincetonResidual(128, 128),
            PrincetonResidual(128, width),
        )
        self.hgs = nn.ModuleList(
            nn.Sequential(PrincetonHourglass(depth, width)) for _ in range(stacks)
        )
        self.features = nn.ModuleList(
            nn.Sequential(PrincetonResidual(width, width), Conv(width, width, norm=True))
            for _ in range(stacks)
        )
        self.outs = nn.ModuleList(Conv(width, joints) for _ in range(stacks))
        self.merge_features = nn.ModuleList(Merge(width, width) for _ in range(stacks - 1))
        self.merge_preds = nn.ModuleList(Merge(joints, width) for _ in range(stacks - 1))

    def forward(self, images):
        x = self.pre(images / 255)
        found = []
        for stack, hourglass in enumerate(self.hgs):
            y = self.features[stack](hourglass(x))
            found.append(self.outs[stack](y))
            if stack < len(self.merge_features):
                x = x + self.merge_preds[stack](found[-1]) + self.merge_features[stack](y)
        return found
