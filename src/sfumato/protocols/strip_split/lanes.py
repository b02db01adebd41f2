"""Who computes which rows and tiles of a step, and how the client leads several such computations at once."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from sfumato.protocols.strip_split.shapes import Batch
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.tensors import GuidedPrediction
from sfumato.transport.base import Channel
from sfumato.wire.messages import Message


class Member(NamedTuple):
    """One cloud's part of a lane: which of its rows, and which tile."""

    rows: slice
    tile: int
    repeats: int

    @property
    def batch(self) -> Batch:
        """The U-Net's batch on this cloud."""
        return Batch(self.rows.stop - self.rows.start, self.repeats)

    def rows_of(self, num_rows: int) -> slice:
        """Its rows of a map of so many, which may have one guidance half for both."""
        return self.rows if self.rows.stop <= num_rows else slice(0, num_rows)


class Lane(NamedTuple):
    """Rows of a step that go through the places together, and every cloud's part of them."""

    number: int
    rows: slice
    crew: list[Member]

    @property
    def num_rows(self) -> int:
        """How many rows."""
        return self.rows.stop - self.rows.start


def lanes_of(spec: StripSplit, num_latents: int, num_rows: int) -> list[Lane]:
    """Who computes what in a step.

    Args:
        spec: how many tiles and halves.
        num_latents: rows of the latent.
        num_rows: of the U-Net's batch: twice as many under guidance.

    Raises:
        ValueError: the guidance halves should go to different clouds, and there are none.
    """
    halves = [slice(start, start + num_latents) for start in range(0, num_rows, num_latents)]
    tiles = range(spec.num_tiles)
    if spec.num_halves == 2:
        if len(halves) != 2:
            raise ValueError("cfg_clouds=separate needs a guidance_scale above 1: without guidance there are no halves")
        return [Lane(0, slice(0, num_rows), [Member(half, tile, 1) for half in halves for tile in tiles])]
    if spec.num_lanes == 2:
        first = halves[0]
        return [Lane(k, half, [Member(first, tile, 1) for tile in tiles]) for k, half in enumerate(halves)]
    every = slice(0, num_rows)
    return [Lane(0, every, [Member(every, tile, len(halves)) for tile in tiles])]


Walk = Generator[tuple[Sequence[Message], type[Message]], Sequence[Any], GuidedPrediction]
"""Gives the requests of one round after another and the kind of their replies, takes these, ends with a prediction."""


def lead(channel: Channel, walks: Sequence[Walk]) -> list[GuidedPrediction]:
    """Leads several walks at once: what one was answered is worked out while the others' rounds are under way."""
    ended: dict[int, GuidedPrediction] = {}
    under_way = {channel.post(*next(walk)): number for number, walk in enumerate(walks)}
    while under_way:
        answered = channel.first(list(under_way))
        number = under_way.pop(answered)
        try:
            under_way[channel.post(*walks[number].send(answered.wait()))] = number
        except StopIteration as end:
            ended[number] = end.value
    return [ended[number] for number in range(len(walks))]
