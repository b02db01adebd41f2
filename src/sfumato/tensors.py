"""Names for the tensor shapes that cross room borders."""

from jaxtyping import Float
from torch import Tensor

Latent = Float[Tensor, "batch channel height width"]
"""A latent or a U-Net prediction, in the units of the scheduler (not yet divided by the VAE's scaling factor)."""

GuidedPrediction = Float[Tensor, "rows channel height width"]
"""A U-Net's raw output: as many rows as the conditioning has, twice the latent's with guidance."""

FeatureMap = Float[Tensor, "batch channel height width"]
"""A feature map inside the U-Net."""

TokenEmbeddings = Float[Tensor, "batch token width"]
"""Text encoder output, one row a token."""

PooledEmbedding = Float[Tensor, "batch pooled_width"]
"""One vector a prompt (SDXL)."""
