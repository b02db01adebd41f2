"""The reader of each protocol's transcripts; a new protocol adds a line."""

from sfumato.attacks.seen.base import Reader
from sfumato.attacks.seen.homomorphic import HomomorphicReader
from sfumato.attacks.seen.layer_split import LayerSplitReader
from sfumato.attacks.seen.plain import PlainReader
from sfumato.attacks.seen.prompt_set import PromptSetReader
from sfumato.attacks.seen.strip_split import StripSplitReader
from sfumato.attacks.view import RunView
from sfumato.errors import LacksInput

READERS: dict[str, Reader] = {
    reader.protocol: reader
    for reader in (PlainReader(), LayerSplitReader(), StripSplitReader(), PromptSetReader(), HomomorphicReader())
}


def reader_of(view: RunView) -> Reader:
    """Finds the reader for a view.

    Raises:
        LacksInput: there is none for its protocol.
    """
    if view.spec.name not in READERS:
        raise LacksInput(f"no attack reads transcripts of {view.spec.name}; those of {', '.join(READERS)} are read")
    return READERS[view.spec.name]
