"""What a run cost, and what it promised: the JSON that ``--report`` writes."""

from dataclasses import asdict, dataclass, field
from typing import Any

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
    spec: Spec
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
    def not_hidden(self) -> tuple[str, ...]:
        """What a cloud learned all the same, in this run."""
        with_seed = self.spec.not_hidden_with_seed if self.is_seeded else ()
        return (*self.remarks.not_hidden, *self.spec.not_hidden, *with_seed)

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
        return {
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
            "claim": self.spec.claim,
            "not_hidden": list(self.not_hidden),
            **self.remarks.fields,
        }
