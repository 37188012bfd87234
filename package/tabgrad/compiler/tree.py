"""Arguments and results taken apart: tensors, and the structure they hang in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor

SIMPLE = frozenset(
    [type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)]
)


def flatten(x: Any, tensors: list[Tensor], spec: list[Any], others: list[Any]) -> None:
    """Collects the tensors of nested containers; ``spec`` describes all the rest, and is equal only
    for what is alike. ``others`` keeps what is described by its identity."""
    t = type(x)
    if isinstance(x, Tensor):
        tensors.append(x)
        spec.append(t)
    elif t in SIMPLE:
        spec += (t, repr(x) if t is float or t is complex else x)
    elif isinstance(x, tuple | list):
        spec += (t, len(x))
        for v in x:
            flatten(v, tensors, spec, others)
    elif isinstance(x, dict):
        spec += (t, len(x))
        for k, v in x.items():
            flatten(k, tensors, spec, others)
            flatten(v, tensors, spec, others)
    elif _is_record(x):
        spec.append(t)
        for field in dataclasses.fields(x):
            flatten(getattr(x, field.name), tensors, spec, others)
    elif t is slice:
        spec.append(t)
        flatten((x.start, x.stop, x.step), tensors, spec, others)
    else:
        spec.append(id(x))
        others.append(x)


def _is_record(x: Any) -> bool:
    """A dataclass instance that its fields describe wholly."""
    if not dataclasses.is_dataclass(x) or isinstance(x, type):
        return False
    return len(getattr(x, "__dict__", ())) == len(dataclasses.fields(x))


Make = Callable[[list[Any]], Any]  # a result from the tensors of a call


def template(x: Any, place: Callable[[Tensor], int], known: Callable[[Any], bool]) -> Make | None:
    """How a result is made again: ``place`` tells where a tensor will be found. None if it holds an
    object that cannot be made again and is not ``known``."""
    t = type(x)
    if isinstance(x, Tensor):
        k = place(x)
        return lambda made: made[k]
    if t in SIMPLE or known(x):
        return lambda made: x
    if isinstance(x, tuple | list):
        parts = [template(v, place, known) for v in x]
        if None in parts:
            return None
        return _sequence(t, parts)
    if isinstance(x, dict) and hasattr(t, "fromkeys"):
        keys, parts = list(x), [template(v, place, known) for v in x.values()]
        if None in parts or not all(type(k) in SIMPLE for k in keys):
            return None
        return lambda made: t(zip(keys, [p(made) for p in parts], strict=True))  # type: ignore[misc]
    if _is_record(x):
        names = [field.name for field in dataclasses.fields(x)]
        parts = [template(getattr(x, name), place, known) for name in names]
        if None in parts:
            return None
        return lambda made: _record(t, names, [p(made) for p in parts])  # type: ignore[misc]
    return None


def _sequence(t: Any, parts: list[Any]) -> Make:
    if hasattr(t, "_fields"):  # a NamedTuple
        return lambda made: t(*[p(made) for p in parts])
    return lambda made: t([p(made) for p in parts])


def _record(t: type, names: list[str], values: list[Any]) -> Any:
    out: Any = object.__new__(t)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(out, name, value)
    return out
