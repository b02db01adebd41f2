"""PPIDM's fidelity study, Tables IV to VII: the same prompt and seed, unsplit and split.

Source: Wang et al. 2025, "PPIDM", IEEE TCSVT, Section V-B.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Any, get_args

from sfumato.experiments.grid import Block, Condition, Sweep, condition
from sfumato.experiments.prompts import PromptSet
from sfumato.models.folder import ModelFolder
from sfumato.protocols.base import Spec
from sfumato.protocols.layer_split.spec import LayerSplit, Merge
from sfumato.protocols.partition import Partition
from sfumato.protocols.plain.spec import Plain

ABLATION_CLOUDS = 4
_SIZES = (0.5, 1.0, 1.5, 2.0)
"""Of Table VII, to the model's own: 256 to 1024 pixels for Stable Diffusion's 512."""

_CONV, _ATT, _GN = frozenset({"conv"}), frozenset({"cross_attention"}), frozenset({"norm"})
_ABLATIONS: tuple[frozenset[Any], ...] = (
    _CONV,
    _ATT,
    _GN,
    _CONV | _ATT,
    _CONV | _GN,
    _ATT | _GN,
    _CONV | _ATT | _GN,
    # Not in the paper: the attention whose traffic its Table IX leaves out.
    _CONV | _ATT | _GN | {"self_attention"},
)


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a reader may change; the defaults are the paper's."""

    num_clouds: tuple[int, ...] = (2, 4, 8)
    merges: tuple[Merge, ...] = field(default=get_args(Merge))
    steps: int = 50
    step_counts: tuple[int, ...] = (30, 40, 50, 60, 70)
    batch_size: int = 16

    def __post_init__(self) -> None:
        if not self.num_clouds or not self.merges or not self.step_counts:
            raise ValueError("name at least one number of clouds, one merge and one number of steps")
        smallest = min(*self.num_clouds, *self.step_counts, self.steps, self.batch_size)
        if smallest < 1:
            raise ValueError(f"numbers of clouds, steps and pictures a batch must be at least 1, got {smallest}")


def ppidm_fidelity(models: list[ModelFolder], prompt_sets: list[PromptSet], settings: StudySettings) -> Sweep:
    """Describes the whole study: Table IV on every prompt set, Tables V to VII on the first.

    Raises:
        ValueError: nothing to compute, or more clouds than a model's deepest feature map has rows.
    """
    if not models or not prompt_sets:
        raise ValueError("name at least one model and one prompt set")
    main, ablations = [], []
    for model in models:
        made = _Conditions(model, settings)
        main += [Block(prompt_set=s.name, conditions=made.table_4()) for s in prompt_sets]
        conditions = (*made.table_5(), *made.table_6(), *made.table_7())
        ablations.append(Block(prompt_set=prompt_sets[0].name, conditions=conditions, is_ablation=True))
    return Sweep(
        experiment="ppidm-fidelity",
        prompt_sets=tuple(prompt_sets),
        blocks=(*main, *ablations),
        batch_size=settings.batch_size,
    )


class _Conditions:
    """The conditions of each table for one model."""

    def __init__(self, model: ModelFolder, settings: StudySettings):
        self._model = model
        self._settings = settings
        self._height, self._width, self._factor = native_size(model)

    def table_4(self) -> tuple[Condition, ...]:
        """Numbers of clouds, both merges."""
        pairs = product(self._settings.num_clouds, self._settings.merges)
        return self._with([Plain(), *(LayerSplit(num_clouds=n, merge=m) for n, m in pairs)])

    def table_5(self) -> tuple[Condition, ...]:
        """Which layers are offloaded."""
        return self._with(
            [Plain(), *(LayerSplit(num_clouds=ABLATION_CLOUDS, merge="paper", offload=o) for o in _ABLATIONS)]
        )

    def table_6(self) -> tuple[Condition, ...]:
        """Numbers of steps."""
        return tuple(c for steps in self._settings.step_counts for c in self._with(self._both_merges(), steps=steps))

    def table_7(self) -> tuple[Condition, ...]:
        """Sizes of the picture."""
        return tuple(c for times in _SIZES for c in self._with(self._both_merges(), times=times))

    def _both_merges(self) -> list[Spec]:
        return [Plain(), *(LayerSplit(num_clouds=ABLATION_CLOUDS, merge=m) for m in self._settings.merges)]

    def _with(self, specs: list[Spec], steps: int | None = None, times: float = 1.0) -> tuple[Condition, ...]:
        rows, columns = (round(times * side / self._factor) for side in (self._height, self._width))
        levels = len(self._model.config("unet")["block_out_channels"])
        for spec in specs:
            Partition(rows, spec.num_clouds, levels)
        return tuple(
            condition(
                self._model.reference,
                self._model.unet_fingerprint,
                spec,
                steps=steps or self._settings.steps,
                height=rows * self._factor,
                width=columns * self._factor,
            )
            for spec in specs
        )


def native_size(model: ModelFolder) -> tuple[int, int, int]:
    """Height and width that a model was made for, and the pixels to one latent row."""
    sample = model.config("unet")["sample_size"]
    rows, columns = (sample, sample) if isinstance(sample, int) else sample
    factor = 2 ** (len(model.config("vae").get("block_out_channels", ())) - 1)
    return rows * factor, columns * factor, factor
