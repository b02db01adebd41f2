"""A defence between the network before a cut and the attacker, and what it leaves of the network's task."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.attacks.draws import generator_for
from sfumato.attacks.inversion.queries import Answering, Queries
from sfumato.attacks.inversion.view import Features, FeatureView
from sfumato.attacks.targets.catalog import Target
from sfumato.attacks.targets.cut import CutModel
from sfumato.attacks.targets.painted_task import BATCH, PaintedPictures, painted_pictures
from sfumato.defences.base import Defence, PublicSample, Release

_PUBLIC_SEED = 771_001
"""Of the portraits that defences are fitted to."""
_TASK_SEED = 771_002
"""Of the portraits whose attributes are read; no training script uses it."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Whoever releases features of a target: holds what is public, and what the target is tried on."""

    target: Target
    public: PaintedPictures
    task: PaintedPictures

    def release(self, defence: Defence, cut: CutModel) -> Release:
        """The defence, fitted at a cut to the public pictures."""
        with torch.no_grad():
            features = cut.first(self._pixels(self.public.pictures))
        return defence.fit(PublicSample(features=features, num_pictures=len(self.public.pictures), second=cut.second))

    def accuracy(self, cut: CutModel, release: Release | None = None, *, seed: int = 0) -> float | None:
        """The share of attributes that the target reads rightly from what is released.

        Args:
            cut: where.
            release: None for the features as they are.
            seed: of the noise.

        Returns:
            None for a target that reads other things than the painter's attributes.
        """
        heads, noise = self.target.heads, generator_for("noise of the task's pictures", seed)
        if heads is None or not self.task.are_read_by(heads):
            return None

        def result_of(pictures: Tensor) -> Tensor:
            features = cut.first(self._pixels(pictures))
            return cut.second(features if release is None else release.apply(features, noise))

        return self.task.accuracy(heads, result_of)

    def _pixels(self, pictures: Tensor) -> Tensor:
        return self.target.preprocess(pictures.to(next(self.target.network.parameters()).device))


def operator_of(target: Target, size: tuple[int, int], num_task_pictures: int) -> Operator:
    """Paints what the operator of a target needs.

    Args:
        target: the network.
        size: of the pictures that it is shown, height and width in pixels.
        num_task_pictures: portraits that accuracy is measured on.

    Raises:
        Unsupported: the painter is not installed.
    """
    return Operator(
        target=target,
        public=painted_pictures(BATCH, _PUBLIC_SEED, size),
        task=painted_pictures(num_task_pictures, _TASK_SEED, size),
    )


def defended(view: FeatureView, release: Release, seed: int) -> FeatureView:
    """The same view with a defence between the network before the cut and the attacker.

    The attacker knows the defence: a white box runs its known part after F1, and a black box answers with releases.

    Args:
        view: of the features as they are.
        release: the defence, fitted at this cut.
        seed: of the noise; the attacker does not get it.
    """
    noise, answered = (generator_for(f"noise of the {use} at {view.cut.layer}", seed) for use in ("release", "answers"))
    first = view.first

    def known(pictures: Tensor) -> Features:
        return release.known(first(pictures))

    def answer(pictures: Tensor) -> Features:
        return release.apply(first(pictures), answered)

    return replace(
        view,
        features=release.apply(view.features, noise),
        first=first.answering(lambda features: release.apply(features, answered))
        if isinstance(first, Queries)
        else Answering(known=known, answer=answer),
    )
