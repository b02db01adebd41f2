"""Every inversion method by name; a new one adds a line."""

from sfumato.attacks.inversion.black_box import BlackBox, BlackBoxDecoder, BlackBoxDirect
from sfumato.attacks.inversion.decoder_based import DecoderBased
from sfumato.attacks.inversion.direct import DirectOptimisation
from sfumato.attacks.inversion.method import InversionMethod
from sfumato.attacks.inversion.white_box import WhiteBox

METHODS: dict[str, type[InversionMethod]] = {
    kind.name: kind for kind in (WhiteBox, DirectOptimisation, DecoderBased, BlackBox, BlackBoxDecoder, BlackBoxDirect)
}


def find_method(name: str) -> type[InversionMethod]:
    """Finds a method.

    Raises:
        ValueError: unknown; lists the known ones.
    """
    if name not in METHODS:
        raise ValueError(f"no inversion method {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]
