"""What a metric is called: a published name only over the published network."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricNames:
    """The names under which metrics that look through a network are printed."""

    perceptual: str
    frechet: str
    inception: str
    clip: str


PUBLISHED = MetricNames(perceptual="LPIPS", frechet="FID", inception="IS", clip="CLIP score")
"""The networks with which others report these metrics; figures compare with theirs."""

BUNDLED = MetricNames(
    perceptual="PD-portraits", frechet="FD-portraits", inception="IS-portraits", clip="CLIP-portraits"
)
"""The same formulas over the bundled image-text encoder; figures compare with each other only."""
