"""One cut with one defence: how well the target still reads, and how near attacks come."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.attacks.inversion.catalog import find_method
from sfumato.attacks.inversion.defended import Operator, defended
from sfumato.attacks.inversion.harness import clipped, invert, prior_draws, white_box_view
from sfumato.attacks.inversion.method import InversionMethod
from sfumato.attacks.inversion.scoring import Score
from sfumato.attacks.inversion.view import Cut, Pictures
from sfumato.attacks.targets import CutModel
from sfumato.defences.base import Defence
from sfumato.defences.catalog import defence_from
from sfumato.errors import ExperimentError
from sfumato.models.folder import ModelFolder
from sfumato.protocols.settings import parse_values

UNDEFENDED = "none"
PRIOR_ALONE = "prior alone"


@dataclass(frozen=True, kw_only=True)
class DefendedCell:
    """A row of the study. Attack scores are means over pictures, of the attack that came nearest by PSNR.

    An attacker may leave the features aside, so no score is below that of the prior alone.
    """

    target: str
    layer: str
    defence: str
    """With the settings that were named."""
    settings: dict[str, Any]
    """All of the defence."""
    epsilon: float | None
    """None where nothing is proven, or above what the accountant states."""
    delta: float | None
    task_accuracy: float
    undefended_accuracy: float
    task_pictures: int
    pictures: int
    """That were attacked."""
    attack: str
    psnr: float
    ssim: float
    prior_psnr: float
    prior_ssim: float
    leakage_interval: list[float] | None
    """Of PSNR above the prior's, where the mean lies in 95 of 100 such sets of pictures."""
    tried: dict[str, float]
    """PSNR of every attack."""
    seed: int
    """Of the noise."""


def read_cells(text: str) -> list[DefendedCell]:
    """Cells from JSON lines.

    Raises:
        ExperimentError: a line is damaged.
    """
    names = [each.name for each in fields(DefendedCell)]
    try:
        return [
            DefendedCell(**{name: found[name] for name in names})
            for found in map(json.loads, filter(str.strip, text.splitlines()))
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ExperimentError(
            "the rows of 'sfumato bench defences' are damaged: delete the file, and run it again"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Named:
    """A defence or an attack as the command line named it."""

    text: str
    made: Any


def named_defence(text: str) -> Named:
    """Reads ``NAME [FIELD=VALUE ...]``, or none.

    Raises:
        ValueError: unknown defence, field or value.
    """
    name, *settings = text.split() or [""]
    return Named(text=" ".join([name, *settings]), made=None if name == UNDEFENDED else defence_from(name, settings))


def named_attack(text: str) -> Named:
    """Reads ``NAME [FIELD=VALUE ...]``.

    Raises:
        ValueError: unknown method, field or value.
    """
    name, *settings = text.split() or [""]
    kind = find_method(name)
    return Named(text=" ".join([name, *settings]), made=kind(**parse_values(name, kind, settings, {})))


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all cells share."""

    operator: Operator
    model: ModelFolder
    secrets: Pictures
    attacks: Sequence[Named]
    seed: int

    def kept(self, cells: Sequence[DefendedCell], layer: str, named: Named) -> DefendedCell | None:
        """The cell that an earlier run of the same study measured."""
        same = {
            "target": self.operator.target.name,
            "layer": layer,
            "defence": named.text,
            "task_pictures": len(self.operator.task.people),
            "pictures": len(self.secrets),
            "seed": self.seed,
        }
        attacks = {attack.text for attack in self.attacks}
        for cell in cells:
            if set(cell.tried) == attacks and all(getattr(cell, name) == value for name, value in same.items()):
                return cell
        return None

    def cell(self, layer: str, cut: CutModel, undefended_accuracy: float, named: Named) -> DefendedCell:
        """Measures one defence at one cut.

        Raises:
            Unsupported: no accuracy can be measured on the target, or a library is not installed.
        """
        defence: Defence | None = named.made
        release = None if defence is None else self.operator.release(defence, cut)
        accuracy = self.operator.accuracy(cut, release, seed=self.seed)
        view = white_box_view(
            self.secrets,
            lambda batch: cut.first(self.operator.target.preprocess(batch)),
            cut=Cut(target=self.operator.target.name, layer=layer),
            model=self.model,
        )
        view = view if release is None else defended(view, release, self.seed)
        found: dict[str, dict[str, Score]] = {}
        originals = clipped(self.secrets)
        for attack in self.attacks:
            method: InversionMethod = attack.made
            scored = invert(method, view, originals, prior_draws(method, view, 1))
            found[attack.text] = {score.metric: score for score in scored.scores}
        best, psnr, ssim, priors = _nearest(found)
        guarantee = None if defence is None else defence.guarantee()
        return DefendedCell(
            target=self.operator.target.name,
            layer=layer,
            defence=named.text,
            settings={} if defence is None else asdict(defence),
            epsilon=None if guarantee is None else guarantee.epsilon,
            delta=None if guarantee is None else guarantee.delta,
            task_accuracy=undefended_accuracy if accuracy is None else accuracy,
            undefended_accuracy=undefended_accuracy,
            task_pictures=len(self.operator.task.people),
            pictures=len(originals),
            attack=best,
            psnr=psnr,
            ssim=ssim,
            prior_psnr=priors["psnr"],
            prior_ssim=priors["ssim"],
            leakage_interval=_interval(found.get(best)),
            tried={text: _mean(scores["psnr"].guess) for text, scores in found.items()},
            seed=self.seed,
        )


def _nearest(found: dict[str, dict[str, Score]]) -> tuple[str, float, float, dict[str, float]]:
    """The attack of the highest PSNR, its PSNR and SSIM, and the best prior's."""
    priors = {name: max(_mean(scores[name].prior_only) for scores in found.values()) for name in ("psnr", "ssim")}
    best = max(found, key=lambda text: _mean(found[text]["psnr"].guess))
    psnr, ssim = (_mean(found[best][name].guess) for name in ("psnr", "ssim"))
    return (
        (best, psnr, ssim, priors) if psnr > priors["psnr"] else (PRIOR_ALONE, priors["psnr"], priors["ssim"], priors)
    )


def _interval(scores: dict[str, Score] | None) -> list[float] | None:
    return None if scores is None or (found := scores["psnr"].interval) is None else [found.low, found.high]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())
