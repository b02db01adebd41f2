"""A computation that stops in the middle to ask, and goes on with the answer."""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar, no_type_check

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
        callers: list[Any] = []

        # Run-time checks of shapes must nest, and what is entered here is left only after others have come and gone.
        @no_type_check
        def ask(question: Question) -> Answer:
            return callers[-1].switch(question)

        # Nothing in here leads back to this object: dropping it ends the computation at once, in this thread.
        self._callers = callers
        self._greenlet: Any = greenlet(partial(function, ask))

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
        self._callers[:] = [getcurrent()]
        return self._greenlet.switch(*values)
