"""The networks that some metrics look through: the bundled encoder, or the published ones where they are installed."""

import importlib.util
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sfumato.errors import Unsupported
from sfumato.experiments.metric_names import BUNDLED, PUBLISHED, MetricNames
from sfumato.metrics.perceptual import perceptual_distance
from sfumato.metrics.text import clip_score

Pictures = NDArray[np.uint8]
NetworkChoice = Literal["auto", "bundled", "published"]

_CLIP = "openai/clip-vit-base-patch16"


class Networks(ABC):
    """Pictures of shape (batch, height, width, 3), as bytes, to what the network-based metrics need."""

    names: MetricNames
    choice: NetworkChoice
    """What :func:`load_networks` takes for these, in another process."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the networks and their weights, fit for a folder's name: scores of other networks are kept apart."""

    @abstractmethod
    def perceptual(self, pictures: Pictures, references: Pictures) -> NDArray[np.float64]:
        """Distance of each pair; 0 is equal."""

    @abstractmethod
    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        """Features for the Fréchet distance, (batch, dimension)."""

    @abstractmethod
    def class_probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """For the inception score, (batch, class)."""

    @abstractmethod
    def clip(self, pictures: Pictures, texts: list[str]) -> NDArray[np.float64]:
        """CLIP score of each picture with its text."""


class BundledNetworks(Networks):
    """The bundled image-text encoder for all of them."""

    names = BUNDLED
    choice = "bundled"

    def __init__(self) -> None:
        from sfumato.models.picture_encoder import PictureEncoder

        self._encoder = PictureEncoder()

    @property
    def identity(self) -> str:
        """The encoder's name and the start of its weights' SHA-256."""
        return f"{self._encoder.name}-{self._encoder.fingerprint[:12]}"

    def perceptual(self, pictures: Pictures, references: Pictures) -> NDArray[np.float64]:
        """LPIPS' formula over three of the encoder's blocks, every channel with weight 1."""
        maps, reference_maps = self._encoder.feature_maps(pictures), self._encoder.feature_maps(references)
        weights = [np.ones(layer.shape[1], np.float32) for layer in maps]
        return perceptual_distance(maps, reference_maps, weights)

    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        """The encoder's pooled features."""
        return self._encoder.features(pictures)

    def class_probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """The encoder's joint read-out of a few attributes."""
        return self._encoder.class_probabilities(pictures)

    def clip(self, pictures: Pictures, texts: list[str]) -> NDArray[np.float64]:
        """Cosine of the encoder's embeddings, times 100, at least 0."""
        return clip_score(self._encoder.embed_pictures(pictures), self._encoder.embed_texts(texts))


class PublishedNetworks(Networks):
    """LPIPS over AlexNet, FID and IS over the TensorFlow Inception of 2015, CLIP score over CLIP ViT-B/16.

    Source: torchmetrics, with the networks of torchvision and torch-fidelity; the weights are downloaded at first
        use.
    """

    names = PUBLISHED
    choice = "published"

    def __init__(self) -> None:
        if missing := missing_packages():
            raise Unsupported(
                f"the published networks need {' and '.join(missing)}, which cannot be imported here: "
                "pip install 'sfumato[metrics]', or take --networks bundled"
            )
        from torchmetrics.image.fid import NoTrainInceptionV3
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self._lpips: Any = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="none", normalize=True)
        self._inception: Any = NoTrainInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])

    @property
    def identity(self) -> str:
        """The networks' names."""
        return "lpips-alex_inception-v3-compat_clip-vit-base-patch16"

    def perceptual(self, pictures: Pictures, references: Pictures) -> NDArray[np.float64]:
        """LPIPS, AlexNet, version 0.1."""
        import torch

        with torch.no_grad():
            pair = [torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255 for p in (pictures, references)]
            return np.array([float(self._lpips(a[None], b[None])) for a, b in zip(*pair, strict=True)])

    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        """The last pooling layer, 2048 numbers."""
        return self._seen(pictures)[0]

    def class_probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """Softmax over the 1008 logits without bias."""
        import torch

        return torch.from_numpy(self._seen(pictures)[1]).softmax(-1).numpy()

    def clip(self, pictures: Pictures, texts: list[str]) -> NDArray[np.float64]:
        """The score as torchmetrics computes it, picture by picture."""
        encoder = _published_clip()
        return clip_score(encoder.embed_pictures(pictures), encoder.embed_texts(texts))

    def _seen(self, pictures: Pictures) -> list[NDArray[np.float32]]:
        import torch

        with torch.no_grad():
            found = self._inception._torch_fidelity_forward(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        return [layer.flatten(1).numpy() for layer in found]


@cache
def _published_clip() -> Any:
    from sfumato.models.picture_encoder import PictureEncoder

    return PictureEncoder(_CLIP)


def missing_packages() -> list[str]:
    """Packages of the published networks that are not installed, or that do not import beside this torch."""
    return [name for name in ("torchvision", "torch_fidelity") if not _imports(name)]


def _imports(name: str) -> bool:
    if importlib.util.find_spec(name) is None:
        return False
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError):  # torchvision beside a torch that it was not built for
        return False
    return True


@cache
def load_networks(choice: NetworkChoice) -> Networks:
    """Loads the networks, once a process.

    Raises:
        Unsupported: the published ones were asked for and cannot be had.
    """
    if choice == "published" or (choice == "auto" and not missing_packages()):
        return PublishedNetworks()
    return BundledNetworks()
