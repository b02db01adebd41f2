"""Tables as text that reads well raw and rendered."""

from collections.abc import Sequence
from math import floor, isinf, log10

from sfumato.experiments.markdown import markdown_table
from sfumato.experiments.ppidm_fidelity.measures import Measure
from sfumato.experiments.ppidm_fidelity.tables import Cell, Setting, Table

NOTHING = "-"
_DECIMALS = {"PSNR": 2, "SSIM": 3}
_PUBLISHED_NAMES = "PSNR, SSIM, LPIPS and FID"
_HEADINGS = {
    "model": "model",
    "prompt_set": "prompts",
    "num_clouds": "n",
    "layers": "layers on the clouds",
    "num_inference_steps": "steps",
    "relative_size": "size",
    "merge": "merge",
}
_IS_NUMBER = ("num_clouds", "num_inference_steps")


def table_text(table: Table) -> str:
    """One table as Markdown: its heading, what all its cells share, and a line a cell."""
    columns, shared = _columns(table)
    metrics = [m.metric for m in table.cells[0].measures]
    models = _paper_models(table)
    headings = [_HEADINGS[c] for c in columns] + ["pairs"]
    for place, metric in enumerate(metrics):
        headings.append(_metric_heading(metric, place))
        if models:
            headings.append(f"paper: {' / '.join(models)}")
    lines = [[*(setting_text(cell.setting, c) for c in columns), *_figures(cell, models)] for cell in table.cells]
    is_number = [c in _IS_NUMBER for c in columns] + [True] * (len(headings) - len(columns))
    is_own = table.number == "scores"
    title = f"## {table.title}" if is_own else f"## Table {table.number}. {table.title}"
    beside = f" The paper's columns are its {_PUBLISHED_NAMES}." if models else ""
    return "\n\n".join([title, f"All rows: {shared}.{beside}", markdown_table(headings, lines, is_number)])


def _columns(table: Table) -> tuple[list[str], str]:
    """The parts of the setting that differ between cells, and the others in words."""
    settings = [cell.setting for cell in table.cells]
    columns, shared = [], []
    for name in _HEADINGS:
        if name in table.varying or len({getattr(s, name) for s in settings}) > 1:
            columns.append(name)
        else:
            shared.append(_shared_text(settings[0], name))
    return columns, ", ".join(shared)


def setting_text(setting: Setting, name: str) -> str:
    """One part of a setting as a cell of a table."""
    if name == "relative_size":
        return f"{size_text(setting.height, setting.width)} ({setting.relative_size:.3g}x)"
    return str(getattr(setting, name))


def size_text(height: int, width: int) -> str:
    """A size in pixels: one number where it is square."""
    return str(width) if width == height else f"{width} x {height}"


def _shared_text(setting: Setting, name: str) -> str:
    value = setting_text(setting, name)
    own = ", the model's own size" if setting.relative_size == 1 else ""
    named = {
        "model": f"model {value}",
        "prompt_set": f"{value} prompts",
        "num_clouds": f"n = {value}",
        "layers": f"{'conv + att + GN' if value == 'all' else value} on the clouds",
        "num_inference_steps": f"{value} steps",
        "relative_size": f"{setting.width} x {setting.height} pixels{own}",
        "merge": f"{value} merge",
    }
    return named[name]


def _paper_models(table: Table) -> list[str]:
    return list(dict.fromkeys(model for cell in table.cells for m in cell.measures for model in m.paper))


def _metric_heading(metric: str, place: int) -> str:
    """The metric with its unit, and where better is: the first two of a fidelity table rise."""
    if metric not in _DECIMALS and "," in metric:
        return metric
    return f"{metric}{', dB' if metric == 'PSNR' else ''} {'↑' if place < 2 else '↓'}"


def _figures(cell: Cell, models: Sequence[str]) -> list[str]:
    """Number of pairs, then each metric with the paper's figure beside it."""
    pairs = max(m.pairs for m in cell.measures)
    identical = sum(m.identical for m in cell.measures)
    found = [f"{pairs} ({identical} identical)" if identical else str(pairs)]
    for measure in cell.measures:
        found.append(measure_text(measure))
        if models:
            figures = [str(measure.paper[m]) if m in measure.paper else NOTHING for m in models]
            found.append(" / ".join(figures) if measure.paper else NOTHING)
    return found


def measure_text(measure: Measure) -> str:
    """A value with its interval: 33.02 [31.50, 34.61]."""
    if measure.value is None:
        return NOTHING
    if isinf(measure.value):
        return "identical"
    decimals = _DECIMALS.get(measure.metric)
    return interval_text(
        measure.value, measure.low, measure.high, decimals, is_change=measure.metric.endswith("change")
    )


def interval_text(
    value: float, low: float | None, high: float | None, decimals: int | None = None, *, is_change: bool = False
) -> str:
    """A value and its interval to the same digit: the given one, or the third that says something.

    Args:
        value, low, high: in one unit.
        decimals: digits after the point; by default three digits of the largest of them all.
        is_change: whether to print a plus sign.
    """
    numbers = [value] if low is None or high is None else [value, low, high]
    largest = max(abs(n) for n in numbers)
    if decimals is None:
        decimals = max(0, 2 - floor(log10(largest))) if largest else 0
    kind = f"{'+' if is_change else ''}.{'0e' if decimals > 5 else f'{decimals}f'}"
    texts = [format(n, kind) for n in numbers]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if len(texts) == 3 else "")
