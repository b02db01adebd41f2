"""Adam over one variable a picture: keeps the best by its own loss, stops on a plateau, and can go on later."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.attacks.inversion.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from sfumato.attacks.inversion.view import Guess, Pictures
from sfumato.attacks.inversion.watch import Progress, Watch

Objective = Callable[[Tensor, Int[Tensor, " batch"]], tuple[Pictures, Float[Tensor, " batch"]]]
"""Called with the variables of some pictures and which they are; returns the pictures and one loss for each."""

_BETAS = (0.9, 0.999)
_ADAM = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a descent moves, and when it stops."""

    iterations: int
    learning_rate: float
    patience: int
    """Iterations without a gain after which a clip is finished; 0 never stops early."""
    min_gain: float
    """The share by which a loss must fall to count as one."""

    def __post_init__(self) -> None:
        for name, least in (("iterations", 1), ("patience", 0), ("min_gain", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a descent came to."""

    pictures: Pictures
    """The best of each clip."""
    best: Float[Tensor, " batch"]
    """Their losses."""
    losses: Float[Tensor, "iteration batch"]
    seconds: float
    finished: bool

    def guess(self, texts: Sequence[str] | None = None) -> Guess:
        """As an attack's guess."""
        return Guess(
            pictures=self.pictures.cpu(),
            losses=self.losses.cpu(),
            texts=tuple(texts) if texts else None,
            seconds=self.seconds,
            finished=self.finished,
        )


class Descent:
    """One optimisation; pictures of a clip are judged and finished together, different clips do not touch each other.

    Args:
        start: first values, one row a picture.
        pace: how it moves.
        num_frames: pictures of a clip.
        project: puts variables that left their range back into it, in place.
    """

    def __init__(
        self, start: Tensor, pace: Pace, *, num_frames: int = 1, project: Callable[[Tensor], None] = lambda _: None
    ) -> None:
        self._pace, self._num_frames, self._project = pace, num_frames, project
        count, clips = len(start), len(start) // num_frames
        # One parameter a picture: Adam leaves alone those without a gradient, and treats values one by one.
        self._variables = [row.clone().requires_grad_() for row in start.detach().split(1)]
        self._adam = torch.optim.Adam(self._variables, lr=pace.learning_rate, betas=_BETAS)
        self._pictures: Tensor | None = None
        self._best = start.new_full((count,), torch.inf)
        self._reference = start.new_full((clips,), torch.inf)
        self._reached = torch.zeros(clips, dtype=torch.long)
        self._active = torch.ones(clips, dtype=torch.bool)
        self._losses: list[Tensor] = []
        self._seconds = 0.0

    def run(self, objective: Objective, watch: Watch, stage: str) -> Found:
        """Descends to the end; Ctrl-C ends it early with what was found.

        Raises:
            ValueError, ModelError: the checkpoint in the watch's folder is another task's, or damaged.
            KeyboardInterrupt: before anything was found.
        """
        self._resume(watch, stage)
        before, started, done = self._seconds, perf_counter(), len(self._losses)
        finished = True
        try:
            while len(self._losses) < self._pace.iterations and bool(self._active.any()):
                loss = self._iterate(objective)
                done = len(self._losses)
                self._seconds = before + perf_counter() - started
                watch.on_iteration(Progress(stage=stage, done=done, total=self._pace.iterations, loss=loss))
                if done % watch.keep_every == 0:
                    self._keep(watch, stage)
            self._keep(watch, stage)
        except KeyboardInterrupt:
            if self._pictures is None:
                raise
            finished = False
        assert self._pictures is not None
        losses = torch.stack(self._losses[:done])
        return Found(pictures=self._pictures, best=self._best, losses=losses, seconds=self._seconds, finished=finished)

    def _iterate(self, objective: Objective) -> float:
        """One step of Adam for the clips that are not finished; returns their losses' sum before it."""
        rows = self._active.repeat_interleave(self._num_frames).nonzero().flatten()
        chosen = [self._variables[int(row)] for row in rows]
        pictures, losses = objective(torch.cat(chosen), rows)
        self._adam.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._note(rows, pictures.detach(), losses.detach())
        self._adam.step()
        with torch.no_grad():
            for variable in chosen:
                self._project(variable)
        return float(losses.detach().sum())

    def _note(self, rows: Int[Tensor, " batch"], pictures: Pictures, losses: Float[Tensor, " batch"]) -> None:
        """Keeps what is better than before, and finds clips on a plateau."""
        rows = rows.to(losses.device)
        if self._pictures is None:
            self._pictures = pictures.clone()
        clips = losses.unflatten(0, (-1, self._num_frames)).sum(1)
        before = self._best[rows].unflatten(0, (-1, self._num_frames)).sum(1)
        better: Bool[Tensor, " batch"] = (clips < before).repeat_interleave(self._num_frames)
        self._pictures[rows[better]] = pictures[better]
        self._best[rows[better]] = losses[better]
        self._losses.append(torch.full_like(self._best, torch.nan).index_copy(0, rows, losses))
        self._watch_plateau(rows[:: self._num_frames] // self._num_frames, clips)

    def _watch_plateau(self, places: Int[Tensor, " clip"], clips: Float[Tensor, " clip"]) -> None:
        iteration = len(self._losses)
        reference = self._reference[places]
        gained = (clips < reference - self._pace.min_gain * reference.abs()) | reference.isinf()
        self._reference[places[gained]] = clips[gained]
        self._reached[places[gained].cpu()] = iteration
        if self._pace.patience:
            self._active &= iteration - self._reached < self._pace.patience

    def _keep(self, watch: Watch, stage: str) -> None:
        if (file := watch.file(stage)) is None or self._pictures is None:
            return
        tensors = {
            "variables": torch.cat(self._variables),
            "pictures": self._pictures,
            "best": self._best,
            "reference": self._reference,
            "reached": self._reached,
            "active": self._active,
            "losses": torch.stack(self._losses),
        }
        for name in _ADAM:
            tensors[name] = torch.stack([self._adam.state[variable][name] for variable in self._variables])
        state = Checkpoint(tensors=tensors, iteration=len(self._losses), seconds=self._seconds)
        write_checkpoint(file, watch.task, state)

    def _resume(self, watch: Watch, stage: str) -> None:
        if (file := watch.file(stage)) is None or (found := read_checkpoint(file, watch.task)) is None:
            return
        device, tensors = self._best.device, found.tensors
        with torch.no_grad():
            for variable, row in zip(self._variables, tensors["variables"].split(1), strict=True):
                variable.copy_(row)
        for place, variable in enumerate(self._variables):
            state = {name: tensors[name][place].clone() for name in _ADAM}
            self._adam.state[variable] = {
                name: value if name == "step" else value.to(device) for name, value in state.items()
            }
        self._pictures, self._best, self._reference = (
            tensors[name].to(device) for name in ("pictures", "best", "reference")
        )
        self._reached, self._active = tensors["reached"], tensors["active"]
        self._losses = list(tensors["losses"].to(device))
        self._seconds = found.seconds
