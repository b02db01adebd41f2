"""Views of small pictures behind small first parts of networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfumato.attacks.inversion.view import Cut, FeatureView

SIZE = (16, 16)


class TwoTensors(nn.Module):
    """A first part whose cut two tensors cross."""

    def __init__(self) -> None:
        super().__init__()
        mixing = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(3))
        self.register_buffer("mixing", mixing)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        mixed = torch.conv2d(pictures, self.mixing.to(pictures), padding=1)
        return mixed.tanh(), functional.avg_pool2d(pictures, 4)


def whole_picture(pictures: Tensor) -> tuple[Tensor, ...]:
    """The identity cut."""
    return (pictures,)


def view_of(pictures: Tensor, first, model, *, features=None, **options) -> FeatureView:
    """The white-box view of pictures; features of something else where given."""
    return FeatureView(
        features=tuple(part.detach() for part in (first(pictures) if features is None else features)),
        num_pictures=len(pictures),
        cut=Cut(target="tiny", layer="L1"),
        first=first,
        model=model,
        picture_size=tuple(pictures.shape[-2:]),
        **options,
    )
