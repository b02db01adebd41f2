"""The defence of one ``sfumato invert`` command: settings, releases at its cuts, and what the report says of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sfumato.attacks.inversion.defended import Operator, defended, operator_of
from sfumato.attacks.inversion.view import FeatureView
from sfumato.attacks.targets import CutModel, Target
from sfumato.defences.base import Defence, Guarantee
from sfumato.defences.catalog import DEFENCES, defence_from

_TASK_PICTURES = 96


@dataclass(kw_only=True)
class Defending:
    """A defence in use, with what was measured of it at each cut."""

    defence: Defence
    operator: Operator
    seed: int
    guarantee: Guarantee | None
    accuracies: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Of the target, by layer: without the defence and with it."""

    def defended(self, view: FeatureView, cut: CutModel) -> FeatureView:
        """The view of what is released."""
        release = self.operator.release(self.defence, cut)
        self.accuracies[view.cut.layer] = (
            self.operator.accuracy(cut),
            self.operator.accuracy(cut, release, seed=self.seed),
        )
        return defended(view, release, self.seed)

    def report(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "name": self.defence.name,
            "settings": asdict(self.defence),
            "claim": self.defence.claim,
            "guarantee": None if self.guarantee is None else asdict(self.guarantee) | {"about": Guarantee.about},
            "task_pictures": len(self.operator.task.people),
            "task_accuracy": {
                layer: {"undefended": plain, "defended": with_it} for layer, (plain, with_it) in self.accuracies.items()
            },
        }

    def lines(self) -> list[str]:
        """What is printed under the scores."""
        told = [f"Defence {self.defence.name}: {self.defence.claim}"]
        if self.guarantee is not None:
            told.append(f"Each release is {guarantee_text(self.guarantee)}. {Guarantee.about}")
        count = len(self.operator.task.people)
        for layer, (plain, with_it) in self.accuracies.items():
            if plain is not None and with_it is not None:
                told.append(
                    f"{layer}: attributes read rightly of {count} painted portraits, {100 * plain:.1f} % without the "
                    f"defence and {100 * with_it:.1f} % with it."
                )
            else:
                told.append(f"{layer}: accuracy is not known, for this target does not read the painter's attributes.")
        return told


def split_settings(name: str | None, pairs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tells the settings of a defence from those of the methods.

    Returns:
        The defence's, and the others.
    """
    own = {each.name for each in fields(DEFENCES[name])} if name in DEFENCES else set()
    return [p for p in pairs if p.partition("=")[0] in own], [p for p in pairs if p.partition("=")[0] not in own]


def chosen_defence(name: str | None, pairs: Sequence[str]) -> tuple[Defence, Guarantee | None] | None:
    """Makes the chosen defence and states what it promises; None where none was chosen.

    Raises:
        ValueError: no such defence or value.
        Unsupported: the accountant is not installed.
    """
    if name is None:
        return None
    defence = defence_from(name, pairs)
    return defence, defence.guarantee()


def defending(
    chosen: tuple[Defence, Guarantee | None] | None, target: Target, size: tuple[int, int], seed: int
) -> Defending | None:
    """Puts a chosen defence before a target.

    Raises:
        Unsupported: the painter, whose pictures it is fitted to, is not installed.
    """
    if chosen is None:
        return None
    defence, guarantee = chosen
    return Defending(
        defence=defence, guarantee=guarantee, operator=operator_of(target, size, _TASK_PICTURES), seed=seed
    )


def guarantee_text(guarantee: Guarantee) -> str:
    """As (epsilon, delta) in brackets."""
    epsilon = "above 500, which promises nothing" if guarantee.epsilon is None else f"{guarantee.epsilon:.3g}"
    return f"(epsilon {epsilon}, delta {guarantee.delta:g})-differentially private by {guarantee.accountant}"
