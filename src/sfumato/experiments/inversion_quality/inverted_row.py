"""What is kept of each inverted picture."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InvertedRow:
    """One picture of a finished cell, its scores and everything that they came from."""

    case: str
    """The cell's name and the picture's place in it."""
    cell: str
    place: int
    target: str
    layer: str
    method: str
    settings: str
    """All of the method, as JSON."""
    seed: int
    """Of the painted portrait or clip."""
    frame: int
    num_frames: int
    words: str
    """That the attacker was told; empty for none."""
    model: str
    model_fingerprint: str
    height: int
    width: int
    draws: int
    """Guesses without features, over which prior scores are means."""
    psnr: float
    prior_psnr: float
    mean_absolute_psnr: float
    prior_mean_absolute_psnr: float
    ssim: float
    prior_ssim: float
    attributes: float
    prior_attributes: float
    classes: list[float]
    """Probabilities by the bundled encoder, for Inception Scores of any set."""
    prior_classes: list[float]
    """The same of each draw, one after another."""
    losses: list[float]
    """The attack's own, thinned to 200 at most; of a trained network that of the questions held out, an epoch each."""
    seconds: float
    """Of the cell, divided evenly over its pictures."""
    sfumato: str
    commit: str | None
    torch: str
    device: str
    picture: bytes
    """PNG of the guess; empty in rows that were exported."""
