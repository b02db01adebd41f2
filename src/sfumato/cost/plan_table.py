"""A plan to read, and as JSON."""

import shlex
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sfumato.cost.means import mean_text
from sfumato.cost.planning import ABOUT_AS_FAST, Choice, Conditions, Plan, hides_less, num_tiles, reason
from sfumato.cost.speeds import stated_model
from sfumato.cost.table import human_seconds
from sfumato.models.folder import ARCHITECTURES
from sfumato.models.skeleton import whole_skeleton

_HEADINGS = {"latency": "RTT", "overlapped": "less"}
_SHOWN_APART = ("attention=", "wire=")


def plan_table(plan: Plan, conditions: Conditions, num_steps: int) -> RenderableType:
    """Shows the table that was decided from, the recommendation, and what the figures mean."""
    first = plan.recommended.cost
    spent = [asdict(_seconds(choice)) for choice in plan.choices]
    parts = [name for name in spent[0] if any(s[name] for s in spent)]
    title = f"{first.model}, {first.width} x {first.height}, on {first.link}: one denoising step, fastest first"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for name in ("", "n", "tile"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("variant", overflow="fold", min_width=11)
    table.add_column("wire", no_wrap=True)
    seconds = [f"{_HEADINGS.get(part, part)}\ns" for part in parts]
    for name in ("s", *seconds, "up\nMB", "down\nMB", "rounds", "client\nGFLOP", "client\nGB"):
        table.add_column(name, justify="right", no_wrap=True)
    for choice in plan.choices:
        style = "bold" if choice is plan.recommended else "dim" if choice.is_reference else None
        table.add_row(*_row(choice, parts, choice is plan.recommended), style=style)
    lines = [Text(line) for line in _recommendation(plan, conditions, num_steps)]
    return Group(table, *lines, *(Text(f"- {note}", "dim") for note in notes(plan, conditions)))


def _row(choice: Choice, parts: list[str], is_recommended: bool) -> list[str]:
    cost = choice.cost
    spent = asdict(_seconds(choice))
    return [
        ">" if is_recommended else "",
        str(cost.clouds),
        f"1/{num_tiles(choice.spec)}",
        _variant(choice),
        f"{cost.spec.get('wire', cost.spec.get('wire_dtype'))} {_result(choice)}",
        _short(cost.seconds_per_step),
        *(_short(spent[part]) if spent[part] else "" for part in parts),
        _short(cost.sent_bytes / 1e6),
        _short(cost.received_bytes / 1e6),
        mean_text(cost.rounds),
        _short(float(cost.compute.client_flops) / 1e9),
        f"{cost.compute.client_weight_bytes / 1e9:.2f}",
    ]


def _short(value: float) -> str:
    """Four characters where they are enough; decimal points of a column stay near each other."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _seconds(choice: Choice) -> Any:
    return choice.cost.step_seconds


def _variant(choice: Choice) -> str:
    if choice.is_reference:
        return f"{choice.spec.name}*"
    others = [pair for pair in choice.settings if not pair.startswith(_SHOWN_APART)]
    return " ".join([choice.cost.spec["attention"], *others])


def _result(choice: Choice) -> str:
    return "lossy" if choice.losses else "exact"


def command(choice: Choice, conditions: Conditions) -> str:
    """The command that generates with a choice, with what only the reader knows in capitals."""
    model = conditions.model
    folder = "MODEL" if model.path.is_relative_to(ARCHITECTURES) else model.reference
    words = ["sfumato", "generate", "PROMPT", "--model", folder, *choice.options]
    words += ["--clouds", ",".join(["HOST:PORT"] * choice.spec.num_clouds), "--keys", "KEYS"]
    for name, pixels in (("--height", conditions.height), ("--width", conditions.width)):
        words += [] if pixels is None else [name, str(pixels)]
    return shlex.join(words if conditions.guided else [*words, "--guidance-scale", "1"])


def _recommendation(plan: Plan, conditions: Conditions, num_steps: int) -> list[str]:
    chosen = plan.recommended
    seconds = human_seconds(chosen.picture_seconds(num_steps))
    once = ", text encoder and decoder included" if conditions.speeds.client_gflops else ""
    lines = [
        f"Recommended: {command(chosen, conditions)}",
        f"{reason(chosen)} A picture of {num_steps} steps takes {seconds} s{once}.",
        f"Claim: {chosen.spec.claim}",
    ]
    if chosen.losses:
        lines.append("It is lossy, because no exact one was asked for: the picture differs from the unsplit model's.")
    if plan.faster_lossy:
        lossy = plan.faster_lossy
        lines.append(
            f"Lossy, so not recommended unasked: {' '.join(lossy.settings)} with {lossy.spec.num_clouds} clouds takes "
            f"{human_seconds(lossy.cost.seconds_per_step)} s a step, for a picture that differs "
            f"{'more' if 'attention_every' in lossy.losses else 'slightly'}."
        )
    return lines


def notes(plan: Plan, conditions: Conditions) -> list[str]:
    """What the figures mean, what was left out, and what is not hidden, a sentence or two each."""
    meets = any(choice.spec.peers_of(0) for choice in plan.choices)
    last = "clouds" if conditions.speeds.cloud_gflops else "client" if conditions.speeds.client_gflops else "down"
    last = "between" if meets else last
    has_cycles = any(c.cost.cycle for c in plan.choices)
    or_mean = ", or the mean of a cycle with attention_every," if has_cycles else ","
    reused = ", or with attention_every what attention gave is used again" if has_cycles else ""
    found = [
        f"Modelled: {stated_model(conditions.speeds, meets=meets)}.",
        f"Counted by dry runs: one step after the first{or_mean} all clouds together, headers and frames included; "
        "MB and GB are 10^6 and 10^9 bytes. client GB are weights as fp32, text encoders and decoder included; "
        "activations come on top.",
        "n: clouds; tile: how much of the picture one of them works on, and sees; "
        f"RTT to {last}: what the seconds are spent on; less: of it, what overlaps.",
        "exact: the unsplit model's result up to the rounding of fp16 or fp32 on the wire; lossy: what travels is "
        f"quantised{reused}. Of what is within {ABOUT_AS_FAST:.0%} of the fastest, the setting nearest the "
        "defaults is taken.",
    ]
    if any(c.is_reference for c in plan.choices):
        found.append("*) As PPIDM published it, for comparison only: its clouds read the prompt.")
    if conditions.speeds.client_gflops is None:
        found.append("Give --client-gflops: without it a weak client is taken for an endlessly fast one.")
    found.append(
        "Not compared unless asked for: what hides less than the defaults (--set cross_attention=cloud, --set "
        "borders=direct, --clouds 2)."
    )
    if pooled := _pooled_text(conditions):
        found.append(pooled)
    found += [f"Not hidden with these settings: {sentence}" for sentence in hides_less(plan.recommended.spec)]
    for why in dict.fromkeys(x.reason for x in plan.left_out):
        settings = [x.setting for x in plan.left_out if x.reason == why]
        found.append(f"Left out, {len(settings)} of {len(plan.choices) + len(plan.left_out)}: {why}.")
    return found


def _pooled_text(conditions: Conditions) -> str | None:
    if whole_skeleton(conditions.model).config.addition_embed_type != "text_time":
        return None
    return "This model's pooled text reaches every cloud, whatever the settings: see docs/protocols/strip-split.md."


def plan_json(plan: Plan, conditions: Conditions, num_steps: int) -> dict[str, Any]:
    """The documented JSON object."""
    chosen, lossy = plan.recommended, plan.faster_lossy
    return {
        "model": chosen.cost.model,
        "height": chosen.cost.height,
        "width": chosen.cost.width,
        "link": chosen.cost.link,
        "speeds": asdict(conditions.speeds),
        "steps": num_steps,
        "recommended": _choice_json(chosen)
        | {
            "command": command(chosen, conditions),
            "reason": reason(chosen),
            "picture_seconds": chosen.picture_seconds(num_steps),
            "claim": chosen.spec.claim,
            "hides_less": hides_less(chosen.spec),
        },
        "faster_lossy": None if lossy is None else _choice_json(lossy),
        "choices": [_choice_json(c) | {"cost": c.cost.to_dict()} for c in plan.choices],
        "left_out": [asdict(x) for x in plan.left_out],
        "notes": notes(plan, conditions),
    }


def _choice_json(choice: Choice) -> dict[str, Any]:
    return {
        "protocol": choice.spec.name,
        "clouds": choice.spec.num_clouds,
        "options": choice.options,
        "result": _result(choice),
        "reference": choice.is_reference,
        "seconds_per_step": choice.cost.seconds_per_step,
    }
