"""What black-box attacks share: a network is trained to undo F1 from answers to a counted number of questions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.draws import generator_for
from sfumato.attacks.inversion.asking import Asking
from sfumato.attacks.inversion.inversion_network import InversionNetwork, Layout, as_wide_as, count_parameters
from sfumato.attacks.inversion.latent_chain import latent_shape
from sfumato.attacks.inversion.losses import FeatureNorm, feature_distance, total_variation
from sfumato.attacks.inversion.method import InversionMethod, setting
from sfumato.attacks.inversion.network_training import Course, NetworkTraining, Trained
from sfumato.attacks.inversion.picture_makers import PictureMaker
from sfumato.attacks.inversion.queries import Queries
from sfumato.attacks.inversion.query_pictures import PAINTED, query_pictures
from sfumato.attacks.inversion.view import Cut, FeatureView, FirstPart, Guess, Pictures
from sfumato.attacks.inversion.watch import Watch
from sfumato.models.folder import ModelFolder

NO_WORDS = ""
_MEAN_OF = 256
"""Pictures at most whose mean is the guess without features."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is the same for all batches of one view."""

    method: "InversionNetworkAttack"
    first: FirstPart | Queries
    cut: Cut
    model: ModelFolder
    picture_size: tuple[int, int]
    num_frames: int
    priors: tuple[str, ...]


@dataclass(kw_only=True)
class _Slot:
    """What one attacker learned of one network, for all batches of a view."""

    queries: Queries
    asking: Asking | None = None
    trained: Trained | None = None


@dataclass(frozen=True, kw_only=True)
class InversionNetworkAttack(InversionMethod):
    """What the three black-box methods have in common: all but how a picture is made.

    F1 itself is never looked into: of a white-box view as many questions as `queries` are asked.

    Source: "Unlocking Visual Secrets", Sections 5 and 7.1.
    """

    batch_size: int = setting(64, "pictures that are inverted together; clips stay whole")
    queries: int = setting(4096, "pictures that the network before the cut is asked about, and no more")
    trial_queries: int = setting(0, "of the queries, kept to tell several priors apart: one a picture and prior")
    questions: str = setting(PAINTED, "painted, or a folder of pictures: what is asked about")
    epochs: int = setting(96, "passes over the questions; a kept network goes on to more", names_task=False)
    training_batch: int = setting(128, "pictures of a step of Adam")
    learning_rate: float = setting(0.01, "of Adam, to begin with; the paper states 0.1, which did not train here")
    plateau_epochs: int = setting(5, "without a gain after which the learning rate is halved; 0 never")
    held_out: float = setting(0.125, "share of the queries that judges the network and does not train it")
    channels: int = setting(48, "of the first level of black-box's network; all forms have as many parameters")
    tv_weight: float = setting(1.0, "of total variation, lambda_s")
    picture_norm: FeatureNorm = setting("sum", "picture loss as a sum over values, their mean, or relative")
    mix_frames: bool = setting(True, "clips: mix the frames' features by a pointwise convolution")
    at_once: int = setting(8, "pictures that are made in one go while training", names_task=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("queries", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.trial_queries < self.queries:
            raise ValueError(f"trial_queries must be in [0, {self.queries}), got {self.trial_queries}")
        self.course(1)

    @abstractmethod
    def maker(self, view: FeatureView) -> PictureMaker:
        """How outputs become pictures."""

    @abstractmethod
    def word_losses(self, outputs: Tensor, texts: Sequence[str]) -> Float[Tensor, " batch"] | float:
        """What words add to the loss of each picture."""

    @abstractmethod
    def priors(self, view: FeatureView) -> tuple[str, ...]:
        """The texts that count, at least one."""

    @final
    def guess(self, view: FeatureView, first: int, stage: str, watch: Watch) -> Guess:  # noqa: ARG002
        """Trains where that was not done, and makes a picture of each output."""
        priors, slot = self.priors(view), self._slot(view)
        if len(priors) > 1 and self.trial_queries < (needed := len(priors) * view.num_pictures):
            raise ValueError(
                f"{len(priors)} priors are told apart by asking about each guess: set trial_queries to {needed} or "
                "more, or give one prior"
            )
        learned = slot.trained is None
        trained = slot.trained or self._train(view, slot, stage, watch)
        if trained.finished:
            slot.trained, slot.asking = trained, None
        guesses = [self._pictures(view, trained.network, text) for text in priors]
        chosen = self._nearest(view, guesses, slot.queries) if len(priors) > 1 else [0] * view.num_pictures
        return Guess(
            pictures=torch.stack([guesses[place][row] for row, place in enumerate(chosen)]).cpu(),
            losses=trained.losses[:, None].expand(-1, view.num_pictures) if len(trained.losses) else None,
            texts=tuple(priors[place] for place in chosen) if view.priors else None,
            seconds=trained.seconds if learned else 0.0,
            finished=trained.finished,
        )

    @final
    def prior_only(self, view: FeatureView, draw: int) -> Pictures:  # noqa: ARG002
        """The mean of the questions: the best guess that does not depend on features, by the attack's own loss."""
        count = min(_MEAN_OF, self.queries - self.trial_queries)
        mean = _mean_picture(self.questions, view.num_frames, self.seed, count, view.picture_size)
        return mean.expand(view.num_pictures, -1, -1, -1).clone()

    def course(self, num_frames: int) -> Course:
        """How training goes."""
        return Course(
            epochs=self.epochs,
            batch=self.training_batch,
            at_once=self.at_once,
            learning_rate=self.learning_rate,
            patience=self.plateau_epochs,
            held_out=self.held_out,
            num_frames=num_frames,
            seed=self.seed,
        )

    def network(self, view: FeatureView, shapes: tuple[tuple[int, ...], ...]) -> InversionNetwork:
        """The network with its first weights, as many as the latent's form has with these `channels`.

        Args:
            view: what is attacked.
            shapes: of the features of one picture.
        """
        latent = latent_shape(view.model, view.picture_size)
        frames = view.num_frames if self.mix_frames else 1
        wanted = Layout(features=shapes, output=latent, inner=latent[1:], num_frames=view.num_frames)
        layout = Layout(features=shapes, output=self.maker(view).shape, inner=latent[1:], num_frames=frames)
        width = self.channels if layout == wanted else as_wide_as(count_parameters(wanted, self.channels), layout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_for("inversion network", self.seed).initial_seed())
            return InversionNetwork(layout, width).to(view.device)

    def _slot(self, view: FeatureView) -> _Slot:
        names = ("first", "cut", "model", "picture_size", "num_frames", "priors")
        return _slot_of(_Task(method=self, **{name: getattr(view, name) for name in names}))

    def _train(self, view: FeatureView, slot: _Slot, stage: str, watch: Watch) -> Trained:
        if slot.asking is None:
            asking = Asking(
                queries=slot.queries,
                source=query_pictures(self.questions, num_frames=view.num_frames, seed=self.seed),
                count=(self.queries - self.trial_queries) // view.num_frames * view.num_frames,
                size=view.picture_size,
                device=view.device,
                worded=any(self.priors(view)),
            )
            asking.check()
            slot.asking = asking
        asking, maker = slot.asking, self.maker(view)

        def losses(outputs: Tensor, wanted: Pictures, texts: Sequence[str]) -> Float[Tensor, " batch"]:
            made = maker(outputs, texts)
            near = feature_distance((made,), (wanted,), len(made), self.picture_norm)
            return near + self.tv_weight * total_variation(made) + self.word_losses(outputs, texts)

        training = NetworkTraining(
            self.network(view, asking.shapes), losses, asking.count, self.course(view.num_frames)
        )
        return training.run(
            f"{stage} training",
            watch.on_iteration,
            lambda: asking.answers(watch, stage),
            asking.kept(self.about(view), watch),
        )

    def about(self, view: FeatureView) -> dict[str, object]:
        """What a trained network depends on, its questions and answers apart."""
        settings = {
            name: value
            for name, value in asdict(self).items()
            if type(self).__dataclass_fields__[name].metadata.get("names_task", True) and name != "batch_size"
        }
        return {
            "method": self.name,
            "settings": settings,
            "cut": asdict(view.cut),
            "model": view.model.fingerprint,
            "size": view.picture_size,
            "frames": view.num_frames,
            "worded": any(self.priors(view)),
        }

    @torch.no_grad()
    def _pictures(self, view: FeatureView, network: InversionNetwork, text: str) -> Pictures:
        maker, outputs = self.maker(view), network(view.features, view.num_pictures)
        return torch.cat([maker(part, [text] * len(part)) for part in outputs.split(self.at_once)])

    @torch.no_grad()
    def _nearest(self, view: FeatureView, guesses: Sequence[Pictures], queries: Queries) -> list[int]:
        """For each picture the place of the guess with the nearest features, one for all frames of a clip."""
        distances = torch.stack(
            [feature_distance(queries(guess), view.features, view.num_pictures, "mean") for guess in guesses]
        )
        clips = distances.unflatten(1, (-1, view.num_frames)).sum(2)
        return [int(place) for place in clips.argmin(0).repeat_interleave(view.num_frames)]


@lru_cache(maxsize=2)
def _slot_of(task: _Task) -> _Slot:
    first = task.first
    return _Slot(queries=first if isinstance(first, Queries) else Queries(first, task.method.queries))


@lru_cache(maxsize=4)
def _mean_picture(questions: str, num_frames: int, seed: int, count: int, size: tuple[int, int]) -> Tensor:
    source = query_pictures(questions, num_frames=num_frames, seed=seed)
    source.check(count, worded=False)
    return source.pictures(0, count, size).float().mean(0, keepdim=True) / 255
