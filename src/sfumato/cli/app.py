"""The commands, and nothing else."""

import typer

from sfumato.cli.attack import attack
from sfumato.cli.audit import audit
from sfumato.cli.bench import (
    encryption_bench,
    fidelity_bench,
    generate_bench,
    homomorphic_bench,
    inversion_bench,
    sweep_bench,
    transport_bench,
    vault_bench,
)
from sfumato.cli.bench_defences import defences_bench
from sfumato.cli.bench_steps import engine_bench, link_bench, scaling_bench, steps_bench
from sfumato.cli.cost import cost
from sfumato.cli.experiment import inversion, ppidm_fidelity, prompt_set
from sfumato.cli.generate import EPILOG, generate
from sfumato.cli.invert import EPILOG as INVERT_EPILOG
from sfumato.cli.invert import invert
from sfumato.cli.keys import keys
from sfumato.cli.models import models
from sfumato.cli.plan import plan
from sfumato.cli.prompts import prompts
from sfumato.cli.random_model import random_model
from sfumato.cli.serve import serve
from sfumato.cli.vault import vault

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Diffusion models on clouds that nobody has to trust.",
)
app.command(epilog=EPILOG, context_settings={"help_option_names": []})(generate)
app.command()(serve)
app.command()(keys)
app.command()(cost)
app.command()(plan)
app.command()(prompts)
app.command()(attack)
app.command()(audit)
app.command()(models)
app.command(epilog=INVERT_EPILOG)(invert)

app.add_typer(vault, name="vault")

bench = typer.Typer(no_args_is_help=True, help="Measures speed, memory, traffic and defences.")
bench.command("transport")(transport_bench)
bench.command("generate")(generate_bench)
bench.command("fidelity")(fidelity_bench)
bench.command("sweep")(sweep_bench)
bench.command("steps")(steps_bench)
bench.command("engine")(engine_bench)
bench.command("link")(link_bench)
bench.command("scaling")(scaling_bench)
bench.command("encryption")(encryption_bench)
bench.command("homomorphic")(homomorphic_bench)
bench.command("vault")(vault_bench)
bench.command("inversion")(inversion_bench)
bench.command("defences")(defences_bench)
bench.command("random-model")(random_model)
app.add_typer(bench, name="bench")

experiment = typer.Typer(no_args_is_help=True, help="Reruns a paper's study; can be stopped, resumed and shared out.")
experiment.command("ppidm-fidelity")(ppidm_fidelity)
experiment.command("prompt-set")(prompt_set)
experiment.command("inversion")(inversion)
app.add_typer(experiment, name="experiment")
