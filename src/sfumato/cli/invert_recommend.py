"""``sfumato invert --recommend``: a cut and a defence, from measured rows."""

from pathlib import Path


def print_recommendation(target: str, rows: Path | None) -> None:
    """Prints the cell with the least attack score among those whose accuracy stays, with its figures.

    Raises:
        ValueError: there are no rows of this target.
        ExperimentError: they are damaged.
    """
    from sfumato.bench.defences import epsilon_text, leakage_text
    from sfumato.bench.recommending import ALLOWED_LOSS, measured_rows, recommended
    from sfumato.cli.wide import print_wide

    found = measured_rows(target, rows)
    limit = f"{100 * ALLOWED_LOSS:.0f} points"
    if (best := recommended(found)) is None:
        print_wide([f"None of the {len(found)} rows keeps {found[0].target} within {limit} of its accuracy."])
        return
    proof = "nothing is proven of it"
    if best.delta is not None:
        proof = f"epsilon {epsilon_text(best)} at delta {best.delta:g} a release"
    print_wide(
        [
            f"Cut {best.target} after {best.layer}, defence: {best.defence} ({proof}).",
            f"Attributes read rightly of {best.task_pictures} painted portraits: {100 * best.task_accuracy:.1f} %, "
            f"without a defence {100 * best.undefended_accuracy:.1f} %.",
            f"Nearest attack on {best.pictures}: {best.psnr:.1f} dB, SSIM {best.ssim:.2f} ({best.attack}); the prior "
            f"alone {best.prior_psnr:.1f} dB, SSIM {best.prior_ssim:.2f}; PSNR above it, dB: {leakage_text(best)}.",
            f"The least PSNR of {len(found)} measured rows whose accuracy stays within {limit}; against another attack "
            "it may be another.",
        ]
    )
