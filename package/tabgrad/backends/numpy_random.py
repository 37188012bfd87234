"""PyTorch's CPU generator in numpy: mt19937 with PyTorch's samplers, number for number.

``wasm_kernels/random.c`` is the same in C. Sixteen and more float32 normal samples go through the
logarithm, sine and cosine that PyTorch uses on x86 (Cephes polynomials in fused multiply-adds),
which differ from the C library's in the last bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TWO_PI = 6.283185307179586


class MT19937:
    """A stream of 32-bit numbers, and PyTorch's ways to turn them into samples."""

    def __init__(self, seed: int = 5489) -> None:
        self.bits = np.random.MT19937()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Starts the stream that ``torch.manual_seed(seed)`` starts."""
        self.bits._legacy_seeding(seed & 0xFFFFFFFF)  # init_genrand, unlike the seeding of numpy
        self.initial = seed & 0xFFFFFFFFFFFFFFFF
        self.cached: float | None = None  # the second normal sample of a pair

    def get_state(self) -> tuple[int, int, Any, float | None]:
        state = self.bits.state["state"]
        return (self.initial, int(state["pos"]), state["key"].copy(), self.cached)

    def set_state(self, state: tuple[int, int, Any, float | None]) -> None:
        self.initial, position, key, self.cached = state
        inner: Any = {"key": np.array(key, np.uint32), "pos": position}
        self.bits.state = {"bit_generator": "MT19937", "state": inner}

    def random(self, n: int) -> Any:
        """n draws of 32 bits."""
        return self.bits.random_raw(n).astype(np.uint32)

    def random64(self, n: int) -> Any:
        """n draws of 64 bits, the upper half first."""
        pairs = self.bits.random_raw(2 * n).astype(np.uint64).reshape(n, 2)
        return pairs[:, 0] << np.uint64(32) | pairs[:, 1]

    def uniform(self, n: int, dtype: str = "float32", lo: float = 0.0, hi: float = 1.0) -> Any:
        """n samples of [lo, hi), float32 or float64; narrow floats are rounded from float32."""
        if dtype == "float64":
            return self._doubles(n) * (hi - lo) + lo
        x = (self.random(n) & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)
        lo32, hi32 = np.float32(lo), np.float32(hi)
        # rounded once, as the fused multiply-add that PyTorch's build uses
        return (x.astype(np.float64) * float(hi32 - lo32) + float(lo32)).astype(np.float32)

    def _doubles(self, n: int) -> Any:
        return (self.random64(n) & np.uint64((1 << 53) - 1)).astype(np.float64) * 2.0**-53

    def normal(self, n: int, dtype: str = "float32", mean: float = 0.0, std: float = 1.0) -> Any:
        """n normal samples: in blocks of sixteen, or one by one when there are fewer."""
        if n < 16:
            samples = [self._normal() * std + mean for _ in range(n)]
            return np.array(samples, np.float64).astype(dtype)
        data = self.uniform(n, dtype)
        whole = n // 16 * 16
        data[:whole] = _box_muller(data[:whole], mean, std)
        if n % 16:  # the last sixteen are drawn anew
            data[n - 16 :] = _box_muller(self.uniform(16, dtype), mean, std)
        return data

    def _normal(self) -> float:
        if self.cached is not None:
            sample, self.cached = self.cached, None
            return sample
        u1, u2 = self._doubles(2)
        radius, theta = np.sqrt(-2.0 * np.log1p(-u2)), TWO_PI * u1
        self.cached = float(radius * np.sin(theta))
        return float(radius * np.cos(theta))

    def randint(self, n: int, low: int, high: int) -> Any:
        """n integers of [low, high)."""
        span = high - low
        if span >= 1 << 28:
            draws = self.random64(n) % np.uint64(span) if span < 1 << 64 else self.random64(n)
            return (draws + np.uint64(low & 0xFFFFFFFFFFFFFFFF)).view(np.int64)
        return (self.random(n).astype(np.int64) % span) + low

    def words(self, n: int) -> Any:
        """n draws of 32 bits, as int32."""
        return self.random(n).view(np.int32)

    def bernoulli(self, n: int, p: float) -> Any:
        """n bools that are true with probability p."""
        return self._doubles(n) < p

    def bernoulli_each(self, p: Any) -> Any:
        """One bool per probability, float32 or float64."""
        return self.uniform(p.size, p.dtype.name).reshape(p.shape) < p

    def randperm(self, n: int) -> Any:
        """A permutation of range(n)."""
        order = np.arange(n)
        draws = self.random(max(n - 1, 0)).astype(np.int64)
        for i, draw in enumerate(draws % np.arange(n, 1, -1)):
            order[i], order[i + draw] = order[i + draw], order[i]
        return order

    def exponential(self, n: int, dtype: str = "float32", rate: float = 1.0) -> Any:
        """n exponential samples."""
        return (-1.0 / rate * np.log1p(-self._doubles(n))).astype(dtype)


def _box_muller(data: Any, mean: float, std: float) -> Any:
    """Blocks of eight radii and eight angles → sixteen samples."""
    u = data.reshape(-1, 2, 8)
    if data.dtype == np.float64:
        radius, theta = np.sqrt(-2.0 * np.log(1.0 - u[:, 0])), TWO_PI * u[:, 1]
        out = np.stack([radius * np.cos(theta), radius * np.sin(theta)], 1)
        return (out * std + mean).reshape(-1)
    radius = np.sqrt(_f(-2) * _log(_f(1) - u[:, 0]))
    sine, cosine = _sincos(_f(TWO_PI) * u[:, 1])
    out = np.stack([radius * cosine, radius * sine], 1)
    return _fma(out, _f(std), np.full_like(out, mean)).reshape(-1)


_f = np.float32
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip


def _fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float32, rounded once (the product is exact in float64)."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y = _fma(y, x, _f(c))
    return y


def _log(x: Any) -> Any:
    bits = x.view(np.int32)
    e = ((bits >> 23) - 126).astype(np.float32)
    x = ((bits & 0x7FFFFF) | 0x3F000000).view(np.float32)
    small = x < _f(0.707106781186547524)
    e = e - small.astype(np.float32)
    x = x - _f(1) + np.where(small, x, _f(0))
    z = x * x
    y = _fma(_polynomial(x, _LOG) * x, z, e * _f(-2.12194440e-4))
    x = x + _fma(z, _f(-0.5), y)
    return _fma(e, _f(0.693359375), x)


def _sincos(x: Any) -> tuple[Any, Any]:
    octant = ((x * _f(1.27323954473516)).astype(np.int32) + 1) & ~1
    y = octant.astype(np.float32)
    for part in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8):  # of -pi / 4
        x = _fma(y, _f(part), x)
    z = x * x
    c = _polynomial(z, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)) * z
    c = _fma(c, z, z * _f(-0.5)) + _f(1)
    s = _polynomial(z, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)) * z
    s = _fma(s, x, x)
    swap = (octant & 2) != 0
    sine, cosine = np.where(swap, c, s), np.where(swap, s, c)
    sine = np.where(octant & 4, -sine, sine)
    return sine, np.where(~(octant - 2) & 4, -cosine, cosine)
