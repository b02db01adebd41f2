"""Clips: the frames' latents are held near each other."""

from jaxtyping import Float
from torch import Tensor

from sfumato.tensors import Latent


def frame_spread(latents: Latent, num_frames: int) -> Float[Tensor, " batch"]:
    """Squared distance of each frame's latent, before normalisation, to the mean over its clip.

    Args:
        latents: frames of a clip beside each other.
        num_frames: of each clip.

    Source: "Unlocking Visual Secrets", Eq. 10 and Algorithm 2. The mean takes part in the gradient.
    """
    clips = latents.unflatten(0, (-1, num_frames))
    return (clips - clips.mean(1, keepdim=True)).square().sum((2, 3, 4)).flatten()
