"""Random numbers: PyTorch's CPU generator (mt19937) and its samplers, on every device.

The stream is sequential, so it is drawn on the host and the numbers are sent to the device: a seed
gives PyTorch's numbers everywhere.
"""

from __future__ import annotations

import os
import struct
from array import array
from typing import Any

from . import dtypes as dt
from . import runtime
from .creation import _place, sizes
from .dtypes import DType
from .graph import capture, cast, leaf
from .shape import Shape, numel
from .tensor import Tensor

# PyTorch's layout: the seed; draws left in the key, whether it is seeded, the next one's position;
# the key in 64 bits a word; three doubles of which the second is a cached normal, and whether it is
# one; the same for a float, which nothing caches.
_STATE = struct.Struct("<QiiQ4992s3di4xf?3x")


class Generator:
    """A random stream with its own state, as ``torch.Generator``."""

    def __init__(self, device: Any = "cpu") -> None:
        self.device = runtime.device("cpu")
        self._seed = 67280421310721
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The sampler behind it, made at first use."""
        if self._engine is None:
            self._engine = _engine(self._seed)
        return self._engine

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream again from a seed."""
        if not -(1 << 63) <= seed < 1 << 64:
            raise RuntimeError(f"Overflow when unpacking long long: {seed}")
        if capture.recorder is not None:
            capture.recorder.event(self.manual_seed, (seed,))
        self._seed = seed % (1 << 64)
        self._engine = _engine(self._seed)
        return self

    def seed(self) -> int:
        """Starts from a seed of the system's, and returns it."""
        _refuse()
        value = int.from_bytes(os.urandom(8), "little") >> 1
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed it was started from."""
        _refuse()
        return self._seed

    def get_state(self) -> Tensor:
        """The state as a uint8 tensor on the host."""
        _refuse()
        from .creation import frombuffer

        seed, position, key, cached = self.engine.get_state()
        words = memoryview(bytes(key)).cast("I")
        if position == 624 and words[0] == seed & 0xFFFFFFFF:  # of the seed: nothing drawn yet
            left, position = 1, 0
        else:
            left = 625 - position
        raw = _STATE.pack(
            seed, left, 1, position, array("Q", words).tobytes(),
            0.0, cached or 0.0, 0.0, cached is not None, 0.0, False,
        )  # fmt: skip
        with runtime.device("cpu"):
            return frombuffer(raw, dtype=dt.uint8)

    def set_state(self, state: Tensor) -> Generator:
        """Continues from a state that ``get_state`` gave."""
        if state.dtype is not dt.uint8:
            raise TypeError("expected a torch.ByteTensor, but got " + state.type_name())
        raw = bytes(state._bytes())
        if len(raw) != _STATE.size:
            raise RuntimeError("RNG state is wrong size")
        self._seed, left, _, _, words, _, cached, _, paired, _, _ = _STATE.unpack(raw)
        position = 625 - left
        key = array("I", memoryview(words).cast("Q"))
        self.engine.set_state((self._seed, position, key, cached if paired else None))
        return self

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        return Generator().set_state(self.get_state())

    def __deepcopy__(self, memo: Any) -> Generator:
        return self.clone_state()


def _refuse() -> None:
    if capture.recorder is not None:
        capture.recorder.refuse("it looks at the state of a random generator")


def _engine(seed: int) -> Any:
    if runtime.IN_PAGE:
        from .backends.page import PageRandom

        return PageRandom(seed)
    from .backends.numpy_random import MT19937

    return MT19937(seed)


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, on all devices."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seeds the default generator from the system."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Sets the state of the default generator."""
    default_generator.set_state(new_state)


class fork_rng:
    """Restores the default generator's state at the end of the block."""

    def __init__(self, devices: Any = None, enabled: bool = True, **_: Any) -> None:
        self.enabled = enabled

    def __enter__(self) -> None:
        self.state = get_rng_state()

    def __exit__(self, *_: Any) -> None:
        if self.enabled:
            set_rng_state(self.state)


def draw(kind: str, shape: Shape, dtype: DType, device: Any, generator: Any, *args: Any) -> Tensor:
    """Draws from the stream now, in order, and sends the numbers to the device."""
    made = runtime.resolve(device)
    made.check_dtype(dtype)
    n = numel(shape)
    work = _DRAWN.get((kind, dtype.name), dtype)
    buffer = _sent(made, work, n, generator, _drawn, kind, n, work, dtype.itemsize, args)
    return Tensor._wrap(cast(leaf(buffer, shape, work), dtype), made)


def _sent(made: Any, dtype: DType, n: int, generator: Any, f: Any, *args: Any) -> Any:
    """What ``f(engine, …)`` draws, on the device; a compiled function draws it at every call."""
    source = generator or default_generator
    buffer = made.upload(f(source.engine, *args), dtype, n)
    if capture.recorder is not None:
        capture.recorder.drawn(buffer, dtype, n, source, f, args)
    return buffer


def _drawn(engine: Any, kind: str, n: int, work: DType, itemsize: int, args: Any) -> Any:
    if kind == "normal" and itemsize == 2 and n > 16 and n % 16:
        return _normal_halves(engine, n, args)
    return _call(engine, kind, n, work, args) if n else b""


# what a sampler draws in, where that is not the dtype itself
_DRAWN = {
    (kind, name): work
    for kind in ("uniform", "normal", "exponential")
    for name, work in (("float16", dt.float32), ("bfloat16", dt.float32))
}
_DRAWN |= {(k, d.name): dt.int64 for k in ("randint",) for d in dt.DTYPES}
_DRAWN |= {("words", "int32"): dt.int32}
_DRAWN |= {("bernoulli", d.name): dt.float32 for d in dt.DTYPES}


def _normal_halves(engine: Any, n: int, args: tuple[Any, ...]) -> Any:
    """Of halves PyTorch draws whole blocks of sixteen only, and then the last sixteen anew."""
    head = _call(engine, "normal", n // 16 * 16, dt.float32, args)
    tail = _call(engine, "normal", 16, dt.float32, args)
    return bytes(head)[: 4 * (n - 16)] + bytes(tail)


def _call(engine: Any, kind: str, n: int, work: DType, args: tuple[Any, ...]) -> Any:
    out = (
        getattr(engine, kind)(n, work.name, *args)
        if kind in ("uniform", "normal", "exponential")
        else getattr(engine, kind)(n, *args)
    )
    if hasattr(out, "astype"):
        return memoryview(out.astype(work.numpy_name)).cast("B") if n else b""
    return out


def _check_float(dtype: DType) -> None:
    if not dtype.is_floating_point:
        from .promotion import title

        raise RuntimeError(f"\"check_uniform_bounds\" not implemented for '{title(dtype)}'")


def _check_bounds(low: int, high: int | None) -> None:
    if high is None or high <= low:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )


def _new(kind: str, size: tuple[Any, ...], kw: dict[str, Any], *args: Any) -> Tensor:
    size = kw.pop("size", size)
    generator = kw.pop("generator", None)
    requires_grad, out = kw.pop("requires_grad", False), kw.pop("out", None)
    for ignored in ("layout", "pin_memory", "memory_format", "names"):
        kw.pop(ignored, None)
    dtype, made = _place(kw.pop("dtype", None), kw.pop("device", None))
    if kw:
        raise TypeError(f"unexpected keyword argument '{next(iter(kw))}'")
    _check_float(dtype)
    shape = sizes(size if isinstance(size, tuple) else (size,))
    x = _below(draw(kind, shape, dtype, made, generator, *args), kind, args)
    if out is not None:
        return out._resized(shape)._write(x)
    return x.requires_grad_() if requires_grad else x


def _below(x: Tensor, kind: str, args: tuple[Any, ...]) -> Tensor:
    """Halves of uniform numbers may round up to the bound that is not theirs: they become the
    lower one, as in PyTorch."""
    if kind != "uniform" or x.dtype.itemsize > 2:
        return x
    low, high = args
    return x.masked_fill(x == high, low)


def rand(*size: Any, **kw: Any) -> Tensor:
    """Uniform in [0, 1)."""
    return _new("uniform", size, kw, 0.0, 1.0)


def randn(*size: Any, **kw: Any) -> Tensor:
    """Standard normal."""
    return _new("normal", size, kw, 0.0, 1.0)


def randint(
    *args: Any, low: int = 0, high: int | None = None, size: Any = None, **kw: Any
) -> Tensor:
    """Integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``."""
    rest = list(args)
    if size is None:
        size = rest.pop()
    if len(rest) == 2:
        low, high = rest
    elif rest:
        high = rest[0]
    _check_bounds(low, high)
    generator, requires_grad = kw.pop("generator", None), kw.pop("requires_grad", False)
    dtype, made = _place(kw.pop("dtype", None) or dt.int64, kw.pop("device", None))
    x = draw(
        "randint",
        sizes((size,) if not isinstance(size, tuple | list) else tuple(size)),
        dtype,
        made,
        generator,
        int(low),
        int(high or 0),
    )
    return x.requires_grad_() if requires_grad else x


def randperm(
    n: int, *, generator: Any = None, dtype: DType = dt.int64, device: Any = None, **_: Any
) -> Tensor:
    """A random order of 0 … n-1."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    made = runtime.resolve(device)
    buffer = _sent(made, dt.int64, n, generator, _permuted, n)
    return Tensor._wrap(cast(leaf(buffer, (n,), dt.int64), dtype), made)


def _permuted(engine: Any, n: int) -> Any:
    data = engine.randperm(n)
    if not n:
        return b""
    return memoryview(data.astype("int64")).cast("B") if hasattr(data, "astype") else data


def drawn_like(input: Tensor, kind: str, *args: Any, **kw: Any) -> Tensor:
    """Numbers in the shape of another tensor, drawn in the order of that one's memory."""
    like = input.detach()
    for ignored in ("layout", "pin_memory", "memory_format"):
        kw.pop(ignored, None)
    generator, requires_grad = kw.pop("generator", None), kw.pop("requires_grad", False)
    dtype, device = kw.pop("dtype", None) or like.dtype, kw.pop("device", None)
    if kw:
        raise TypeError(f"unexpected keyword argument '{next(iter(kw))}'")
    if kind != "randint":
        _check_float(dtype)
    made = like.storage.device if device is None else runtime.resolve(device)
    x = Tensor._like(_in_order(_order(like), like._shape, kind, dtype, made, generator, args))
    return x.requires_grad_() if requires_grad else x


def _order(x: Tensor) -> list[int]:
    """The dimensions as they lie in memory, outermost first; one that repeats stays in place."""
    order = [*range(x.ndim)][::-1]
    for i in range(1, x.ndim):
        low = i
        for high in range(i - 1, -1, -1):
            a, b = x._strides[order[high]], x._strides[order[low]]
            bigger = a - b or x._shape[order[high]] - x._shape[order[low]]
            if 0 in (a, b) or (a == b and bigger <= 0):
                continue
            if bigger < 0:
                break
            order[high], order[low] = order[low], order[high]
            low = high
    long = [d for d in order if x._shape[d] > 1]
    return [*range(x.ndim)] if long == sorted(long, reverse=True) else order[::-1]


def _in_order(
    order: list[int], size: Shape, kind: str, dtype: DType, device: Any, generator: Any,
    args: tuple[Any, ...], serial: bool = False,
) -> Tensor:  # fmt: skip
    """Numbers of a shape, drawn along its dimensions in the given order."""
    shape = tuple(size[d] for d in order)
    if kind == "normal" and (serial or order != [*range(len(order))]):
        x = _serial(numel(shape), dtype, device, generator, args).reshape(shape)
    else:
        x = _below(draw(kind, shape, dtype, device, generator, *args), kind, args)
    return x.permute([order.index(d) for d in range(len(order))]) if order else x


def rand_like(input: Tensor, **kw: Any) -> Tensor:
    """Uniform in the shape of another tensor."""
    return drawn_like(input, "uniform", 0.0, 1.0, **kw)


def randn_like(input: Tensor, **kw: Any) -> Tensor:
    """Standard normal in the shape of another tensor."""
    return drawn_like(input, "normal", 0.0, 1.0, **kw)


def randint_like(input: Tensor, low: int, high: int | None = None, **kw: Any) -> Tensor:
    """Integers in the shape of another tensor."""
    bounds = (0, low) if high is None else (low, high)
    _check_bounds(*bounds)
    return drawn_like(input, "randint", *map(int, bounds), **kw)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Any = None, **kw: Any
) -> Tensor:
    """Normal with the given means and deviations, numbers or tensors."""
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        return _new(
            "normal", sizes((size,)), {**kw, "generator": generator}, float(mean), float(std)
        )
    like = mean if isinstance(mean, Tensor) else std
    shape = (mean + std * 0)._shape
    x = draw("normal", shape, like.dtype, like.storage.device, generator, 0.0, 1.0)
    return x * std + mean


def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability given by each element (or by ``p``)."""
    device, order = input.storage.device, [*range(input.ndim)]
    if p is not None:
        return draw("bernoulli", input._shape, input.dtype, device, generator, float(p))
    return _flips(input, order, device, generator).to(input.dtype)


def _flips(p: Tensor, order: list[int], device: Any, generator: Any) -> Tensor:
    """True with the probability given by each element, drawn along the dimensions in an order."""
    work = dt.float64 if p.dtype is dt.float64 else dt.float32
    return _in_order(order, p._shape, "uniform", work, device, generator, (0.0, 1.0)) < p


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Indices drawn with probability proportional to the weights of each row."""
    x = input.detach()
    if not x.dtype.is_floating_point:
        raise RuntimeError("multinomial only supports floating-point dtypes for input")
    if x.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    n = x._shape[-1]
    if not replacement and num_samples > n:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    bad = (x < 0) | ~x.isfinite()
    if bool(bad.any()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not replacement or num_samples == 1:
        q = draw("exponential", x._shape, dt.float32, x.storage.device, generator, 1.0)
        ratio = x / q
        return ratio.topk(num_samples, -1)[1] if num_samples > 1 else ratio.argmax(-1, keepdim=True)
    return _searched(x, num_samples, generator)


def _searched(x: Tensor, k: int, generator: Any) -> Tensor:
    """Where uniform doubles fall among the running sums; on the host, as not every device has
    doubles."""
    home = x.storage.device
    x = x.cpu()
    total = x.cumsum(-1)
    total = (total / total.narrow(-1, x._shape[-1] - 1, 1)).to(dt.float64)
    u = draw("uniform", (*x._shape[:-1], k), dt.float64, "cpu", generator, 0.0, 1.0)
    found = (total.unsqueeze(-2) < u.unsqueeze(-1)).sum(-1).clamp(max=x._shape[-1] - 1)
    return found.to(home)


def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson counts with the given rates, by inverting products of uniforms."""
    raise NotImplementedError("poisson: use numpy.random.poisson and tensor()")


def _fill(self: Tensor, kind: str, generator: Any, *args: Any, serial: bool = False) -> Tensor:
    """Drawn numbers in this tensor's shape, in the order of its memory."""
    device = self.storage.device
    serial = serial or not self.is_contiguous()
    return _in_order(_order(self), self._shape, kind, self.dtype, device, generator, args, serial)


def _serial(n: int, dtype: DType, device: Any, generator: Any, args: tuple[Any, ...]) -> Tensor:
    """Normal numbers one after another: PyTorch draws 16 and more in another way, but not here."""
    from .functions.movement import cat

    parts = [
        draw("normal", (min(15, n - i),), dtype, device, generator, *args) for i in range(0, n, 15)
    ]
    return cat(parts) if parts else draw("normal", (0,), dtype, device, generator, *args)


# --- in place -----------------------------------------------------------------------------------


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **kw: Any
) -> Tensor:
    """Fills with uniform numbers in [from, to)."""
    low = float(kw.get("from", kw.get("a", from_)))
    if low > to:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={to}"
        )
    return self._write(_fill(self, "uniform", generator, low, float(to)))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with normal numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return self._write(_fill(self, "normal", generator, float(mean), float(std)))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fills with 0 and 1."""
    if isinstance(p, Tensor):
        chances = p.detach().expand(self._shape)
        flips = _flips(chances, _order(self), self.storage.device, generator)
        return self._write(flips.to(self.dtype))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return self._write(_fill(self, "bernoulli", generator, float(p)))


_DIGITS = {
    "float32": 1 << 24, "float64": 1 << 53, "float16": 1 << 11, "bfloat16": 1 << 8,
    "int64": (1 << 63) - 1, "int32": (1 << 31) - 1, "int16": (1 << 15) - 1, "int8": 127,
    "uint8": 255, "bool": 1,
}  # fmt: skip


def random_(
    self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Any = None
) -> Tensor:
    """Fills with integers in [from, to), or all the dtype holds."""
    if from_ is not None and to is None:
        from_, to = 0, from_
    if to is None and self.dtype is dt.int32:  # one draw of 32 bits, wide as the range is
        x = draw("words", self._shape, dt.int32, self.storage.device, generator)
        return self._write(x & 0x7FFFFFFF)
    if to is None:
        top = _DIGITS[self.dtype.name] + 1
        x = draw("randint", self._shape, dt.int64, self.storage.device, generator, 0, top)
        return self._write(x.to(self.dtype))
    low = int(from_ or 0)
    x = draw("randint", self._shape, dt.int64, self.storage.device, generator, low, int(to))
    return self._write(x.to(self.dtype))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fills with exponential numbers of rate ``lambd``."""
    return self._write(_fill(self, "exponential", generator, float(lambd)))


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Any = None
) -> Tensor:
    """Fills with exponentials of normal numbers."""
    x = _fill(self, "normal", generator, float(mean), float(std), serial=True)
    return self._write(x.exp())


__all__ = [
    "Generator", "bernoulli", "default_generator", "fork_rng", "get_rng_state", "initial_seed",
    "manual_seed", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip
METHODS = {
    "uniform_": uniform_, "normal_": normal_, "bernoulli_": bernoulli_, "random_": random_,
    "exponential_": exponential_, "log_normal_": log_normal_, "multinomial": multinomial,
    "bernoulli": bernoulli,
}  # fmt: skip
