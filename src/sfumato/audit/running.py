"""Runs what a plan still lacks: batch by batch, every attack on each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sfumato.attacks.base import Attack
from sfumato.audit.attempts import Attempt, Subject, trial_name
from sfumato.audit.made_runs import RunMaker
from sfumato.audit.plan import Audited, Plan
from sfumato.audit.store import Store
from sfumato.models.folder import ModelFolder
from sfumato.protocols.prompt_set.spec import PromptSet
from sfumato.transport.recording import Recording
from sfumato.wire.selection import keep_any


@dataclass(frozen=True, kw_only=True)
class Runs:
    """How runs are made."""

    model: ModelFolder
    num_inference_steps: int = 8
    guidance_scale: float = 5.0
    scheduler: str = "dpm++"
    batch_size: int = 10

    def maker(self, audited: Audited) -> RunMaker:
        """For one setting; a prompt set takes as many steps as its cloud makes, and two more."""
        spec, steps = audited.spec, self.num_inference_steps
        if isinstance(spec, PromptSet):
            steps = max(steps, spec.acceleration.num_steps + 2)
        return RunMaker(
            model=self.model,
            spec=spec,
            num_inference_steps=steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            batch_size=self.batch_size,
        )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A batch of one setting."""

    audited: Audited
    first: int
    number: int


def pieces(plan: Plan, batch_size: int) -> list[Piece]:
    """Everything that a plan asks for, setting by setting."""
    return [
        Piece(audited=audited, first=first, number=min(batch_size, plan.num_secrets - first))
        for audited in plan.audited
        for first in range(0, plan.num_secrets, batch_size)
    ]


def _earlier(maker: RunMaker, piece: Piece, attacks: Sequence[Attack]) -> Iterator[Recording]:
    """As many more runs of the same prompts as the attack that pools most of them needs."""
    for again in range(1, 1 + max(attack.num_earlier for attack in attacks)):
        keeps = keep_any([attack.keeps for attack in attacks if attack.num_earlier >= again])
        ((recording, _),) = maker.victims(piece.number, keeps, first=piece.first, again=again)
        yield recording


def run_piece(plan: Plan, runs: Runs, piece: Piece, store: Store, tell: Callable[[str, int], None]) -> int:
    """Makes a batch of runs, tries what was not tried on it, and keeps the scores of each trial as it ends.

    Args:
        plan: of which the piece is.
        runs: how runs are made.
        piece: the batch.
        store: where scores go.
        tell: called with what begins, and how many trials ended since the last call.

    Returns:
        How many trials were made.

    Raises:
        SfumatoError: a run or an attack failed; what was finished is kept.
    """
    audited, maker = piece.audited, runs.maker(piece.audited)
    finished = store.finished()
    todo = [
        trial
        for trial in audited.trials
        if piece.first < plan.secrets_of(trial)
        and trial_name(maker, trial, piece.first, is_control=audited.is_control) not in finished
    ]
    if not todo:
        return 0
    tell(f"{audited.name}: runs of people {piece.first + 1} to {piece.first + piece.number}", 0)
    ((recording, truth),) = maker.victims(
        piece.number, keep_any([trial.attack.keeps for trial in todo]), first=piece.first
    )
    subject = Subject(
        maker=maker,
        first=piece.first,
        is_control=audited.is_control,
        recording=recording,
        truth=truth,
        earlier=tuple(_earlier(maker, piece, [trial.attack for trial in todo])),
    )
    for trial in todo:
        tell(f"{audited.name}: {trial.attack.name} by cloud {trial.who}", 0)
        Attempt(subject, trial).keep(store)
        tell(audited.name, 1)
    return len(todo)
