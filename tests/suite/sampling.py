"""What a sample is, how it becomes tensors, and the generators that ``samples.py`` is written in.

and numbers come from a seeded ``Random``: the suite uses one seed, the comparison with PyTorch a
fresh one each time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

INF, NAN = math.inf, math.nan
INTS = ("int64", "int32", "int16", "int8", "uint8")
HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
DTYPES = ("bool", *INTS, *FLOATS)
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.5, 3.5, 1e-3, 60.0, -60.0]


class T:
    """A tensor to be made: its shape, dtype, range of numbers and place in memory.

    layout: plain · transposed · strided (every second element) · offset (inside a bigger tensor) ·
    expanded (the first dimension has stride 0). ``values`` fixes the numbers.
    """

    def __init__(
        self,
        *shape: int,
        dtype: str = "float32",
        of: tuple[float, float] = (-4, 4),
        layout: str = "plain",
        values: list[Any] | None = None,
        grad: bool = True,
    ) -> None:
        self.shape = (len(values),) if values is not None else shape
        self.dtype, self.of, self.layout, self.values = dtype, of, layout, values
        self.grad = grad and dtype in FLOATS

    def __repr__(self) -> str:
        extra = "" if self.layout == "plain" else f" {self.layout}"
        values = "" if self.values is None else f" {self.values}"
        return f"<{list(self.shape)} {self.dtype}{extra}{values}>"

    def like(self, **changes: Any) -> T:
        """The same description with something changed."""
        kept = {k: getattr(self, k) for k in ("dtype", "of", "layout", "values", "grad")}
        return T(*self.shape, **{**kept, **changes})


class D(NamedTuple):
    """A dtype, by name."""

    name: str


class Sample:
    """Arguments of one call, and the error it must raise if it is bad."""

    def __init__(self, *args: Any, error: tuple[type, str] | None = None, **kwargs: Any) -> None:
        self.args, self.kwargs, self.error = args, kwargs, error

    def __repr__(self) -> str:
        words = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"({', '.join(words)})"

    def tensors(self) -> list[T]:
        """The descriptions among the arguments, in order."""
        return [*_find((self.args, self.kwargs))]


def _find(x: Any) -> Iterable[T]:
    if isinstance(x, T):
        yield x
    elif isinstance(x, tuple | list):
        for y in x:
            yield from _find(y)
    elif isinstance(x, dict):
        yield from _find(list(x.values()))


Make = Callable[[random.Random], Iterable[Sample]]


class Op:
    """A row: how to call the op and its samples.

    inplace, out, function: which other spellings exist. grad: whether a gradient is defined.
    smooth: whether finite differences may be compared (not where the gradient is a convention).
    rtol: relative error allowed to a device in float32.
    """

    def __init__(
        self,
        name: str,
        samples: Make,
        call: Callable[..., Any] | None = None,
        *,
        grad: bool = True,
        smooth: bool = True,
        inplace: bool = False,
        out: bool = False,
        function: bool = True,
        method: bool = True,
        rtol: float = 2e-5,
        values: bool = True,
    ) -> None:
        self.name, self.samples, self.grad, self.smooth = name, samples, grad, smooth
        self.inplace, self.out, self.function, self.rtol = inplace, out, function, rtol
        self.method = method and call is None
        self.values = values  # False: the numbers are not defined (empty, sort order of ties)
        self.call = call or self._by_name

    def _by_name(self, lib: Any, *args: Any, **kwargs: Any) -> Any:
        if self.function:
            return getattr(lib, self.name)(*args, **kwargs)
        return getattr(args[0], self.name)(*args[1:], **kwargs)


# --- making the tensors ---------------------------------------------------------------------------


def numbers(t: T, n: int, r: random.Random) -> list[Any]:
    """``n`` distinct numbers (where there are enough) of the description's range and dtype.

    Floats have at most 8 significant bits: exact in every dtype, so rounding of the input is
    never what a comparison sees.
    """
    low, high = t.of
    if t.dtype == "bool":
        return [r.random() < 0.5 for _ in range(n)]
    if t.dtype not in FLOATS:
        low, high = math.ceil(low), math.floor(high)
        if t.dtype == "uint8" and low < 0:
            low, high = 0, high - low
        return [r.randint(low, high) for _ in range(n)]
    step = (high - low) / 256
    pool = [low + (k + 0.5) * step for k in range(256)]
    return r.sample(pool, n) if n <= 256 else r.choices(pool, k=n)


def nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    """A flat list folded to a shape."""
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    return [nest(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _memory_shape(t: T) -> tuple[int, ...]:
    s = t.shape
    if not s or t.layout == "plain":
        return s
    return {
        "transposed": s[::-1],
        "strided": (*s[:-1], s[-1] * 2),
        "offset": (s[0] + 2, *s[1:]),
        "expanded": (1, *s[1:]),
    }[t.layout]


def _seen(x: Any, t: T) -> Any:
    if not t.shape or t.layout == "plain":
        return x
    if t.layout == "transposed":
        return x.permute(tuple(reversed(range(len(t.shape)))))
    if t.layout == "strided":
        return x[..., ::2]
    if t.layout == "offset":
        return x[1:-1]
    return x.expand(t.shape)


class Built(NamedTuple):
    """A sample as tensors: ``leaves`` are what gradients are asked for."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    leaves: list[Any]


def build(
    lib: Any,
    sample: Sample,
    seed: int,
    *,
    device: Any = None,
    grad: bool = False,
    dtype: str | None = None,
    plain: bool = False,
    shift: float = 0.0,
) -> Built:
    """Makes the tensors of a sample.

    dtype: instead of every floating dtype. plain: contiguous whatever the layout says, with the
    same values. shift: adds ``shift * direction`` to each float leaf, for finite differences.
    """
    r = random.Random(seed)
    leaves: list[Any] = []

    def make(t: T) -> Any:
        shape = _memory_shape(t)
        flat = t.values if t.values is not None else numbers(t, math.prod(shape), r)
        if t.values is not None and t.layout != "plain":
            raise ValueError("fixed values go with the plain layout")
        if shift and t.dtype in FLOATS and t.grad:
            flat = [v + shift * d for v, d in zip(flat, direction(len(flat)), strict=True)]
        name = dtype if dtype and t.dtype in FLOATS else t.dtype
        kind = getattr(lib, name)
        if math.prod(shape):
            leaf = lib.tensor(nest(flat, shape), dtype=kind, device=device)
        else:
            leaf = lib.zeros(shape, dtype=kind, device=device)
        if grad and t.grad:
            leaf.requires_grad_()
            leaves.append(leaf)
        seen = _seen(leaf, t)
        return seen.contiguous() if plain and t.layout != "plain" else seen

    def walk(x: Any) -> Any:
        if isinstance(x, T):
            return make(x)
        if isinstance(x, D):
            return getattr(lib, x.name)
        if isinstance(x, tuple):
            return tuple(walk(y) for y in x)
        if isinstance(x, list):
            return [walk(y) for y in x]
        return x

    args = tuple(walk(a) for a in sample.args)
    kwargs = {k: walk(v) for k, v in sample.kwargs.items()}
    return Built(args, kwargs, leaves)


def direction(n: int) -> list[float]:
    """Fixed weights for sums and directions for differences: no pattern, none near zero."""
    return [(1 if (i * 7) % 5 < 3 else -1) * (0.3 + (i * 37 % 23) / 23) for i in range(n)]


def all_samples(op: Op, seed: int, limit: int | None = None) -> list[Sample]:
    """The good samples of a row, spread evenly if there are more than ``limit``."""
    good = [s for s in op.samples(random.Random(seed)) if s.error is None]
    if limit is None or len(good) <= limit:
        return good
    return [good[i * len(good) // limit] for i in range(limit)]


def bad_samples(op: Op, seed: int) -> list[Sample]:
    """The samples of a row that must raise."""
    return [s for s in op.samples(random.Random(seed)) if s.error is not None]


# --- generators -----------------------------------------------------------------------------------


def dims(r: random.Random, low: int = 1, high: int = 3) -> tuple[int, ...]:
    """A small random shape."""
    return tuple(r.choice((1, 2, 3, 4, 5)) for _ in range(r.randint(low, high)))


def like(shape: tuple[int, ...], r: random.Random) -> tuple[int, ...]:
    """A shape that broadcasts with another."""
    cut = r.randint(0, len(shape))
    return tuple(1 if r.random() < 0.3 else n for n in shape[cut:])


def unary(
    of: tuple[float, float] = (-4, 4), *, special: bool = True, bad: dict[str, str] | None = None
) -> Make:
    """Shapes, layouts, dtypes and special values for an op of one tensor.

    ``bad`` maps a dtype to the error it must raise.
    """
    bad = bad or {}

    def make(r: random.Random) -> Iterable[Sample]:
        yield Sample(T(*dims(r), of=of))
        yield Sample(T(of=of))
        yield Sample(T(0, 3, of=of))
        for layout in ("transposed", "strided", "offset", "expanded"):
            yield Sample(T(*dims(r, 2), of=of, layout=layout))
        if special:
            yield Sample(T(values=SPECIAL, grad=False))
        for dtype in DTYPES:
            if dtype in bad:
                yield Sample(T(3, dtype=dtype, of=of), error=(RuntimeError, bad[dtype]))
            elif dtype != "float32":
                yield Sample(T(2, 3, dtype=dtype, of=of))

    return make


def binary(
    of: tuple[float, float] = (-4, 4),
    of2: tuple[float, float] | None = None,
    *,
    number: Any = 2.5,
    bad: dict[str, str] | None = None,
    dtypes: tuple[str, ...] = DTYPES,
    special: bool = True,
    swapped: bool = False,
) -> Make:
    """As ``unary`` for two tensors: broadcasting, mixed dtypes, numbers."""
    of2 = of2 or of
    bad = bad or {}
    first = "float32" if "float32" in dtypes else dtypes[0]

    def make(r: random.Random) -> Iterable[Sample]:
        a, b = T(dtype=first, of=of), T(dtype=first, of=of2)

        def pair(s: tuple[int, ...], t: tuple[int, ...], **kw: Any) -> Sample:
            return Sample(T(*s, dtype=first, of=of, **kw), T(*t, dtype=first, of=of2))

        s = dims(r, 2)
        yield pair(s, s)
        yield pair(s, like(s, r))
        yield pair(like(s, r), s)
        yield pair((3, 1), (1, 4))
        yield pair((), (2, 3))
        yield Sample(a, b)
        yield pair((0, 3), (1, 3))
        yield pair((0,), (1,))
        for layout in ("transposed", "strided", "offset", "expanded"):
            s = dims(r, 2)
            yield pair(s, s, layout=layout)
        yield Sample(
            T(3, 4, dtype=first, of=of, layout="transposed"),
            T(3, 4, dtype=first, of=of2, layout="strided"),
        )
        if number is not None:
            yield Sample(T(2, 3, dtype=first, of=of), number)
        if special and first == "float32":
            n = len(SPECIAL)
            yield Sample(
                T(values=[v for v in SPECIAL for _ in range(n)], grad=False),
                T(values=SPECIAL * n, grad=False),
            )
        for d in dtypes:
            if d in bad:
                yield Sample(
                    T(3, dtype=d, of=of), T(3, dtype=d, of=of2), error=(RuntimeError, bad[d])
                )
                continue
            yield Sample(T(2, 3, dtype=d, of=of), T(3, dtype=d, of=of2))
            e = r.choice([x for x in dtypes if x not in bad])
            yield Sample(T(2, 3, dtype=d, of=of), T(2, 3, dtype=e, of=of2))
            yield Sample(T(2, 3, dtype=d, of=of), T(dtype=e, of=of2))
        yield Sample(
            T(2, 3, dtype=first, of=of),
            T(4, dtype=first, of=of2),
            error=(
                RuntimeError,
                rf"The size of tensor a \({4 if swapped else 3}\) must match the size of tensor b "
                rf"\({3 if swapped else 4}\) at non-singleton dimension 1",
            ),
        )

    return make


DIM_ERROR = (
    IndexError,
    r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)",
)


def reduction(
    of: tuple[float, float] = (-4, 4),
    *,
    whole: bool = True,
    many: bool = True,
    empty: bool = True,
    dtypes: tuple[str, ...] = DTYPES,
    bad: dict[str, str] | None = None,
    special: bool = True,
    keepdim: bool = True,
    extra: tuple[Any, ...] = (),
) -> Make:
    """dim, negative dim, several dims, keepdim, empty, 0-d, strided for a reduction."""
    bad = bad or {}
    first = "float32" if "float32" in dtypes else dtypes[0]

    def make(r: random.Random) -> Iterable[Sample]:
        s = (2, *dims(r, 1, 2))
        x = T(*s, dtype=first, of=of)
        keep = {"keepdim": True} if keepdim else {}
        if whole:
            yield Sample(x, *extra)
            yield Sample(T(dtype=first, of=of), *extra)
            yield Sample(T(*s, dtype=first, of=of, layout="transposed"), *extra)
        for d in range(-len(s), len(s)):
            yield Sample(x, *extra, d)
        yield Sample(x, *extra, r.randrange(len(s)), **keep)
        yield Sample(T(dtype=first, of=of), *extra, 0)
        if many:
            yield Sample(T(2, 3, 4, dtype=first, of=of), *extra, (0, 2))
            yield Sample(T(2, 3, 4, dtype=first, of=of), *extra, (-1, 0), **keep)
            yield Sample(T(3, 4, dtype=first, of=of, layout="strided"), *extra, (1,))
        for layout in ("transposed", "strided", "offset", "expanded"):
            yield Sample(T(3, 4, dtype=first, of=of, layout=layout), *extra, r.choice((0, 1)))
        yield Sample(T(3, 200, dtype=first, of=of), *extra, 1)
        yield Sample(T(0, 3, dtype=first, of=of), *extra, 1)
        if empty:
            yield Sample(T(0, 3, dtype=first, of=of), *extra, 0)
            if whole:
                yield Sample(T(0, dtype=first, of=of), *extra)
        if special and first == "float32":
            yield Sample(T(values=[1.0, NAN, 2.0], grad=False), *extra, 0)
            yield Sample(T(values=[1.0, INF, -2.0], grad=False), *extra, 0)
            yield Sample(T(values=[1.0, -INF, INF], grad=False), *extra, 0)
        for d in dtypes:
            if d in bad:
                yield Sample(T(3, 2, dtype=d, of=of), *extra, 0, error=(RuntimeError, bad[d]))
            else:
                yield Sample(T(3, 4, dtype=d, of=of), *extra, 1)
                if whole:
                    yield Sample(T(3, 4, dtype=d, of=of), *extra)
        yield Sample(T(2, 3, dtype=first, of=of), *extra, 2, error=DIM_ERROR)
        if many:
            yield Sample(
                T(2, 3, dtype=first, of=of),
                *extra,
                (0, -2),
                error=(RuntimeError, "dim 0 appears multiple times in the list of dims"),
            )

    return make


def fixed(*samples: Sample) -> Make:
    """Samples that do not depend on the seed."""
    return lambda r: samples


def everywhere(*arguments: tuple[Any, ...], shape: tuple[int, ...] = (3, 4), **kwargs: Any) -> Make:
    """The same arguments behind tensors of every layout and dtype, for ops that move elements."""

    def make(r: random.Random) -> Iterable[Sample]:
        for args in arguments:
            yield Sample(T(*shape), *args, **kwargs)
        for layout in ("transposed", "strided", "offset", "expanded"):
            yield Sample(T(*shape, layout=layout), *r.choice(arguments), **kwargs)
        for dtype in DTYPES:
            yield Sample(T(*shape, dtype=dtype), *r.choice(arguments), **kwargs)

    return make


def both(*makes: Make) -> Make:
    """One generator after the other."""

    def make(r: random.Random) -> Iterable[Sample]:
        for m in makes:
            yield from m(r)

    return make


def bad(cls: type, text: str, *args: Any, **kwargs: Any) -> Sample:
    """A call that must raise."""
    return Sample(*args, error=(cls, text), **kwargs)
