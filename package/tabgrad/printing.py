"""How a tensor reads when printed: PyTorch's ``repr``, character for character, without numpy.

One read brings the numbers to the host: all of them, or of a big tensor its edges only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import runtime
from .dtypes import bool_, get_default_dtype, int64

_DEFAULT = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80}
PROFILES: dict[str, dict[str, Any]] = {
    "default": _DEFAULT,
    "short": {**_DEFAULT, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULT, "threshold": math.inf},
}


class _Options:
    """What ``set_printoptions`` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Sets how tensors print, as ``torch.set_printoptions``.

    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    >>> torch.tensor([1.12345])
    tensor([1.1235])
    """
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    chosen = dict(PROFILES.get(profile or "", {}))
    chosen |= {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        setattr(options, name, value)
    options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options now, fit for ``set_printoptions(**options)``."""
    names = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
    return {name: getattr(options, name) for name in names}


@contextmanager
def printoptions(**changes: Any) -> Iterator[None]:
    """``set_printoptions`` for the time of a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**changes)
    try:
        yield
    finally:
        set_printoptions(**before)


class _Format:
    """One way to write all numbers of a tensor, equally wide."""

    def __init__(self, values: list[Any], is_float: bool) -> None:
        self.is_float = is_float
        self.sci = False
        self.whole = True  # floats that are all integers print as "1."
        if is_float:
            self._choose([v for v in values if v != 0 and math.isfinite(v)])
            return
        self.width = max((len(str(v)) for v in values), default=1)

    def _choose(self, values: list[float]) -> None:
        self.width = 1
        if not values:
            return
        sizes = [abs(v) for v in values]
        small, big = min(sizes), max(sizes)
        self.whole = all(v == math.floor(v) for v in values)
        self.sci = options.sci_mode  # type: ignore[assignment]
        if self.sci is None:
            self.sci = big / small > 1000.0 or big > 1.0e8 or small < 1.0e-4
        self.width = max(len(self._bare(v)) for v in values)

    def _bare(self, value: Any) -> str:
        if not self.is_float:
            return str(value)
        if self.sci:
            return f"{value:.{options.precision}e}"
        if self.whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{options.precision}f}"

    def __call__(self, value: Any) -> str:
        return self._bare(value).rjust(self.width)


def _edges(size: int) -> list[int] | None:
    """The indices that a summary shows of a dimension; None if it shows all."""
    n = options.edgeitems
    return None if size <= 2 * n else [*range(n), *range(size - n, size)]


def _numbers(tensor: Any) -> list[Any]:
    """The elements that will be shown, in order."""
    tensor = tensor.detach()
    if tensor.numel() > options.threshold:
        for dim, size in enumerate(tensor.shape):
            edges = _edges(size)
            if edges == []:
                return []
            if edges:
                tensor = tensor[(slice(None),) * dim + (edges,)]
    flat: list[Any] = tensor.flatten().tolist()
    return flat


def _line(words: list[str], width: int, indent: int) -> str:
    """A vector, broken into lines."""
    per_line = max(1, (options.linewidth - indent) // (width + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(
    numbers: Iterator[Any], shape: tuple[int, ...], form: _Format, indent: int, short: bool
) -> str:
    """The bracketed numbers of a tensor of this shape; ``short`` leaves out the middle."""
    if not shape:
        return form(next(numbers))
    edges = _edges(shape[0]) if short else None
    count = shape[0] if edges is None else len(edges)
    if len(shape) == 1:
        words = [form(next(numbers)) for _ in range(count)]
        if short and not options.edgeitems:
            words = ["..."]
        elif edges is not None:
            words.insert(options.edgeitems, " ...")
        return _line(words, form.width, indent)
    rows = [_block(numbers, shape[1:], form, indent + 1, short) for _ in range(count)]
    if edges is not None:
        rows.insert(options.edgeitems, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(rows) + "]"


def _contents(tensor: Any, indent: int) -> str:
    if not tensor.numel():
        return "[]"
    numbers = _numbers(tensor)
    form = _Format(numbers, tensor.dtype.is_floating_point)
    short = tensor.numel() > options.threshold
    return _block(iter(numbers), tuple(tensor.shape), form, indent, short)


def _suffixes(tensor: Any) -> Iterator[str]:
    if runtime._defaults and tensor.device != runtime._defaults[-1].public:
        yield f"device='{tensor.device}'"
    default, dtype = get_default_dtype(), tensor.dtype
    if not tensor.numel():
        if tensor.ndim != 1:
            yield f"size={tuple(tensor.shape)}"
        if dtype is not default:
            yield f"dtype={dtype}"
    else:
        if not options.edgeitems:
            yield f"size={tuple(tensor.shape)}"
        if dtype not in (default, int64, bool_):
            yield f"dtype={dtype}"
    if tensor.grad_fn is not None:
        yield f"grad_fn=<{tensor.grad_fn.name()}>"
    elif tensor.requires_grad:
        yield "requires_grad=True"


def tensor_repr(tensor: Any, contents: str | None = None) -> str:
    """What ``repr(tensor)`` says; a subclass made by a user goes by its own name."""
    kind = type(tensor)
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    prefix = "tensor(" if ours else f"{kind.__name__}("
    text = prefix + (_contents(tensor, len(prefix)) if contents is None else contents)
    column = len(text) - text.rfind("\n") + 1
    for suffix in _suffixes(tensor):
        if column + len(suffix) + 2 > options.linewidth:
            text += ",\n" + " " * len(prefix) + suffix
            column = len(prefix) + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"
