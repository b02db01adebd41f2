"""Cloud processes that meet without the client."""

import time

import pytest
import torch

from odd_clouds import process_at
from passes import error
from recorded import in_process
from sfumato.client.local_clouds import LocalClouds
from sfumato.client.pipeline import PrivatePipeline
from sfumato.errors import SfumatoError
from sfumato.protocols.strip_split.spec import StripSplit

SPEC = StripSplit(num_clouds=2, borders="direct", overlap="halves", wire="fp32")
SMALL = {"num_inference_steps": 2, "seed": 4, "output_type": "latent"}


def test_they_paint_the_picture_of_one_process_and_when_one_dies_the_run_ends_and_names_it(portraits):
    with LocalClouds(portraits.path, SPEC.num_clouds) as clouds:
        pipe = PrivatePipeline(portraits, SPEC, clouds, torch_dtype=torch.float32, scheduler="ddim")
        theirs = in_process(portraits, StripSplit(num_clouds=2, wire="fp32"))("a red hat", **SMALL).images
        run = pipe("a red hat", **SMALL)
        assert error(run.images, theirs) <= 1e-4
        assert min(run.report.traffic.between_bytes) > 1e5

        def kill(*_):
            process_at(clouds.addresses[1]).kill()
            return {}

        started = time.monotonic()
        with pytest.raises(SfumatoError, match=r"cloud-2.* (died|ended)"):
            pipe("a red hat", callback_on_step_end=kill, **SMALL)
        assert time.monotonic() - started < 20
