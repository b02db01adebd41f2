"""Every attack on recorded runs, by name."""

from sfumato.attacks.base import Attack
from sfumato.attacks.homomorphic.key_recovery import KeyRecovery
from sfumato.attacks.homomorphic.predictions import Predictions
from sfumato.attacks.homomorphic.remainder import Remainder
from sfumato.attacks.learned.attribute_reader import AttributeReader
from sfumato.attacks.learned.inverter import LearnedInverter
from sfumato.attacks.metadata.traffic import Traffic
from sfumato.attacks.picture.clean_decode import CleanDecode
from sfumato.attacks.picture.feature_descent import FeatureDescent
from sfumato.attacks.picture.finish_denoising import FinishDenoising
from sfumato.attacks.pooled.across_runs import AcrossRuns
from sfumato.attacks.seed_search import SeedSearch
from sfumato.attacks.text.rank_prompts import RankPrompts
from sfumato.attacks.text.read_prompt import ReadPrompt

_ALL: tuple[type[Attack], ...] = (
    FinishDenoising,
    CleanDecode,
    FeatureDescent,
    LearnedInverter,
    AttributeReader,
    Predictions,
    Remainder,
    KeyRecovery,
    SeedSearch,
    ReadPrompt,
    RankPrompts,
    AcrossRuns,
    Traffic,
)
ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in _ALL}


def find_attack(name: str) -> type[Attack]:
    """Finds an attack.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    if name not in ATTACKS:
        raise ValueError(f"no attack {name!r}: choose one of {', '.join(ATTACKS)}")
    return ATTACKS[name]
