"""A computation that stops in the middle to ask, and goes on with the answer."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class Suspended(Generic[Question, Answer, Result]):
    """Runs ``function`` until it asks, and again with each answer until it returns.

    All calls must come from one thread: the function runs in it, on a stack of its own (a greenlet), and locks nothing.

    Args:
        function: given ``ask``, which takes a question and gives the answer.
    """

    def __init__(self, function: Callable[[Callable[[Question], Answer]], Result]):
        self._greenlet: Any = greenlet(lambda: function(self._ask))
        self._caller: Any = None

    @property
    def is_done(self) -> bool:
        """Whether the function has returned, or raised."""
        return bool(self._greenlet.dead)

    def start(self) -> Question | Result:
        """Runs up to the first question, or to the end."""
        return self._switch()

    def resume(self, answer: Answer) -> Question | Result:
        """Goes on with an answer, up to the next question or to the end."""
        return self._switch(answer)

    def _switch(self, *values: Any) -> Any:
        self._caller = getcurrent()
        return self._greenlet.switch(*values)

    def _ask(self, question: Question) -> Answer:
        return self._caller.switch(question)
