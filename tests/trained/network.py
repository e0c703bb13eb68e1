"""ResNeXts of any depth and width, of torchvision's blocks and with torchvision's names of tensors.

torchvision's own class fixes the stem at 64 channels; this one takes `planes`.
"""

from torch import nn
from torchvision.models.resnet import Bottleneck


class ResNeXt(nn.Module):
    """`group_width` is the channels of one group in the first stage (the d of CxWd at these planes); the grouped 3x3
    convolutions of stage s have `cardinality * group_width * 2**s` channels."""

    def __init__(self, blocks, planes, cardinality, group_width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, planes, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        # torchvision: width = int(planes * base_width / 64) * groups.
        base_width = 64 * group_width // planes
        channels = planes
        for stage, count in enumerate(blocks):
            width, layers = planes * 2**stage, []
            for index in range(count):
                stride = 2 if index == 0 and stage > 0 else 1
                shortcut = None
                if index == 0:
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
                    )
                layers.append(Bottleneck(channels, width, stride, shortcut, cardinality, base_width))
                channels = 4 * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))


def shapes_network(classes):
    """The committed network: 8x2d of a quarter of the usual planes, one block short of ResNeXt-26."""
    return ResNeXt(blocks=[2, 2, 2, 1], planes=16, cardinality=8, group_width=2, classes=classes)
