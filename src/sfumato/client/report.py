"""What a run cost, and what it promised: the JSON that ``--report`` writes."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sfumato.client.parts import Part
from sfumato.protocols.base import Spec
from sfumato.protocols.client_half import Remarks
from sfumato.transport.base import Traffic
from sfumato.version import VERSION


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Work and weights on each side; FLOPs of convolutions, linear layers and attention products."""

    client_flops: int
    cloud_flops: int
    """All clouds together."""
    client_weight_bytes: int
    cloud_weight_bytes: int
    """U-Net weights that one cloud needs and the client does not load."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One run. ``to_dict`` is the stable, documented form."""

    model_name: str
    model_fingerprint: str
    parts: tuple[Part, ...]
    """Which clouds followed which protocol."""
    seed: int | None
    """The seed that fixed the picture; None where the caller gave generators, or nothing."""
    is_seeded: bool
    """Whether the noise came from a seed or generator rather than from the operating system."""
    num_inference_steps: int
    seconds: float
    traffic: Traffic
    compute: Compute
    remarks: Remarks = field(default_factory=Remarks, repr=False)
    """What the protocol adds; with prompt-set the candidates, hence not shown by accident."""

    @property
    def spec(self) -> Spec:
        """Of the protocol that was chosen."""
        return self.parts[0].spec

    @property
    def claim(self) -> str:
        """What the protocol hides; of several, what each does, and from which clouds."""
        return " ".join(self._about(part, part.spec.claim) for part in self.parts)

    @property
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learned all the same, in this run."""
        return (
            *self.remarks.not_hidden,
            *(self._about(part, sentence) for part in self.parts for sentence in self._not_hidden_by(part.spec)),
        )

    def _not_hidden_by(self, spec: Spec) -> tuple[str, ...]:
        return (*spec.not_hidden, *(spec.not_hidden_with_seed if self.is_seeded else ()))

    def _about(self, part: Part, sentence: str) -> str:
        if len(self.parts) == 1:
            return sentence
        names = [self.traffic.clouds[i] for i in part.clouds]
        return f"{' to '.join(dict.fromkeys((names[0], names[-1])))} ({part.spec.name}): {sentence}"

    def seen_by(self, cloud: int) -> str:
        """What one cloud received, in a few words."""
        (part,) = (part for part in self.parts if cloud in part.clouds)
        return part.spec.seen_by(part.clouds.index(cloud))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the field names are documented in ``docs/report.md``."""
        traffic = self.traffic
        clouds = [
            {
                "name": name,
                "sent_bytes": traffic.tally(i).sent_bytes,
                "received_bytes": traffic.tally(i).received_bytes,
                "requests": traffic.tally(i).requests,
                "between_bytes": traffic.between_bytes[i],
            }
            for i, name in enumerate(traffic.clouds)
        ]
        found = {
            "sfumato": VERSION,
            "model": {"name": self.model_name, "fingerprint": self.model_fingerprint},
            "protocol": self.spec.name,
            "spec": self.spec.to_dict(),
            "seed": self.seed,
            "steps": self.num_inference_steps,
            "totals": {
                "sent_bytes": traffic.sent_bytes,
                "received_bytes": traffic.received_bytes,
                "between_bytes": sum(traffic.between_bytes),
                "rounds": traffic.rounds,
                "seconds": self.seconds,
                "waiting_seconds": traffic.waiting_seconds,
                "codec_seconds": traffic.codec_seconds,
            },
            "clouds": clouds,
            "compute": asdict(self.compute),
            "claim": self.claim,
            "not_hidden": list(self.not_hidden),
            **self.remarks.fields,
        }
        for part in self.parts[1:]:
            names = [traffic.clouds[i] for i in part.clouds]
            found["denoise_with"] = {"protocol": part.spec.name, "spec": part.spec.to_dict(), "clouds": names}
        return found
