"""Computes one cell: paints, cuts, attacks, scores."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sfumato.attacks.inversion.harness import Inverted, invert, prior_draws, white_box_view
from sfumato.attacks.inversion.inversion_network_attack import InversionNetworkAttack
from sfumato.attacks.inversion.latent_chain import native_size
from sfumato.attacks.inversion.method import InversionMethod, enough_memory
from sfumato.attacks.inversion.scoring import Bytes
from sfumato.attacks.inversion.view import Cut, FeatureView
from sfumato.attacks.inversion.watch import Progress, Watch
from sfumato.attacks.targets import Target, load_target
from sfumato.experiments.inversion_quality.cells import Cell
from sfumato.experiments.inversion_quality.inverted_row import InvertedRow
from sfumato.experiments.inversion_quality.painted import Group, groups_of
from sfumato.experiments.picturing import current_commit
from sfumato.experiments.rows import as_png
from sfumato.models.folder import ModelFolder
from sfumato.models.picture_encoder import PictureEncoder
from sfumato.version import VERSION

MOST_LOSSES: Final = 200
_KEPT_DRAWS: Final = 8


@dataclass(kw_only=True)
class Workbench:
    """What all cells of one call share: public model, device, the encoder that scores, guesses without features."""

    model: ModelFolder
    device: torch.device
    draws: int
    _encoder: PictureEncoder = field(default_factory=PictureEncoder)
    _draws: dict[tuple[InversionMethod, tuple[str, ...], int, int], list[Bytes]] = field(default_factory=dict)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width that the model makes."""
        return native_size(self.model)

    def name_of(self, cell: Cell) -> str:
        """Names a cell's rows."""
        return cell.identity(self.model.unet_fingerprint, self.draws)

    def rows(self, cell: Cell, folder: Path, tell: Callable[[Progress], None]) -> list[InvertedRow]:
        """Inverts and scores all pictures of a cell.

        Args:
            cell: what is computed.
            folder: checkpoints and networks are kept below it.
            tell: hears of each iteration.

        Raises:
            SfumatoError: the method cannot run.
            KeyboardInterrupt: it was interrupted; checkpoints are kept.
        """
        groups = groups_of(cell, self.picture_size)
        found = [self._inverted(cell, group, folder, tell) for group in groups]
        # Views of one cell share a trained network, and each of them states what its training took.
        training = isinstance(cell.attack, InversionNetworkAttack)
        seconds = (max if training else sum)(each.guess.seconds for each in found)
        rows = [row for group, each in zip(groups, found, strict=True) for row in self._group_rows(cell, group, each)]
        order = sorted(rows, key=lambda row: (row.seed, row.frame))
        return [
            replace(row, case=f"{row.cell}-{place:03d}", place=place, seconds=seconds / len(rows))
            for place, row in enumerate(order)
        ]

    def _inverted(self, cell: Cell, group: Group, folder: Path, tell: Callable[[Progress], None]) -> Inverted:
        view = self._view(cell, group)
        watch = Watch(
            on_iteration=tell,
            folder=folder / "checkpoints" / self.name_of(cell) / str(group.seeds[0]),
            networks=folder / "networks",
        )
        draws = self._prior_draws(cell.attack, view)
        found = invert(cell.attack, view, group.pictures, draws, encoder=self._encoder, watch=watch)
        if not found.guess.finished:
            raise KeyboardInterrupt
        return found

    def _view(self, cell: Cell, group: Group) -> FeatureView:
        pictures = torch.from_numpy(group.pictures).permute(0, 3, 1, 2).to(self.device).float() / 255
        with enough_memory():
            return white_box_view(
                pictures,
                _first_part(cell.target, cell.layer, self.picture_size, self.device),
                cut=Cut(target=cell.target, layer=cell.layer),
                model=self.model,
                priors=(group.words,) if group.words else (),
                num_frames=cell.num_frames,
            )

    def _prior_draws(self, method: InversionMethod, view: FeatureView) -> list[Bytes]:
        """A method's guesses without features, the same at every cut."""
        key = (method, view.priors, view.num_pictures, view.num_frames)
        if key not in self._draws:
            while len(self._draws) >= _KEPT_DRAWS:
                self._draws.pop(next(iter(self._draws)))
            with enough_memory():
                self._draws[key] = prior_draws(method, view, self.draws)
        return self._draws[key]

    def _group_rows(self, cell: Cell, group: Group, found: Inverted) -> list[InvertedRow]:
        classes = self._encoder.class_probabilities(found.pictures)
        key = (cell.attack, (group.words,) if group.words else (), len(found.pictures), cell.num_frames)
        prior_classes = np.stack([self._encoder.class_probabilities(draw) for draw in self._draws[key]], axis=1)
        height, width = self.picture_size
        return [
            InvertedRow(
                case="",
                cell=self.name_of(cell),
                place=place,
                target=cell.target,
                layer=cell.layer,
                method=cell.method,
                settings=json.dumps(cell.all_settings, sort_keys=True),
                seed=group.seeds[place // cell.num_frames],
                frame=place % cell.num_frames,
                num_frames=cell.num_frames,
                words=group.words,
                model=self.model.name,
                model_fingerprint=self.model.unet_fingerprint,
                height=height,
                width=width,
                draws=self.draws,
                **_scores_of(found, place),
                classes=classes[place].tolist(),
                prior_classes=prior_classes[place].ravel().tolist(),
                losses=thinned(found.guess.losses, place),
                seconds=0.0,
                sfumato=VERSION,
                commit=current_commit(),
                torch=torch.__version__,
                device=self.device.type,
                picture=as_png(picture),
            )
            for place, picture in enumerate(found.pictures)
        ]


def _scores_of(found: Inverted, place: int) -> dict[str, float]:
    """One picture's scores, and those of guesses without features, as a row names them."""
    return {
        column: float(values[place])
        for score in found.scores
        for column, values in ((score.metric, score.guess), (f"prior_{score.metric}", score.prior_only))
    }


def thinned(losses: Tensor | None, place: int) -> list[float]:
    """One picture's losses: `MOST_LOSSES` at most, evenly spread, the first and the last among them."""
    if losses is None:
        return []
    values = losses[:, place].tolist()
    if len(values) <= MOST_LOSSES:
        return values
    return [values[int(row)] for row in np.linspace(0, len(values) - 1, MOST_LOSSES).round()]


@lru_cache(maxsize=4)
def _target(name: str, device: torch.device) -> Target:
    target = load_target(name)
    target.network.to(device)
    return target


@lru_cache(maxsize=8)
def _first_part(
    name: str, layer: str, size: tuple[int, int], device: torch.device
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """F1 with its preprocessing; it holds no picture."""
    target = _target(name, device)
    cut, preprocess = target.cut(layer, size), target.preprocess
    return lambda batch: cut.first(preprocess(batch))
