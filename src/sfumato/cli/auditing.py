"""The run behind ``sfumato audit``."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sfumato.attacks.base import Attack
from sfumato.attacks.catalog import find_attack
from sfumato.audit.plan import Plan, common_settings, default_attacks, plan_of, published_settings, trials
from sfumato.audit.progress import run_plan
from sfumato.audit.recorded import attack_recorded, recorded
from sfumato.audit.report import summary_table, write_report
from sfumato.audit.running import Runs
from sfumato.audit.store import Store
from sfumato.cli.wide import print_wide
from sfumato.models.folder import find_model
from sfumato.models.sampling import make_scheduler, require_timesteps
from sfumato.protocols.base import Spec
from sfumato.protocols.settings import parse_spec, parse_values
from sfumato.protocols.specs import find_spec

PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """What the command line asked for."""

    out: Path
    recorded: list[Path]
    secrets: list[Path]
    protocols: list[str]
    attacks: list[str]
    samples: int
    slow_samples: int
    coalitions: str
    most_coalitions: int
    model: str
    steps: int
    guidance_scale: float
    scheduler: str
    batch_size: int
    tables_only: bool


def run_audit(request: AuditRequest) -> None:
    """Attacks what was not attacked yet, and writes the report of all that is there.

    Raises:
        ValueError: wrong usage, found before anything is computed.
        SfumatoError: the audit had to stop; what was finished is kept.
    """
    console = Console(stderr=True)
    attacks = [_attack(text) for text in request.attacks] or default_attacks()
    runs = _runs(request)
    sizes = _sizes(request.coalitions)
    plan = _plan(request, attacks, sizes)
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out must name a folder, got the file {request.out}")
    if not request.tables_only:
        for subject in recorded(request.recorded, request.secrets, runs):
            tried = trials(subject.spec, attacks, sizes, request.most_coalitions)
            attack_recorded(subject, tried, Store.of(request.out))
        run_plan(plan, runs, request.out, console)
    _tell(request.out, console)


def _tell(out: Path, console: Console) -> None:
    if not Store.of(out).rows.finished() and not Store.of(out).lacks.finished():
        console.print("Nothing is finished yet, so there is no report: let the audit run on.")
        return
    written = write_report(out)
    print_wide([summary_table(out), "written: " + ", ".join(map(str, written))])


def _runs(request: AuditRequest) -> Runs:
    model = find_model(request.model)
    require_timesteps(make_scheduler(model, request.scheduler), request.steps)
    return Runs(
        model=model,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        scheduler=request.scheduler,
        batch_size=request.batch_size,
    )


def _plan(request: AuditRequest, attacks: list[Attack], sizes: list[int]) -> Plan:
    return plan_of(
        _specs(request),
        attacks,
        coalition_sizes=sizes,
        most_coalitions=request.most_coalitions,
        num_secrets=request.samples,
        num_slow_secrets=request.slow_samples,
    )


def _specs(request: AuditRequest) -> list[Spec]:
    if not request.protocols:
        return [] if request.recorded else common_settings()
    found: list[Spec] = []
    for text in request.protocols:
        name, *pairs = text.split() or [""]
        found += published_settings() if name == PUBLISHED else [parse_spec(find_spec(name), pairs)]
    return found


def _attack(text: str) -> Attack:
    name, *pairs = text.split() or [""]
    kind = find_attack(name)
    return kind(**parse_values(name, kind, pairs, {}))


def _sizes(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"--coalitions must be numbers of clouds, such as 1,2, got {text!r}")
    return [int(part) for part in parts]
