"""What each way costs, counted and measured, a line each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import polars as pl

from sfumato.experiments.prompt_set_quality.costs import Cost, cost
from sfumato.experiments.prompt_set_quality.lines import Seconds, ratios, seconds_of
from sfumato.experiments.prompt_set_quality.portrait_prompts import PortraitPrompt
from sfumato.experiments.prompt_set_quality.study import Study
from sfumato.experiments.prompt_set_quality.ways import DEVICE_ONLY, SERVER_ONLY, Way
from sfumato.models.folder import ModelFolder


@dataclass(frozen=True, kw_only=True)
class ExpenseLine:
    """One way at one size of the candidate set."""

    num_candidates: int
    way: str
    counted: Cost
    relative_flops: float
    """Of the server, to server only."""
    server: Seconds | None
    relative: Seconds | None
    """The server's seconds to those of server only in the same round."""
    client: Seconds | None


def expense_lines(
    study: Study, device: ModelFolder, prompts: Sequence[PortraitPrompt], seconds: pl.DataFrame
) -> list[ExpenseLine]:
    """A line a way, by size of the candidate set.

    Args:
        study: its models and steps.
        device: the client's model.
        prompts: whose messages are counted.
        seconds: rows of rounds, of both sides; may be empty.
    """
    lines = []
    for size in sorted({p.num_candidates for p in prompts}):
        own = tuple(p for p in prompts if p.num_candidates == size)
        baseline = cost(study, SERVER_ONLY, size, device, own).server_flops
        for way in study.ways:
            counted = cost(study, way, size, device, own)
            served = by_round(seconds, "server", size, way.name)
            client = by_round(seconds, device.unet_fingerprint, size, _finished_as(way))
            lines.append(
                ExpenseLine(
                    num_candidates=size,
                    way=way.name,
                    counted=counted,
                    relative_flops=counted.server_flops / baseline,
                    server=seconds_of(list(served.values())),
                    relative=ratios(served, by_round(seconds, "server", size, SERVER_ONLY.name)),
                    client=seconds_of(list(client.values())),
                )
            )
    return lines


def _finished_as(way: Way) -> str:
    """The way whose client seconds are this one's too: as many steps are left."""
    if way == DEVICE_ONLY:
        return way.name
    return "" if way.setting is None else Way(kind="prompt-set", setting=way.setting).name


def by_round(seconds: pl.DataFrame, side: str, num_candidates: int, way: str) -> dict[int, float]:
    """Seconds of one side of a way, by the round's number."""
    rows = _rows(seconds, side, num_candidates, way)
    return dict(rows.select("round", "seconds").iter_rows())


def _rows(seconds: pl.DataFrame, side: str, num_candidates: int, way: str) -> pl.DataFrame:
    return seconds.filter(
        (pl.col("side") == side) & (pl.col("num_candidates") == num_candidates) & (pl.col("way") == way)
    )


@dataclass(frozen=True, kw_only=True)
class ReuseLine:
    """What map reuse saves at one setting and size: with it over without it, both with cache."""

    num_candidates: int
    setting: str
    flops: float
    seconds: Seconds | None
    """All of the server's steps."""
    step: Seconds | None
    """One step at which maps are reused, over the same step without."""


def reuse_lines(study: Study, lines: Sequence[ExpenseLine], seconds: pl.DataFrame) -> list[ReuseLine]:
    """A line a setting and size."""
    flops: Mapping[tuple[int, str], int] = {
        (line.num_candidates, line.way): line.counted.server_flops for line in lines
    }
    found = []
    for size in sorted({line.num_candidates for line in lines}):
        for setting in study.settings:
            names = [Way(kind=kind, setting=setting).name for kind in ("+ reuse", "+ cache")]
            whole = [by_round(seconds, "server", size, name) for name in names]
            full = [_full_steps(seconds, size, name, setting) for name in names]
            found.append(
                ReuseLine(
                    num_candidates=size,
                    setting=setting,
                    flops=flops[size, names[0]] / flops[size, names[1]],
                    seconds=ratios(*whole),
                    step=ratios(*full),
                )
            )
    return found


def _full_steps(seconds: pl.DataFrame, size: int, way: str, setting: str) -> dict[int, float]:
    """Seconds of a step before anything is kept, the first one apart, which is smaller; by round."""
    cache_from = int(setting.split("-")[1])
    rows = _rows(seconds, "server", size, way)
    steps = {number: steps[1:cache_from] for number, steps in rows.select("round", "steps").iter_rows()}
    return {number: median(some) for number, some in steps.items() if some}
