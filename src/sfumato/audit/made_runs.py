"""Runs made for an audit: people whose attributes are known, their prompts, and what every cloud saw."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from sfumato.attacks.seen.plain import PlainReader
from sfumato.attacks.view import Rehearsal, Rehearsed, RunSettings, RunView
from sfumato.client.wrapped_clouds import KeptClouds
from sfumato.models.decoding import decode, to_uint8
from sfumato.models.folder import ModelFolder
from sfumato.models.loading import load_decoder
from sfumato.portraits import caption, draw_attributes
from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit
from sfumato.protocols.plain.spec import Plain
from sfumato.protocols.strip_split.spec import StripSplit
from sfumato.simulation import InProcessClouds, simulate
from sfumato.transport.recording import Recording
from sfumato.wire.selection import Keeps
from sfumato.worker.sessions import serve_model

_REHEARSALS = 1_000_000_000
"""Seeds of people from here on are the attacker's; victims have smaller ones."""


_AGAIN = 10_000_000
"""Between the seeds of runs of the same prompts."""

_SEEDS = 1000
"""The first run's noise; below are seeds that attackers draw their own pictures from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What only the client of a run knew."""

    prompts: tuple[str, ...] = field(repr=False)
    attributes: tuple[dict[str, str], ...] = field(repr=False)
    latents: Float[Tensor, "batch channel height width"] = field(repr=False)
    """After the last step."""
    pictures: UInt8[np.ndarray, "batch height width 3"] = field(repr=False)
    seed: int | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A prompt of known content."""

    prompt: str
    attributes: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class RunMaker:
    """Makes runs of one protocol with one model: all parties in this process, the same messages as between hosts."""

    model: ModelFolder
    spec: Spec
    num_inference_steps: int = 8
    guidance_scale: float = 5.0
    scheduler: str = "dpm++"
    batch_size: int = 10
    """Pictures of one run; each is a secret of its own."""

    @property
    def name(self) -> str:
        """Names everything that a transcript depends on, people and noise apart."""
        told = {**asdict(self), "model": self.model.unet_fingerprint, "spec": self.spec.to_json()}
        return hashlib.sha256(json.dumps([self.spec.name, told], sort_keys=True).encode()).hexdigest()[:24]

    def victims(
        self, num_pictures: int, keeps: Keeps, *, first: int = 0, again: int = 0
    ) -> Iterator[tuple[Recording, Truth]]:
        """Makes runs under attack.

        Args:
            num_pictures: in all.
            keeps: which messages are kept with their tensors.
            first: number of the first person.
            again: other numbers give the same prompts other noise.
        """
        return self._runs(people(first, num_pictures), keeps, first + again * _AGAIN)

    def rehearsals(self, num_pictures: int, keeps: Keeps, *, start: int = 0) -> Iterator[tuple[Recording, Truth]]:
        """Makes the attacker's own runs, of other people.

        Args:
            num_pictures: in all.
            keeps: which messages are kept with their tensors.
            start: leave out so many people at the beginning, whole batches.
        """
        first = _REHEARSALS + start
        return self._runs(people(first, num_pictures - start), keeps, first)

    @property
    def in_the_clear(self) -> "RunMaker | None":
        """Makes runs whose one cloud computes the same numbers, up to rounding, and sees all of them.

        None where the protocol computes another thing than the unsplit model.
        """
        spec = self.spec
        is_same = isinstance(spec, LayerSplit) and spec.merge == "exact" and spec.wire_dtype == "fp32"
        if isinstance(spec, StripSplit):
            is_same = spec.wire in ("fp32", "fp16") and spec.attention_every == 1 and spec.differences == "none"
        return replace(self, spec=Plain()) if is_same else None

    def settings(self, num_pictures: int, size: tuple[int, int]) -> RunSettings:
        """What every cloud of a run knows."""
        return RunSettings(
            num_pictures=num_pictures,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            height=size[0],
            width=size[1],
        )

    def _runs(self, asked: Sequence[Person], keeps: Keeps, first: int) -> Iterator[tuple[Recording, Truth]]:
        clouds = KeptClouds(InProcessClouds(serve_model(self.model), self.spec.num_clouds), keeps)
        decoder = load_decoder(self.model)
        with simulate(self.model, self.spec, scheduler=self.scheduler, clouds=clouds) as pipeline:
            for start in range(0, len(asked), self.batch_size):
                part = asked[start : start + self.batch_size]
                latents = pipeline(
                    [person.prompt for person in part],
                    num_inference_steps=self.num_inference_steps,
                    guidance_scale=self.guidance_scale,
                    seed=_SEEDS + first + start,
                    output_type="latent",
                ).images
                yield (
                    clouds.taken(),
                    Truth(
                        prompts=tuple(person.prompt for person in part),
                        attributes=tuple(person.attributes for person in part),
                        latents=latents,
                        pictures=to_uint8(decode(decoder, latents)),
                        seed=_SEEDS + first + start,
                    ),
                )


def people(first: int, number: int) -> list[Person]:
    """People drawn one by one, each prompt naming every attribute; the same number is the same person."""
    found = []
    for seed in range(first, first + number):
        generator = np.random.default_rng(seed)
        drawn = draw_attributes(generator)
        found.append(Person(prompt=caption(drawn, generator, leave_out=0.0), attributes=drawn.values()))
    return found


@dataclass(frozen=True, kw_only=True)
class OwnRuns(Rehearsal):
    """The attacker's means to make runs for some clouds."""

    maker: RunMaker
    clouds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Names what was rehearsed."""
        return f"{self.maker.name}-{'-'.join(map(str, self.clouds))}"

    def runs(self, num_pictures: int, keeps: Keeps, *, same_messages: bool = False) -> Iterator[Rehearsed]:
        """Makes the first batch by the protocol itself, and the others in the clear where that gives the same numbers.

        Those in the clear are made once for all settings; with ``same_messages`` there are none.
        """
        maker, clear = self.maker, None if same_messages else self.maker.in_the_clear
        own = num_pictures if clear is None else min(num_pictures, maker.batch_size)
        for recording, truth in maker.rehearsals(own, keeps):
            yield _rehearsed(recording, truth, maker, self.clouds)
        if clear is not None:
            for recording, truth in _runs_in_the_clear(clear, num_pictures, own):
                yield _rehearsed(recording, truth, clear, (0,))


def _rehearsed(recording: Recording, truth: Truth, maker: RunMaker, clouds: tuple[int, ...]) -> Rehearsed:
    return Rehearsed(
        view=view_of(recording, maker, clouds, truth.pictures.shape[:3]),
        prompts=truth.prompts,
        attributes=truth.attributes,
        latents=truth.latents,
        pictures=truth.pictures,
    )


@lru_cache(maxsize=1)
def _runs_in_the_clear(maker: RunMaker, num_pictures: int, start: int) -> list[tuple[Recording, Truth]]:
    keeps = partial(PlainReader().keeps, "features")
    return list(maker.rehearsals(num_pictures, keeps, start=start))


def view_of(
    recording: Recording, maker: RunMaker, clouds: tuple[int, ...], shape: tuple[int, int, int], *, learns: bool = False
) -> RunView:
    """What some clouds saw of a run that was made here.

    Args:
        recording: of the run.
        maker: that made it.
        clouds: which, counted from 0.
        shape: number, height and width of the pictures.
        learns: give the attacker the means to make runs of its own.
    """
    names = [recording.meta["clouds"][cloud] for cloud in clouds]
    view = RunView.of(recording, maker.model, names)
    own = OwnRuns(maker=maker, clouds=clouds) if learns else None
    return replace(view, settings=maker.settings(shape[0], (shape[1], shape[2])), rehearsal=own)
