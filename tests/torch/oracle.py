"""The same call with both libraries: what each gives or raises, and whether they agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import tabgrad
import torch
from compare import VIEWS, difference


class Outcome(NamedTuple):
    """What a call gave, or the exception it raised."""

    value: Any
    error: BaseException | None


def attempt(call: Callable[[], Any]) -> Outcome:
    """Runs a call to the end: what is lazy is read, so that late errors are seen too."""
    try:
        value = call()
        force(value)
        return Outcome(value, None)
    except Exception as error:
        return Outcome(None, error)


def force(value: Any) -> None:
    if isinstance(value, tabgrad.Tensor):
        value.detach().tolist()
    elif isinstance(value, tuple | list):
        for v in value:
            force(v)


def first_line(error: BaseException) -> str:
    """What a message says first. A leaf that is itself a view of something is still a leaf."""
    line = str(error).split("\n")[0].strip()
    return line.replace("a view of a leaf Variable", "a leaf Variable")


_POSITION = re.compile(r"index -?\d+ is out of bounds for dimension (\d+) with size (\d+)")


def our_words(line: str) -> str:
    """PyTorch's message in our words, where the values of an index are on a device: ours names
    dimension and size (docs/architecture.md, "Where tabgrad differs from PyTorch")."""
    return _POSITION.sub(r"index out of range in dimension \1 with size \2", line)


def disagreement(
    ours: Outcome, theirs: Outcome, rtol: float | None = None, *, strides: Any = VIEWS,
    message: bool = True, mixed: bool = False, device_index: bool = False,
) -> str:  # fmt: skip
    """In words, how our outcome differs from PyTorch's; "" if it does not.

    device_index: positions come from a tensor, so that an error about one may be in our words.
    """
    if theirs.error is None and ours.error is None:
        return difference(ours.value, theirs.value, rtol, strides=strides, mixed=mixed)
    if theirs.error is None:
        return f"raises {type(ours.error).__name__}: {ours.error}"
    if ours.error is None:
        return f"should raise {type(theirs.error).__name__}: {first_line(theirs.error)}"
    if type(ours.error) is not type(theirs.error):
        return (
            f"raises {type(ours.error).__name__}: {first_line(ours.error)} instead of "
            f"{type(theirs.error).__name__}: {first_line(theirs.error)}"
        )
    said, wanted = first_line(ours.error), first_line(theirs.error)
    if message and said != wanted and not (device_index and said == our_words(wanted)):
        return f"says {said!r} instead of {wanted!r}"
    return ""


def compared(program: Callable[[Any], Any], rtol: float | None = None, **options: Any) -> str:
    """Runs ``program(lib)`` with both libraries: how they disagree, in words."""
    ours, theirs = attempt(lambda: program(tabgrad)), attempt(lambda: program(torch))
    return disagreement(ours, theirs, rtol, **options)


__all__ = ["Outcome", "attempt", "compared", "disagreement", "tabgrad", "torch"]
