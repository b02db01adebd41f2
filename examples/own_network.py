r"""A network of one's own, cut in two, and what the features that cross the cut show: SqueezeNet 1.1 in plain torch.

    python examples/own_network.py photo.png --weights squeezenet1_1.pt --layer features.7

Without weights the network is a random one, without a picture a portrait is painted. The same from the command line,
with any method, and with the function below named as the target:

    sfumato invert photo.png --target examples/own_network.py:squeezenet --weights squeezenet1_1.pt --layer features.7 \
        --method direct --set feature_norm=relative --set tv_weight=3 --set learning_rate=0.05 --out found
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from sfumato.attacks.inversion.direct import DirectOptimisation
from sfumato.attacks.inversion.harness import invert, prior_draws, white_box_view
from sfumato.attacks.inversion.view import Cut
from sfumato.attacks.targets import Preprocessing, Target
from sfumato.cli.inversion_drawing import panel
from sfumato.cli.inverted_pictures import read_pictures
from sfumato.models.folder import find_model

SIDE = 128
CHANNEL_MEANS = (123.0, 117.0, 104.0)


class Fire(nn.Module):
    """Few channels, then two convolutions of them side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        few = self.squeeze(maps).relu()
        return torch.cat([self.expand1x1(few).relu(), self.expand3x3(few).relu()], dim=1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (Iandola et al. 2016), with the layer names of torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        first = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pooling(), Fire(64, 16, 64), Fire(128, 16, 64)]
        middle = [pooling(), Fire(128, 32, 128), Fire(256, 32, 128)]
        last = [pooling(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
        self.features = nn.Sequential(*first, *middle, *last)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.features(pixels)).flatten(1)


def pooling() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def squeezenet(weights: Path | None = None) -> Target:
    """All that `sfumato` needs to know: a network, what stands before it, and how large its pictures usually are."""
    torch.manual_seed(0)
    network = SqueezeNet()
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
    # Colours 0 to 255 minus the means of ImageNet, not rescaled; a convolutional network takes pictures of any size.
    preprocess = Preprocessing(
        size=None, filter="bilinear", crop=None, scale=255.0, mean=CHANNEL_MEANS, std=(1.0, 1.0, 1.0)
    )
    return Target(
        name="squeezenet", network=network.requires_grad_(False), preprocess=preprocess, picture_size=(227, 227)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", default="painted:7")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--layer", default="features.4")
    parser.add_argument("--iterations", type=int, default=100)
    arguments = parser.parse_args()

    target = squeezenet(arguments.weights)
    cut = target.cut(arguments.layer, (SIDE, SIDE))
    print("crosses the cut:", *cut.feature_shapes)

    # Only the harness holds the picture. The view has its features, the network before the cut, and what is public.
    originals, _ = read_pictures([arguments.picture], (SIDE, SIDE))
    view = white_box_view(
        torch.from_numpy(originals).permute(0, 3, 1, 2).float() / 255,
        lambda pictures: cut.first(target.preprocess(pictures)),
        cut=Cut(target=target.name, layer=arguments.layer),
        model=find_model("portraits"),
    )
    # Relative to the features' own size, so that the weight of smoothness fits any network and cut.
    method = DirectOptimisation(
        iterations=arguments.iterations, feature_norm="relative", tv_weight=3.0, learning_rate=0.05
    )
    found = invert(method, view, originals, prior_draws(method, view, 1))

    score = next(score for score in found.scores if score.metric == "psnr")
    print(f"PSNR {score.guess.mean():.1f} dB, without the features {score.prior_only.mean():.1f} dB")
    Path("own_network.png").write_bytes(panel(originals, [Path(arguments.picture).name], [found]))
    print("original and guess: own_network.png")


if __name__ == "__main__":
    main()
