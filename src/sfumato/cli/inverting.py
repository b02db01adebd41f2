"""The run behind ``sfumato invert``: every method at every cut, with what is there written after each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from rich.console import Console

from sfumato.attacks.inversion.harness import Inverted, invert, prior_draws, white_box_view
from sfumato.attacks.inversion.latent_chain import native_size
from sfumato.attacks.inversion.method import InversionMethod, enough_memory
from sfumato.attacks.inversion.view import Cut, FeatureView
from sfumato.attacks.inversion.watch import Progress, Watch
from sfumato.attacks.targets import Target, bundled_targets, load_target
from sfumato.attacks.targets.naming import short_names
from sfumato.cli.defending import Defending, chosen_defence, defending, split_settings
from sfumato.cli.devices import device_from
from sfumato.cli.experiment import INTERRUPTED
from sfumato.cli.inversion_report import print_scores, write_results
from sfumato.cli.invert_request import InvertRequest
from sfumato.cli.invert_settings import methods_from
from sfumato.cli.inverted_pictures import PAINTED, read_pictures
from sfumato.errors import Unsupported
from sfumato.models.folder import ModelFolder, find_model

if TYPE_CHECKING:
    from sfumato.models.picture_encoder import PictureEncoder

_CHECKPOINTS = ".checkpoints"


@dataclass(kw_only=True)
class _Bench:
    """What all runs of one command share."""

    request: InvertRequest
    originals: NDArray[np.uint8]
    target: Target
    model: ModelFolder
    device: torch.device
    encoder: "PictureEncoder | None"
    defending: Defending | None
    _draws: dict[str, list[NDArray[np.uint8]]] = field(default_factory=dict)

    def view(self, layer: str) -> FeatureView:
        """The view of all pictures at one cut."""
        height, width = self.originals.shape[1:3]
        name = f"L{layer}" if layer.isdecimal() and short_names(self.target.network) else layer
        cut = self.target.cut(name, (height, width))
        # The function that goes into the view holds on to the network only, not to the pictures.
        preprocess = self.target.preprocess
        pictures = torch.from_numpy(self.originals).permute(0, 3, 1, 2).to(self.device).float() / 255
        with enough_memory():
            view = white_box_view(
                pictures,
                lambda batch: cut.first(preprocess(batch)),
                cut=Cut(target=self.target.name, layer=name),
                model=self.model,
                priors=self.request.priors,
                num_frames=self.request.num_frames,
            )
            return view if self.defending is None else self.defending.defended(view, cut)

    def draws(self, method: InversionMethod, view: FeatureView) -> list[NDArray[np.uint8]]:
        """A method's guesses without features, which are the same at every cut."""
        if method.name not in self._draws:
            with enough_memory():
                self._draws[method.name] = prior_draws(method, view, self.request.num_draws)
        return self._draws[method.name]


def run(request: InvertRequest) -> None:
    """Inverts, scores and writes.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: a run failed; the results of those before it are written.
        SystemExit: it was interrupted; the best so far is written.
    """
    console = Console(stderr=True)
    methods = methods_from(request.methods, split_settings(request.defence, request.settings)[1], request.seed)
    bench = _bench(request, console)
    views = [bench.view(layer) for layer in request.layers]
    found: list[Inverted] = []
    with _progress(console) as watch_of:
        for view in views:
            for method in methods:
                draws = bench.draws(method, view)
                watch = watch_of(f"{view.cut.layer} {method.name}", request.out / _CHECKPOINTS)
                found.append(invert(method, view, bench.originals, draws, encoder=bench.encoder, watch=watch))
                write_results(request, bench.model, bench.originals, found, bench.defending)
                if not found[-1].guess.finished:
                    break
            if not found[-1].guess.finished:
                break
    print_scores(found, request.out, bench.defending)
    if not found[-1].guess.finished:
        console.print("Interrupted; the best so far is written, and the same command goes on from there.")
        raise SystemExit(INTERRUPTED)


def _bench(request: InvertRequest, console: Console) -> _Bench:
    if find_spec("matplotlib") is None:
        raise Unsupported("panels need matplotlib: pip install 'sfumato[experiments]'")
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out must name a folder, got the file {request.out}")
    chosen = chosen_defence(request.defence, split_settings(request.defence, request.settings)[0])
    device = device_from(request.device)
    model = find_model(request.model)
    originals, scaled = read_pictures(request.images, _size(request, model))
    if scaled:
        height, width = originals.shape[1:3]
        console.print(f"[yellow]Note:[/] scaled to {height} x {width}, which the model makes: {', '.join(scaled)}")
    target = load_target(request.target, request.weights)
    target.network.to(device)
    height, width = originals.shape[1:3]
    before = defending(chosen, target, (height, width), request.seed)
    request.out.mkdir(parents=True, exist_ok=True)
    return _Bench(
        request=request,
        originals=originals,
        target=target,
        model=model,
        device=device,
        encoder=_encoder(model, target, request.images),
        defending=before,
    )


def _size(request: InvertRequest, model: ModelFolder) -> tuple[int, int]:
    """Height and width of the pictures: as asked for, or the model's own."""
    if request.height is not None and request.width is not None:
        return request.height, request.width
    height, width = native_size(model)
    return request.height or height, request.width or width


def _encoder(model: ModelFolder, target: Target, images: Sequence[str]) -> "PictureEncoder | None":
    """Reads attributes of portraits and of nothing else: the bundled encoder knows no other pictures."""
    from sfumato.models.folder import BUNDLED
    from sfumato.models.picture_encoder import PictureEncoder

    portraits = target.name in bundled_targets() or all(name.startswith(PAINTED) for name in images)
    return PictureEncoder() if portraits and model.path.is_relative_to(BUNDLED) else None


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, Path], Watch]]:
    """Gives a watch for each run, which shows a bar a stage and keeps checkpoints."""
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("loss {task.fields[loss]:.4g}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:

        def watch_of(run: str, folder: Path) -> Watch:
            tasks: dict[str, TaskID] = {}

            def show(progress: Progress) -> None:
                if progress.stage not in tasks:
                    start = progress.done - 1
                    tasks[progress.stage] = bars.add_task("", total=progress.total, completed=start, loss=progress.loss)
                bars.update(
                    tasks[progress.stage],
                    description=f"{run} {progress.stage}",
                    completed=progress.done,
                    loss=progress.loss,
                )

            networks = Path(platformdirs.user_cache_dir("sfumato")) / "inversion-networks"
            return Watch(on_iteration=show, folder=folder / run.replace(" ", "-"), networks=networks)

        yield watch_of
