"""Clouds of strip-split over the network: the U-Net stops in the middle of a step, and its session may end there."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from odd_clouds import odd_clouds
from passes import error, random_inputs
from recorded import in_process, served
from sfumato.client.sessions import open_session
from sfumato.errors import SfumatoError
from sfumato.protocols.strip_split.spec import Begin, Border, StripSplit
from sfumato.transport.grpc_client import GrpcChannel
from sfumato.transport.loop import network_loop
from sfumato.worker.service import ServiceLimits
from sfumato.worker.sessions import CloudSession

SPEC = StripSplit(num_clouds=2, wire="int8", attention="hidden")
SMALL = {"height": 32, "width": 24, "num_inference_steps": 2, "seed": 4, "output_type": "latent"}


class NetworkClouds:
    """What a pipeline needs of clouds, over addresses and keys."""

    def __init__(self, addresses, ring):
        self._addresses, self._ring = addresses, ring

    @contextmanager
    def open_channel(self) -> Iterator[GrpcChannel]:
        with GrpcChannel(self._addresses, self._ring.client) as channel:
            yield channel

    def close(self) -> None: ...


@pytest.fixture
def network(tiny_sd):
    with odd_clouds(
        2, factory=lambda peers: CloudSession(served(tiny_sd), peers=peers), limits=ServiceLimits(max_sessions=1)
    ) as found:
        yield NetworkClouds(*found)


def picture(folder, clouds=None, spec=SPEC, **arguments):
    pipe = in_process(folder, spec)
    pipe._clouds = clouds or pipe._clouds
    return pipe("a red hat", **SMALL | arguments).images


def session_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("session-")]


def wait_until_idle(seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if not session_threads():
            return
        network_loop().run(asyncio.sleep(0.05))
    raise AssertionError(f"{session_threads()} did not end")


def test_a_picture_over_the_network_is_the_one_in_process(tiny_sd, network):
    assert torch.equal(picture(tiny_sd, network), picture(tiny_sd))


def test_halves_that_overlap_over_the_network_give_the_picture_of_halves_that_do_not(tiny_sd, network):
    spec = StripSplit(num_clouds=2, wire="fp32", overlap="halves")
    ours = picture(tiny_sd, network, spec)
    assert error(ours, picture(tiny_sd, None, StripSplit(num_clouds=2, wire="fp32"))) < 1e-5
    assert torch.equal(ours, picture(tiny_sd, None, spec))


def test_a_client_that_leaves_in_the_middle_of_a_step_makes_room_for_the_next(tiny_sd, network, capfd):
    right = picture(tiny_sd)
    with network.open_channel() as channel:
        open_session(channel, SPEC, served(tiny_sd).fingerprint)
        latent, _ = random_inputs(tiny_sd, size=(8, 8))
        step = {"step": 0, "lane": 0, "timestep": 1.0, "height": 8, "width": 8, "repeats": 2}
        nothing = dict.fromkeys(("statistics", "values", "scales", "prompt_embeds", "pooled", "time_ids"))
        halves = (latent[:, :, :5], latent[:, :, 3:])
        channel.exchange([Begin(latent=half, **step, **nothing) for half in halves], Border)
    wait_until_idle()
    assert torch.equal(picture(tiny_sd, network), right)
    assert "Exception ignored" not in capfd.readouterr().err


def test_a_client_that_fails_between_two_steps_makes_room_for_the_next(tiny_sd, network):
    right = picture(tiny_sd)

    def leave(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        picture(tiny_sd, network, callback_on_step_end=leave)
    wait_until_idle()
    assert error(picture(tiny_sd, network), right) == 0


def test_a_request_that_does_not_fit_ends_the_session_with_a_sentence(tiny_sd, network):
    with network.open_channel() as channel:
        open_session(channel, SPEC, served(tiny_sd).fingerprint)
        latent, _ = random_inputs(tiny_sd, size=(8, 8))
        step = {"step": 0, "lane": 0, "timestep": 1.0, "height": 8, "width": 8, "repeats": 2}
        nothing = dict.fromkeys(("statistics", "values", "scales", "prompt_embeds", "pooled", "time_ids"))
        wrong = Begin(latent=latent.half(), **nothing, **step)
        with pytest.raises(SfumatoError, match=r"^cloud-[12] .*: a tensor of shape .* does not fit where it came"):
            channel.exchange([wrong, wrong], Border)
    wait_until_idle()
