"""Trains an inversion network on questions and answers; keeps what does best on those held out, and can go on later."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path
from time import perf_counter

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sfumato.attacks.draws import generator_for
from sfumato.attacks.inversion.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from sfumato.attacks.inversion.inversion_network import InversionNetwork
from sfumato.attacks.inversion.view import Features
from sfumato.attacks.inversion.watch import Progress
from sfumato.errors import Unsupported

OutputLosses = Callable[[Tensor, Tensor, Sequence[str]], Float[Tensor, " batch"]]
"""Called with the network's outputs, the pictures in 0..1 that were asked about, and their words; a loss a picture."""

_BETAS = (0.9, 0.999)
_ADAM = ("exp_avg", "exp_avg_sq", "step")
_SECONDS_AT_RISK = 60.0
"""After so long a checkpoint is written, however few steps were made."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Questions and what the black box answered; frames of a clip are beside each other."""

    pictures: Tensor
    """Bytes of shape (batch, 3, height, width)."""
    texts: tuple[str, ...]
    features: Features

    def some(self, rows: Int[Tensor, " batch"]) -> "Answered":
        """Those of some pictures."""
        count = len(self.pictures)
        parts = tuple(part.unflatten(0, (count, -1))[rows].flatten(0, 1) for part in self.features)
        return Answered(pictures=self.pictures[rows], texts=tuple(self.texts[int(r)] for r in rows), features=parts)


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a training goes."""

    epochs: int
    batch: int
    """Pictures of a step of Adam; clips stay whole."""
    at_once: int
    """Pictures that are made from outputs at a time; the step is the same."""
    learning_rate: float
    patience: int
    """Epochs without a gain after which the learning rate is halved; 0 never."""
    held_out: float
    """The share of the questions that judges and does not teach."""
    num_frames: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("at_once", 1), ("patience", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {self.held_out}")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network, and how it came about."""

    network: InversionNetwork
    """The best on what was held out, ready to invert."""
    losses: Float[Tensor, " epoch"]
    """The mean loss of the held-out questions after each epoch."""
    seconds: float
    finished: bool


class NetworkTraining:
    """One training; the same settings and questions give the same network, however often it is interrupted.

    Args:
        network: with its first weights.
        losses: what is made small.
        num_pictures: that are asked about.
        course: how it goes.

    Source: "Unlocking Visual Secrets", Eq. 11, Eq. 12 and Eq. 13. Holding questions out, and halving the learning rate
        when they gain nothing, are ours.
    """

    def __init__(self, network: InversionNetwork, losses: OutputLosses, num_pictures: int, course: Course) -> None:
        self._network, self._losses_of, self._course = network, losses, course
        self._device = next(network.parameters()).device
        self._adam = torch.optim.Adam(network.parameters(), lr=course.learning_rate, betas=_BETAS)
        clips = num_pictures // course.num_frames
        judges = min(clips - 1, max(1, round(course.held_out * clips)))
        if judges < 1:
            raise ValueError(
                f"training needs at least two pictures or clips, one of them held out, got {clips}: raise queries"
            )
        self._teachers, self._judges = clips - judges, torch.arange(clips - judges, clips)
        self._batches = ceil(self._teachers / max(1, course.batch // course.num_frames))
        self._best = _copied(network)
        self._losses: list[float] = []
        self._since_gain = 0
        self._steps = 0
        self._seconds = self._kept_at = 0.0

    @property
    def num_steps(self) -> int:
        """Of Adam, all epochs together."""
        return self._course.epochs * self._batches

    def run(
        self,
        stage: str,
        tell: Callable[[Progress], None],
        answers: Callable[[], Answered],
        kept: tuple[Path, str, int] | None = None,
    ) -> Trained:
        """Trains to the end; Ctrl-C ends it early with what was found.

        Args:
            stage: names the training, for progress.
            tell: who is told of each step.
            answers: gives all questions; called where training is not at its end.
            kept: the checkpoint's file, the task it belongs to, and the steps between two checkpoints.

        Raises:
            ValueError, ModelError: the checkpoint is another task's, or damaged.
            Unsupported: no loss was ever a number.
            KeyboardInterrupt: before a single step.
        """
        if kept and (found := read_checkpoint(kept[0], kept[1])):
            self._resume(found)
        if self._steps >= self.num_steps:
            return self._trained(finished=True)
        answered = answers()
        before, started, finished = self._seconds, perf_counter(), True
        try:
            while self._steps < self.num_steps:
                loss = self._step(answered)
                self._seconds = before + perf_counter() - started
                tell(Progress(stage=stage, done=self._steps, total=self.num_steps, loss=loss))
                if kept and (self._steps % kept[2] == 0 or self._steps == self.num_steps or self._long_since_kept()):
                    self._keep(kept[0], kept[1])
        except KeyboardInterrupt:
            if not self._steps:
                raise
            finished = False
        return self._trained(finished=finished)

    def _trained(self, *, finished: bool) -> Trained:
        if self._losses:
            if not any(map(isfinite, self._losses)):
                raise Unsupported("the inversion network's loss is no number after any epoch: lower learning_rate")
            self._network.load_state_dict(self._best)
        self._network.eval().requires_grad_(False)
        losses = torch.tensor(self._losses)
        return Trained(network=self._network, losses=losses, seconds=self._seconds, finished=finished)

    def _step(self, answered: Answered) -> float:
        """One step of Adam, and judgement at the end of an epoch; returns the step's mean loss."""
        epoch, place = divmod(self._steps, self._batches)
        order = torch.randperm(self._teachers, generator=generator_for(f"epoch {epoch}", self._course.seed))
        some = answered.some(self._frames(order.tensor_split(self._batches)[place]))
        self._network.train()
        outputs = self._outputs(some)
        self._adam.zero_grad(set_to_none=True)
        loss, slopes = self._slopes(outputs.detach(), some)
        outputs.backward(slopes)
        self._adam.step()
        self._steps += 1
        if place == self._batches - 1:
            self._judge(answered)
        return loss

    def _slopes(self, outputs: Tensor, some: Answered) -> tuple[float, Tensor]:
        """The mean loss and its gradient at the outputs, a few pictures at a time."""
        total, slopes = 0.0, []
        for start, part in self._parts(outputs):
            leaf = part.clone().requires_grad_()
            loss = self._loss(leaf, some, start).sum() / len(outputs)
            loss.backward()
            assert leaf.grad is not None
            slopes.append(leaf.grad)
            total += float(loss.detach())
        return total, torch.cat(slopes)

    @torch.no_grad()
    def _judge(self, answered: Answered) -> None:
        """Notes the held-out loss, keeps the best weights, and slows down on a plateau."""
        self._network.eval()
        total, judges = 0.0, self._frames(self._judges)
        for rows in judges.split(max(1, self._course.batch // self._course.num_frames) * self._course.num_frames):
            some = answered.some(rows)
            outputs = self._outputs(some)
            total += sum(float(self._loss(part, some, start).sum()) for start, part in self._parts(outputs))
        loss = total / len(judges)
        gained = loss < min((known for known in self._losses if isfinite(known)), default=inf)
        self._losses.append(loss)
        self._since_gain = 0 if gained else self._since_gain + 1
        if gained:
            self._best = _copied(self._network)
        if self._course.patience and self._since_gain and self._since_gain % self._course.patience == 0:
            for group in self._adam.param_groups:
                group["lr"] /= 2

    def _outputs(self, some: Answered) -> Tensor:
        found: Tensor = self._network(tuple(part.to(self._device) for part in some.features), len(some.pictures))
        return found

    def _loss(self, outputs: Tensor, some: Answered, start: int) -> Float[Tensor, " batch"]:
        wanted = some.pictures[start : start + len(outputs)].to(outputs.device).float() / 255
        return self._losses_of(outputs, wanted, some.texts[start : start + len(outputs)])

    def _parts(self, outputs: Tensor) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(outputs), self._course.at_once):
            yield start, outputs[start : start + self._course.at_once]

    def _frames(self, clips: Int[Tensor, " clip"]) -> Int[Tensor, " batch"]:
        frames = self._course.num_frames
        return (clips[:, None] * frames + torch.arange(frames)).flatten()

    def _long_since_kept(self) -> bool:
        return self._seconds - self._kept_at > _SECONDS_AT_RISK

    def _keep(self, file: Path, task: str) -> None:
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        for place, variable in enumerate(self._network.parameters()):
            tensors |= {f"adam.{place}.{name}": self._adam.state[variable][name] for name in _ADAM}
        self._kept_at = self._seconds
        rate = self._adam.param_groups[0]["lr"]
        tensors["course"] = torch.tensor([rate, self._since_gain, *self._losses], dtype=torch.float64)
        tensors = {name: value.clone() for name, value in tensors.items()}
        write_checkpoint(file, task, Checkpoint(tensors=tensors, iteration=self._steps, seconds=self._seconds))

    def _resume(self, found: Checkpoint) -> None:
        tensors = found.tensors
        self._network.load_state_dict(_under("network.", tensors))
        self._best = _copied(self._network) | _under("best.", tensors)
        for place, variable in enumerate(self._network.parameters()):
            state = {name: tensors[f"adam.{place}.{name}"] for name in _ADAM}
            self._adam.state[variable] = {
                name: value if name == "step" else value.to(variable.device) for name, value in state.items()
            }
        rate, since_gain, *losses = tensors["course"].tolist()
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._since_gain, self._losses = int(since_gain), losses
        self._steps, self._seconds, self._kept_at = found.iteration, found.seconds, found.seconds


def _copied(network: InversionNetwork) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
