"""From rows to what an audit says: leakage with its interval and controls, one line for each attack and metric."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from sfumato.audit.choices import Choice, choice
from sfumato.audit.leakage import Leakage, Verdict, leakage, verdict

_FEWEST = 2
_FEWEST_CHOICES = 10
_SAME_CONTROL = {"psnr outside": "psnr"}
"""Metrics that a run in the clear does not have, and what stands for them there."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one attack by one coalition found of one setting, by one metric."""

    setting: str
    protocol: str
    spec: str
    clouds: str
    attack: str
    attack_settings: str
    secret: str
    metric: str
    row: Leakage
    in_the_clear: Leakage | None
    on_noise: Leakage | None
    verdict: Verdict
    choice: Choice | None
    seconds: float
    """A secret, the mean."""
    finding: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        told = asdict(self)
        told["spec"], told["attack_settings"] = json.loads(self.spec), json.loads(self.attack_settings)
        told["verdict"] = self.verdict.value
        return told


_KEYS = ["setting", "protocol", "spec", "clouds", "attack", "attack_settings", "secret", "metric"]


def lines(rows: pl.DataFrame) -> list[Line]:
    """One line for each attack, coalition, setting and metric that has two secrets or more; controls are no lines.

    Args:
        rows: of ``SecretRow``.
    """
    rows = rows.sort("number")
    controls = {
        (attack, settings, setting, metric): _control(found)
        for (attack, settings, setting, metric), found in _groups(
            rows.filter(pl.col("is_control")), ["attack", "attack_settings", "setting", "metric"]
        )
    }
    made = []
    for key, found in _groups(rows.filter(~pl.col("is_control")), _KEYS):
        told = dict(zip(_KEYS, key, strict=True))
        if len(found) < _FEWEST:
            continue
        control = controls.get(
            (
                told["attack"],
                told["attack_settings"],
                found["controlled_by"][0],
                _SAME_CONTROL.get(told["metric"], told["metric"]),
            )
        )
        row, clear, noise = _of(found, "guess"), control, _of(found, "on_noise")
        made.append(
            Line(
                **told,
                row=row,
                in_the_clear=clear,
                on_noise=noise,
                verdict=verdict(row, in_the_clear=clear, on_noise=noise),
                choice=_choice(found),
                seconds=float(found["seconds"].to_numpy().mean()),
                finding=found["finding"][0],
            )
        )
    return made


def _groups(rows: pl.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    yield from rows.group_by(keys, maintain_order=True)


def _of(found: pl.DataFrame, column: str) -> Leakage:
    return leakage(found[column].to_numpy().astype(float), found["prior_only"].to_numpy())


def _control(found: pl.DataFrame) -> Leakage | None:
    return None if len(found) < _FEWEST else _of(found, "guess")


def _choice(found: pl.DataFrame) -> Choice | None:
    if found["true"].min() < 0 or len(found) < _FEWEST_CHOICES:  # type: ignore[operator]
        return None
    return choice(np.array(found["scores"].to_list(), dtype=np.float64), found["true"].to_numpy())
