"""From a prompt to the set of prompts that a cloud reads in its place; client only, and without torch."""

from sfumato.protocols.prompt_set.candidates.candidate_set import (
    MAX_CANDIDATES,
    PIVOT,
    CandidateSet,
    Covered,
    candidate_set,
)
from sfumato.protocols.prompt_set.candidates.detectors import Detector, Finding, TokenClassifier
from sfumato.protocols.prompt_set.candidates.noticing import Correlate, Noticed
from sfumato.protocols.prompt_set.candidates.taxonomy import Taxonomy
from sfumato.protocols.prompt_set.candidates.taxonomy_files import default_taxonomy, load_taxonomy

__all__ = [
    "MAX_CANDIDATES",
    "PIVOT",
    "CandidateSet",
    "Correlate",
    "Covered",
    "Detector",
    "Finding",
    "Noticed",
    "Taxonomy",
    "TokenClassifier",
    "candidate_set",
    "default_taxonomy",
    "load_taxonomy",
]
