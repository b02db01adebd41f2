"""The run behind ``sfumato experiment prompt-set``."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sfumato.cli.experimenting import network_choice
from sfumato.client.private import DEVICE_MODELS
from sfumato.experiments.folder import claim_folder
from sfumato.experiments.networks import Networks, load_networks
from sfumato.experiments.ppidm_fidelity.study import native_size
from sfumato.experiments.prompt_set_quality.attention import Layers
from sfumato.experiments.prompt_set_quality.device_side import entry_after
from sfumato.experiments.prompt_set_quality.portrait_prompts import SLOTS, PortraitPrompt
from sfumato.experiments.prompt_set_quality.report import Found, write_tables
from sfumato.experiments.prompt_set_quality.running import run_attention, run_device, run_rounds, run_server
from sfumato.experiments.prompt_set_quality.scoring import painted, scored
from sfumato.experiments.prompt_set_quality.study import Numbers, Study
from sfumato.experiments.workers import LocalWorkers
from sfumato.models.folder import ModelFolder, find_architecture, find_model


@dataclass(frozen=True, kw_only=True)
class PromptSetRequest:
    """What the command line asked for."""

    out: Path
    model: str
    device_model: str | None
    prompts: str
    limit: int | None
    steps: int
    server_steps: str
    rounds: int
    attention: str
    server_only: bool
    workers: int | None
    threads: int
    networks: str
    tables_only: bool


def run_prompt_set_study(request: PromptSetRequest) -> None:
    """Computes what is missing, times what was not timed, scores, and writes tables and panels of what is there.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: the study had to stop; what was finished is kept.
    """
    console = Console(stderr=True)
    study = _study(request)
    prompts = _numbers(request).prompts()
    networks = load_networks(network_choice(request.networks))
    layers = _layers(request)
    device = None if request.server_only else _device(request, study)
    claim_folder(request.out, study)
    if not request.tables_only:
        _compute(request, study, prompts, device, console)
        _time(request, study, layers, device, console)
    if device is not None:
        _report(request, study, prompts, device, networks, console)


def _compute(
    request: PromptSetRequest,
    study: Study,
    prompts: tuple[PortraitPrompt, ...],
    device: ModelFolder | None,
    console: Console,
) -> None:
    with LocalWorkers(request.workers, request.threads) as workers:
        number = run_server(study, prompts, request.out, workers, console)
        console.print(f"the server's part of {number} prompts computed; {request.out / 'latents'}", soft_wrap=True)
        if device is not None:
            number = run_device(study, prompts, device, request.out, workers, console)
            console.print(f"pictures of {number} prompts computed; {request.out / 'rows'}", soft_wrap=True)


def _time(
    request: PromptSetRequest, study: Study, layers: list[Layers], device: ModelFolder | None, console: Console
) -> None:
    sizes = [size for size, _ in _numbers(request).of_sizes]
    with LocalWorkers(1, request.threads) as workers:
        for side in (None,) if device is None else (None, device):
            number = run_rounds(study, sizes, request.rounds, side, request.out, workers, console)
            console.print(f"{number} rounds of the {'server' if side is None else 'client'} timed")
        run_attention(layers, request.out, workers, console)


def _report(
    request: PromptSetRequest,
    study: Study,
    prompts: tuple[PortraitPrompt, ...],
    device: ModelFolder,
    networks: Networks,
    console: Console,
) -> None:
    with LocalWorkers(request.workers, request.threads) as workers:
        frame = scored(request.out, device.unet_fingerprint, networks.choice, workers, console)
        references = painted(request.out, prompts, study.width, networks.choice, workers, console)
    if frame.is_empty():
        console.print("No picture is there yet, so there are no tables: let the study run on.")
        return
    found = Found(
        out=request.out,
        study=study,
        device=device,
        prompts=prompts,
        frame=frame,
        painted=references,
        names=networks.names,
    )
    console.print("written: " + ", ".join(map(str, write_tables(found))), soft_wrap=True)


def _study(request: PromptSetRequest) -> Study:
    model = find_model(request.model)
    height, width, _ = native_size(model)
    return Study(
        model=model.reference,
        model_fingerprint=model.unet_fingerprint,
        height=height,
        width=width,
        settings=tuple(request.server_steps.split(",")),
        num_inference_steps=request.steps,
    )


def _device(request: PromptSetRequest, study: Study) -> ModelFolder:
    """The client's model, if it fits the server's.

    Raises:
        ValueError: none is known, or it does not fit.
    """
    name = request.device_model or DEVICE_MODELS.get(study.folder.name)
    if name is None:
        raise ValueError(
            f"no device model is known for {study.folder.name!r}: name one of the same latent space and noise schedule "
            "with --device-model, or take --server-only"
        )
    device = find_model(name)
    for way in study.painting_ways:
        if way.setting is not None:
            entry_after(study, way, device)
    return device


def _numbers(request: PromptSetRequest) -> Numbers:
    found = []
    for part in request.prompts.split(","):
        size, _, number = part.partition("=")
        if not size.isdecimal() or int(size) not in SLOTS or not number.isdecimal() or int(number) < 1:
            raise ValueError(
                f"--prompts must be N=COUNT[,N=COUNT...] with N among {', '.join(map(str, SLOTS))}, "
                f"got {request.prompts!r}"
            )
        found.append((int(size), min(int(number), request.limit or int(number))))
    if len({size for size, _ in found}) < len(found):
        raise ValueError(f"--prompts names a size twice: {request.prompts!r}")
    return Numbers(tuple(found))


def _layers(request: PromptSetRequest) -> list[Layers]:
    names = [] if request.attention == "none" else request.attention.split(",")
    sizes = [size for size, _ in _numbers(request).of_sizes]
    found = []
    for number in range(request.rounds):
        for model in map(find_architecture, names):
            height, width, factor = native_size(model)
            latent_size = (height // factor, width // factor)
            found += [Layers(model=model, latent_size=latent_size, num_candidates=size, round=number) for size in sizes]
    return found
