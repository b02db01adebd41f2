"""Detectors of sensitive words other than the rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

DEFAULT_LABELS: Final[Mapping[str, str]] = {
    "GENDER": "gender",
    "SEX": "gender",
    "AGE": "age",
    "ETHNICITY": "ethnicity",
    "NATIONALITY": "ethnicity",
    "NORP": "ethnicity",
}
"""What common models call the built-in types."""
_LEAST_SCORE: Final = 0.5


@dataclass(frozen=True)
class Finding:
    """A span of the prompt that a detector holds to be sensitive."""

    start: int
    end: int
    label: str
    """The type of the taxonomy, or what else it is, such as a name."""


@runtime_checkable
class Detector(Protocol):
    """Finds sensitive words that the rules may have missed.

    A finding with words of the taxonomy is covered wherever it stands; one of a type of the taxonomy that has none is
    refused; any other is shown as not covered.
    """

    def find(self, prompt: str) -> Sequence[Finding]:
        """Spans of the prompt; the same prompt must give the same spans.

        Run by: client.
        """
        ...


class TokenClassifier:
    """A token-classification model of transformers as a detector.

    No model comes with sfumato: the one that the paper uses may not be used commercially.

    Args:
        classify: takes a text and returns spans as transformers' token-classification pipeline does with
            ``aggregation_strategy="simple"``: dicts with entity_group, score, start and end.
        labels: the model's labels and the types that they mean; others are shown as not covered.
        least_score: spans below this score are passed over.
    """

    def __init__(
        self,
        classify: Callable[[str], Sequence[Mapping[str, Any]]],
        labels: Mapping[str, str] = DEFAULT_LABELS,
        least_score: float = _LEAST_SCORE,
    ) -> None:
        self._classify, self._labels, self._least_score = classify, labels, least_score

    @classmethod
    def from_pretrained(cls, name: str, labels: Mapping[str, str] = DEFAULT_LABELS) -> "TokenClassifier":
        """Loads a model of transformers.

        Args:
            name: a folder or a model of the hub; see to its licence.
            labels: as above.
        """
        from transformers import pipeline

        return cls(pipeline("token-classification", model=name, aggregation_strategy="simple"), labels)

    def find(self, prompt: str) -> Sequence[Finding]:
        """The model's spans."""
        return [
            Finding(int(span["start"]), int(span["end"]), self._label(str(span["entity_group"])))
            for span in self._classify(prompt)
            if float(span["score"]) >= self._least_score
        ]

    def _label(self, label: str) -> str:
        return self._labels.get(label.upper(), label.lower())
