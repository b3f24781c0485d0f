"""Classifiers whose opinion of samples makes inception scores (Xiao & Bamler 2023, section 5.5).

All map images [B, C, H, W] in [0, 1] to logits [B, classes]. Narrow versions are the same code.
"""

import torch
import torch.nn.functional as F
from torch import nn

from vaenb.errors import VaenbError, at_least_one


def _conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class _Basic(nn.Module):
    """Two 3x3 convolutions beside a short cut (He et al. 2016)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            _conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(),
            _conv3(outputs, outputs), nn.BatchNorm2d(outputs))  # fmt: skip
        self.short = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                       nn.BatchNorm2d(outputs))  # fmt: skip

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x))


def resnet18(channels: int = 3, classes: int = 10, width: int = 64) -> nn.Module:
    """ResNet-18 for small images: a 3x3 convolution, four stages of two blocks, mean, linear.

    11173962 parameters for 3 channels, 10 classes and width 64. Raises VaenbError for sizes
    below 1.
    """
    at_least_one(channels=channels, classes=classes, width=width)
    blocks, inputs = [], width
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            blocks.append(_Basic(inputs, width * 2**stage, stride))
            inputs = width * 2**stage
    return nn.Sequential(_conv3(channels, width), nn.BatchNorm2d(width), nn.ReLU(), *blocks,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class _Wide(nn.Module):
    """The same the other way round: normalised before each convolution (Zagoruyko 2016)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.body = nn.Sequential(_conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs),
                                  nn.ReLU(), _conv3(outputs, outputs))  # fmt: skip
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        h = self.first(x)
        return self.body(h) + (x if self.short is None else self.short(h))


def wide_resnet(
    channels: int = 3, classes: int = 10, depth: int = 28, widen: int = 10
) -> nn.Module:
    """A wide residual network (Zagoruyko & Komodakis 2016) for small images, without dropout.

    36479194 parameters for 3 channels, 10 classes, depth 28 and ten times the width. Raises
    VaenbError for sizes below 1 and a depth that is not 6 n + 4.
    """
    at_least_one(channels=channels, classes=classes, widen=widen)
    if depth < 10 or (depth - 4) % 6:
        raise VaenbError(f"a wide residual network of depth {depth} does not come out even: take "
                         f"10, 16, 22, 28 or another 6 n + 4")
    blocks, inputs = [], 16
    for stage in range(3):
        for k in range((depth - 4) // 6):
            outputs = 16 * widen * 2**stage
            blocks.append(_Wide(inputs, outputs, 2 if stage and not k else 1))
            inputs = outputs
    return nn.Sequential(_conv3(channels, 16), *blocks, nn.BatchNorm2d(inputs), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class _Dense(nn.Module):
    """A bottleneck and a 3x3 convolution whose output joins its input (Huang et al. 2017)."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), _conv3(4 * growth, growth))  # fmt: skip

    def forward(self, x):
        return torch.cat([self.body(x), x], 1)


def densenet121(channels: int = 3, classes: int = 10, growth: int = 32) -> nn.Module:
    """DenseNet-121 for small images: a 3x3 convolution, blocks of 6, 12, 24 and 16 layers, halved
    in width and side between them, mean, linear.

    6956298 parameters for 3 channels, 10 classes and growth 32. Raises VaenbError for sizes
    below 1.
    """
    at_least_one(channels=channels, classes=classes, growth=growth)
    width, layers = 2 * growth, []
    for block, count in enumerate((6, 12, 24, 16)):
        if block:
            layers += [nn.BatchNorm2d(width), nn.ReLU(),
                       nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
        for _ in range(count):
            layers.append(_Dense(width, growth))
            width += growth
    return nn.Sequential(_conv3(channels, 2 * growth), *layers, nn.BatchNorm2d(width), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class _DigitNet(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3),
                                  nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(64 * 12 * 12, 128), nn.ReLU())
        self.head = nn.Linear(128, classes)

    def forward(self, x, rng=None):
        if x.shape[2:] != (28, 28):
            raise VaenbError(f"the small net takes images of 28x28 and these are "
                             f"{x.shape[2]}x{x.shape[3]}: resize them")
        h = self.hidden(dropped(self.maps(x), 0.25, rng))
        return self.head(dropped(h, 0.5, rng))


def digit_net(channels: int = 1, classes: int = 10) -> nn.Module:
    """The small net for 28x28 digits: two 3x3 convolutions, pooling, two linear layers.

    1199882 parameters for 1 channel and 10 classes. Called with an ``rng``
    (`vaenb.train.Rng`) it drops a quarter of the pooled maps and half of the hidden layer, as
    in training; without one nothing is dropped.
    """
    at_least_one(channels=channels, classes=classes)
    return _DigitNet(channels, classes)


def dropped(x, share, rng):
    """``x`` with a share of it set to zero and the rest scaled up; all of it without ``rng``."""
    if rng is None:
        return x
    kept = rng.uniform(*x.shape, dtype=x.dtype) > share
    return x * (kept.to(x.dtype) / (1 - share))


def augment(x: torch.Tensor, rng) -> torch.Tensor:
    """Images [B, C, H, W], each cut at random out of itself with a black margin of four pixels,
    and by the toss of a coin mirrored left to right.

    All placements are equally likely; the noise is ``rng``'s (`vaenb.train.Rng`). Fit for
    `torch.func`.
    """
    count, _, height, width = x.shape
    draws = rng.uniform(count, 3, dtype=x.dtype)
    top, left = ((draws[:, k, None] * 9).long() for k in (0, 1))
    rows = top + torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device).expand(count, -1)
    columns = left + torch.where(draws[:, 2:] < 0.5, columns, width - 1 - columns)
    padded = F.pad(x, (4, 4, 4, 4))
    padded = padded.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, padded.shape[3]))
    return padded.gather(3, columns[:, None, None, :].expand(-1, x.shape[1], height, -1))
