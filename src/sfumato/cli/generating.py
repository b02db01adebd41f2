"""The run behind ``sfumato generate``: clouds first, then the client's own half, then the picture."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console

from sfumato.cli.keeping_secrets import KeptLatents, check_secrets_file, require_steps
from sfumato.client.local_clouds import LocalClouds
from sfumato.files import check_writable, write_whole

if TYPE_CHECKING:
    from sfumato.client.clouds import Clouds
    from sfumato.client.pipeline import PrivateOutput, PrivatePipeline
    from sfumato.client.report import Report

_MOST_EARLY_CLOUDS = 8


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    prompt: str
    negative: str | None
    model: str
    protocol: str
    settings: list[str]
    clouds: str | None
    local_clouds: int | None
    keys: Path | None
    steps: int
    guidance_scale: float
    scheduler: str
    seed: int | None
    height: int | None
    width: int | None
    num_images: int
    out: Path
    report: Path | None
    record: Path | None
    secrets: Path | None
    timeout: float
    device_model: str | None
    taxonomy: Path | None

    def picture_paths(self) -> list[Path]:
        """Where the pictures go: the given name, or numbered ones."""
        if self.num_images == 1:
            return [self.out]
        numbers = range(1, self.num_images + 1)
        return [self.out.with_name(f"{self.out.stem}-{i}{self.out.suffix}") for i in numbers]


def run(request: Request) -> None:
    """Generates, writes and reports.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: the run failed; nothing was written.
    """
    console = Console(stderr=True)
    _check_outputs(request)
    with ExitStack() as stack:
        # Local clouds load torch and the weights in their own processes while this one does the same.
        guess = None if request.clouds else stack.enter_context(_early_clouds(request))
        pipe = stack.enter_context(_pipeline(request, guess))
        _warn_about_length(console, pipe, request.prompt)
        kept = KeptLatents()
        output = _generate(console, pipe, request, kept)
    _write(request, output)
    if request.secrets is not None:
        kept.secrets(pipe, request.prompt, request.negative, request.seed).write(request.secrets)
    _summarise(Console(), request, output)


def _check_outputs(request: Request) -> None:
    if request.out.suffix.lower() != ".png":
        raise ValueError(f"--out must name a .png file, got {request.out}")
    if request.report in request.picture_paths():
        raise ValueError(f"--report and a picture are both named {request.report}: name two files")
    for path in (*request.picture_paths(), *([request.report] if request.report else [])):
        check_writable(path)
    if request.secrets is not None:
        others = (*request.picture_paths(), request.report)
        check_secrets_file(request.secrets, others, request.record)
    record = request.record
    if record is not None and record.exists() and (not record.is_dir() or any(record.iterdir())):
        raise ValueError(f"--record {record} is not an empty folder: name a new one")


@contextmanager
def _early_clouds(request: Request) -> Iterator[LocalClouds]:
    num_clouds = _num_local_clouds(request)
    with closing(LocalClouds(request.model, num_clouds, idle_seconds=max(300.0, request.timeout))) as clouds:
        # A number that the model may not be able to use is checked before so many processes start.
        yield clouds.start() if num_clouds <= _MOST_EARLY_CLOUDS else clouds


def _num_local_clouds(request: Request) -> int:
    """How many, before the spec's code is loaded: --local-clouds, --set num_clouds, or the protocol's default."""
    given = dict(pair.partition("=")[::2] for pair in request.settings)
    if number := _whole_number(given.get("num_clouds")):
        return number
    if request.local_clouds is not None:
        return request.local_clouds
    if request.protocol == "homomorphic" and given.get("denoise_with", "nothing") != "nothing":
        return 1 + (_whole_number(given.get("denoise.num_clouds")) or 4)
    return 1 if request.protocol in ("plain", "prompt-set", "homomorphic") else 4


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _pipeline(request: Request, started: LocalClouds | None) -> "PrivatePipeline":
    import torch

    from sfumato.client.parts import parse_parts
    from sfumato.client.pipeline import PrivatePipeline
    from sfumato.client.private import private_of
    from sfumato.client.sessions import require_recordable
    from sfumato.models.folder import find_model

    num_clouds = len(request.clouds.split(",")) if request.clouds else request.local_clouds
    parts = parse_parts(request.protocol, request.settings, num_clouds)
    if request.record is not None:
        for part in parts:
            require_recordable(part.spec)
    if request.secrets is not None:
        for part in parts:
            require_steps(part.spec)
    model = find_model(request.model)
    spec, denoise_with = parts[0].spec, parts[1].spec if len(parts) > 1 else None
    private = private_of(spec, model, request.device_model, request.taxonomy)
    clouds = _clouds(request, started)
    return PrivatePipeline(
        model,
        spec,
        clouds,
        torch_dtype=torch.float32,
        scheduler=request.scheduler,
        private=private,
        denoise_with=denoise_with,
    )


def _clouds(request: Request, started: LocalClouds | None) -> "Clouds":
    from sfumato.client.wrapped_clouds import RecordedClouds, TimedClouds

    if request.clouds:
        from sfumato.client.remote_clouds import RemoteClouds

        assert request.keys is not None
        found: Clouds = TimedClouds(RemoteClouds(request.clouds, request.keys), request.timeout)
    else:
        assert started is not None
        found = TimedClouds(started, request.timeout)
    if request.record is None:
        return found
    return RecordedClouds(found, request.record)


def _warn_about_length(console: Console, pipe: "PrivatePipeline", prompt: str) -> None:
    if surplus := pipe.surplus_tokens(prompt):
        console.print(
            f"[yellow]Note:[/] the prompt is too long for this model's text encoder; "
            f"its last {surplus} tokens are not read."
        )


def _generate(console: Console, pipe: "PrivatePipeline", request: Request, kept: KeptLatents) -> "PrivateOutput":
    with _progress(console, request.steps) as advance:

        def on_step_end(pipe: "PrivatePipeline", index: int, _: Any, state: dict[str, Any]) -> dict[str, Any]:
            advance(index + 1, 0 if pipe.traffic is None else pipe.traffic.sent_bytes)
            if request.secrets is not None:
                kept.add(pipe, state["latents"])
            return state

        return pipe(
            request.prompt,
            negative_prompt=request.negative,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            seed=request.seed,
            height=request.height,
            width=request.width,
            num_images_per_prompt=request.num_images,
            callback_on_step_end=on_step_end,
        )


@contextmanager
def _progress(console: Console, num_steps: int) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total}"),
        TextColumn("{task.fields[sent]:.1f} MB sent"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for the clouds", total=num_steps, sent=0.0)

        def advance(done: int, sent_bytes: int) -> None:
            doing = "denoising" if done < num_steps else "decoding"
            progress.update(task, description=doing, completed=done, sent=sent_bytes / 1e6)

        yield advance


def _write(request: Request, output: "PrivateOutput") -> None:
    for path, image in zip(request.picture_paths(), output.images, strict=True):

        def save(stream: IO[bytes], image: Any = image) -> None:
            image.save(stream, format="PNG")

        write_whole(path, save)
    if request.report is not None:
        text = json.dumps({**output.report.to_dict(), **_audited(output.report)}, indent=2) + "\n"
        write_whole(request.report, lambda stream: _put(stream, text.encode()))


def _audited(report: "Report") -> dict[str, Any]:
    """What the shipped audit found of runs like this one."""
    from sfumato.audit.shipped import MadeNow, told_by_audit

    return told_by_audit(
        [
            MadeNow(
                spec=part.spec,
                model_fingerprint=report.model_fingerprint,
                num_inference_steps=report.num_inference_steps,
            )
            for part in report.parts
        ]
    )


def _put(stream: IO[bytes], content: bytes) -> None:
    stream.write(content)


def _summarise(console: Console, request: Request, output: "PrivateOutput") -> None:
    from sfumato.cli.summary import print_summary

    written = [*request.picture_paths(), *(p for p in (request.report, request.record, request.secrets) if p)]
    print_summary(console, output.report, written)
