"""What can be told of a run without reading it: how many messages of which size, and when."""

from collections import Counter, defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.attacks.view import RunView
from sfumato.wire.transcript import Direction, Entry

_KIB = 1024.0


def sizes_of(view: RunView, num_pictures: int) -> dict[str, Float[Tensor, " picture"]]:
    """Named numbers, one for each picture of the run.

    Kinds of which there are as many messages as pictures, such as a request for each, have the size of each picture's
    own message; of others, numbers of the whole run stand at all of its pictures.

    Args:
        view: whose tensors are not read.
        num_pictures: of the run.
    """
    found: dict[str, Tensor] = {}

    def note(name: str, value: float) -> None:
        found[name] = torch.full((num_pictures,), value, dtype=torch.float64)

    for cloud, transcript in zip(view.clouds, view.transcripts, strict=True):
        by_kind: dict[tuple[Direction, str], list[Entry]] = defaultdict(list)
        for entry in transcript.entries:
            by_kind[entry.direction, entry.kind].append(entry)
        for (direction, kind), entries in by_kind.items():
            name = f"{cloud} {direction} {kind}"
            sizes = [entry.size_bytes / _KIB for entry in entries]
            note(f"{name} number", float(len(entries)))
            note(f"{name} sum", sum(sizes))
            note(f"{name} distinct sizes", float(len(Counter(sizes))))
            if len(entries) == num_pictures:
                found[f"{name} own"] = torch.tensor(sizes, dtype=torch.float64)
        note(f"{cloud} seconds", transcript.entries[-1].seconds - transcript.entries[0].seconds)
    return found
