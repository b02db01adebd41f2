"""What a run spends before its steps repeat, and in one repetition."""

from collections.abc import Sequence

from sfumato.cost.dry_run import DryRun, Part, Round
from sfumato.cost.link import Link
from sfumato.cost.means import Mean, mean
from sfumato.cost.result import Compute, Cycle, Once, Spent
from sfumato.cost.speeds import Speeds, computing_seconds, step_seconds


def cycle_of(run: DryRun) -> Cycle | None:
    """The whole numbers of a run whose steps differ; None where all but the first are alike."""
    if len(run.cycle) == 1:
        return None
    before = _spent((run.opening, *run.before), len(run.before))
    return Cycle(before=before, each=_spent(run.cycle, len(run.cycle)))


def once_of(run: DryRun, link: Link, compute: Compute, speeds: Speeds) -> Once:
    """What is left of a run when each of its steps is taken for the cycle's mean."""
    cycle = _spent(run.cycle, len(run.cycle))
    cycles_in_run = mean(len(run.before) + len(run.cycle), len(run.cycle))

    def beyond_means(whole_run: int, each_cycle: int) -> Mean:
        return mean(whole_run - each_cycle * cycles_in_run, 1)

    return Once(
        rounds=beyond_means(run.traffic.rounds, cycle.rounds),
        sent_bytes=beyond_means(run.traffic.sent_bytes, cycle.sent_bytes),
        received_bytes=beyond_means(run.traffic.received_bytes, cycle.received_bytes),
        between_bytes=beyond_means(sum(run.traffic.between_bytes), cycle.between_bytes),
        seconds=_seconds_once(run, link, speeds),
        client_seconds=computing_seconds(compute.text_encoder_flops + compute.vae_decoder_flops, speeds.client_gflops),
    )


def _seconds_once(run: DryRun, link: Link, speeds: Speeds) -> float:
    """The handshake, what the first step tells beyond the second, and the steps before the cycle above its mean."""
    first, second, *_ = (*run.before, *run.cycle)
    told = _seconds(run.opening.rounds, link) + _seconds(first.rounds, link) - _seconds(second.rounds, link)
    if len(run.before) == len(run.cycle) == 1:
        return told
    # All steps before the cycle, the first taken for one that tells no more than the second.
    before = [step_seconds(step, link, speeds).total for step in (second, *run.before[1:])]
    each = [step_seconds(step, link, speeds).total for step in run.cycle]
    return told + sum(before) - len(before) * sum(each) / len(each)


def _spent(parts: Sequence[Part], num_steps: int) -> Spent:
    rounds = [r for part in parts for r in part.rounds]
    return Spent(
        steps=num_steps,
        rounds=len(rounds),
        sent_bytes=sum(sum(r.sent_bytes) for r in rounds),
        received_bytes=sum(sum(r.received_bytes) for r in rounds),
        between_bytes=sum(sum(sent) for r in rounds for sent in r.between),
        client_flops=sum(part.client_flops for part in parts),
        cloud_flops=sum(sum(r.cloud_flops) for r in rounds),
    )


def _seconds(rounds: Sequence[Round], link: Link) -> float:
    return sum(link.round_seconds(sum(r.sent_bytes), sum(r.received_bytes)) for r in rounds)
