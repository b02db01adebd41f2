"""What an audit keeps: a row for each secret, attack and metric, and a few pictures to look at."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SecretRow:
    """One guess of one secret, scored beside its controls. Scores are higher for better guesses."""

    case: str
    """Names the row: setting, clouds, attack, metric and secret."""
    trial: str
    """Names setting, clouds, attack and batch."""
    setting: str
    """What was audited, in words: protocol and the fields that differ from its defaults."""
    protocol: str
    spec: str
    """Canonical JSON."""
    model: str
    model_fingerprint: str
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    clouds: str
    """Of the coalition, counted from 1, with commas."""
    attack: str
    attack_settings: str
    """Canonical JSON."""
    secret: str
    """A kind of ``attacks.guesses.Secret``."""
    metric: str
    number: int
    """Of the secret, from 0."""
    guess: float
    prior_only: float
    on_noise: float | None
    """The same attack on noise of the same sizes; None where it was not tried, as in a positive control."""
    scores: list[float]
    """Over candidates, for choices; empty otherwise."""
    true: int
    """Column of the true candidate; -1 where there are none."""
    is_control: bool
    """The run hides nothing of what the attack looks for."""
    controlled_by: str
    """The setting that is this row's positive control."""
    seconds: float
    """Of the attack, its share of the batch."""
    finding: str
    """What the attack says it did."""
    sfumato: str
    commit: str | None


@dataclass(frozen=True, kw_only=True)
class PanelRow:
    """Pictures of one secret, for people to judge."""

    case: str
    setting: str
    clouds: str
    attack: str
    attack_settings: str
    number: int
    truth: bytes
    """PNG."""
    prior_only: bytes
    guess: bytes


@dataclass(frozen=True, kw_only=True)
class LackRow:
    """An attack that found nothing to work on."""

    case: str
    setting: str
    protocol: str
    spec: str
    clouds: str
    attack: str
    attack_settings: str
    secret: str
    reason: str
    """What the view lacks, in one sentence."""
