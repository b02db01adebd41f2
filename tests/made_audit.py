"""Folders of audits that were never run: rows with scores that a test chooses."""

import json
from pathlib import Path

import numpy as np

from sfumato.audit.plan import setting_name
from sfumato.audit.rows import LackRow, PanelRow, SecretRow
from sfumato.audit.store import Store
from sfumato.experiments.rows import as_png
from sfumato.protocols.base import Spec
from sfumato.protocols.plain.spec import Plain


class MadeAudit:
    """Writes rows into a folder, one attack at a time."""

    def __init__(self, out: Path, seed: int = 0):
        self._store, self._draw, self._count = Store.of(out), np.random.default_rng(seed), 0
        self._controlled: set[tuple[str, str, str]] = set()

    def attack(
        self,
        spec: Spec,
        attack: str = "predictions",
        *,
        leakage: float,
        clouds: str = "1",
        secret: str = "picture",
        metric: str = "psnr",
        clear: float | None = 12.0,
        noise: float | None = 0.0,
        prior: float = 12.0,
        spread: float = 1.0,
        num: int = 20,
        choices: int = 0,
        **settings: object,
    ) -> None:
        """One line: scores whose mean difference is exactly ``leakage``.

        Args:
            clear, noise: mean differences of the controls; None leaves a control out.
            choices: candidates of each secret; the true one then scores higher by ``leakage``.
        """
        told = json.dumps(settings, sort_keys=True)
        rows = self._rows(spec, attack, told, clouds, secret, metric, leakage, noise, prior, spread, num, choices)
        self._store.rows.add(rows)
        if clear is not None and (attack, told, metric) not in self._controlled:
            self._controlled.add((attack, told, metric))
            self._store.rows.add(
                self._rows(Plain(), attack, told, "1", secret, metric, clear, None, prior, spread, num, 0, control=True)
            )

    def lack(self, spec: Spec, attack: str, reason: str, *, clouds: str = "1", secret: str = "picture") -> None:
        """An attack that had nothing to work on."""
        self._count += 1
        self._store.lacks.add(
            [
                LackRow(
                    case=f"lack{self._count}",
                    setting=setting_name(spec),
                    protocol=spec.name,
                    spec=spec.to_json(),
                    clouds=clouds,
                    attack=attack,
                    attack_settings="{}",
                    secret=secret,
                    reason=reason,
                )
            ]
        )

    def pictures(self, spec: Spec, attack: str = "predictions", *, clouds: str = "1", num: int = 4, **settings) -> None:
        """Pictures of one attack, of noise."""
        made = []
        for number in range(num):
            self._count += 1
            truth, prior, guess = (as_png(self._draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(3))
            made.append(
                PanelRow(
                    case=f"panel{self._count}",
                    setting=setting_name(spec),
                    clouds=clouds,
                    attack=attack,
                    attack_settings=json.dumps(settings, sort_keys=True),
                    number=number,
                    truth=truth,
                    prior_only=prior,
                    guess=guess,
                )
            )
        self._store.panels.add(made)

    def _rows(
        self, spec, attack, told, clouds, secret, metric, leakage, noise, prior, spread, num, choices, control=False
    ) -> list[SecretRow]:
        self._count += 1
        before = prior + self._scores(0.0, spread, num)
        guess = before + self._scores(leakage, spread, num)
        on_noise = None if noise is None else before + self._scores(noise, spread, num)
        over = self._draw.normal(size=(num, choices)) if choices else np.zeros((num, 0))
        true = self._draw.integers(choices, size=num) if choices else np.full(num, -1)
        if choices:
            over[np.arange(num), true] += 4 * leakage
        return [
            SecretRow(
                case=f"row{self._count}-{number}",
                trial=f"row{self._count}",
                setting=setting_name(spec),
                protocol=spec.name,
                spec=spec.to_json(),
                model="portraits",
                model_fingerprint="0123456789abcdef" * 4,
                num_inference_steps=8,
                guidance_scale=5.0,
                scheduler="dpm++",
                clouds=clouds,
                attack=attack,
                attack_settings=told,
                secret=secret,
                metric=metric,
                number=number,
                guess=float(guess[number]),
                prior_only=float(before[number]),
                on_noise=None if on_noise is None else float(on_noise[number]),
                scores=[float(value) for value in over[number]],
                true=int(true[number]),
                is_control=control,
                controlled_by="plain",
                seconds=0.5,
                finding="chosen",
                sfumato="0.1.0",
                commit="0123456789ab",
            )
            for number in range(num)
        ]

    def _scores(self, mean: float, spread: float, num: int) -> np.ndarray:
        drawn = self._draw.normal(size=num) * spread
        return drawn - drawn.mean() + mean
