"""The differentiable ops: rows that are more than an expression, and the door all go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from .. import autograd
from ..autograd.tape import mode
from ..dtypes import DType, float32, int32
from ..errors import index_code
from ..graph import Node, cast, const, elementwise, iota, view
from ..ir import FEW_ROWS
from ..shape import Shape, broadcast_shapes, contiguous_strides, numel, overlaps_itself
from ..tensor import Tensor
from .row import Row

Geometry = tuple[Shape, Shape, int]  # shape, strides, offset


def apply(row: Row, *xs: Any, **kw: Any) -> Tensor:
    """Runs a row on tensors: makes the node, writes the tape entry."""
    node = row.node(*[x.node() for x in xs], **kw)
    out = Tensor._wrap(node, device_of(row.name, xs))
    if mode.grad and node.dtype.is_floating_point:
        for x in xs:
            if x._requires_grad:
                autograd.record(row, xs, out, kw)
                break
    return out


def device_of(name: str, xs: Sequence[Any]) -> Any:
    """The one device of the operands; a 0-d tensor of the host may join any."""
    device = xs[0].storage.device
    for x in xs:
        if x.storage.device is not device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{device} and {x.storage.device}! (when checking argument in method {name}; "
                "move one with tensor.to(device))"
            )
    return device


# --- views: one geometry rule each -----------------------------------------------------------


class ViewRow(Row):
    """A row whose result shares storage: ``geometry`` maps (shape, strides, offset) to new ones."""

    __slots__ = ("geometry",)

    def __init__(
        self, name: str, geometry: Callable[..., Geometry], grad: Callable[..., Any] | None = None
    ) -> None:
        def unview(g: Any, shape: Shape, kw: dict[str, Any]) -> Any:
            return place(g, shape, geometry(shape, contiguous_strides(shape), 0, **kw))

        super().__init__(name, "x", _no_node, {"x": grad or unview})
        self.geometry = geometry


def _no_node(*_: Any) -> Node:
    raise TypeError("a view makes no node of its own")


def apply_view(row: ViewRow, x: Tensor, **kw: Any) -> Tensor:
    """A window on the same storage."""
    if x._origin and mode.grad:
        _ = x.grad_fn  # raises for one of many views that was overwritten
    out = x._window(*row.geometry(x._shape, x._strides, x._offset, **kw))
    if mode.grad and (x._requires_grad or (x._base is not None and x.requires_grad)):
        autograd.record(row, (x,), out, {"shape": x._shape, "kw": kw, **kw})
    return out


def place(g: Tensor, shape: Shape, geometry: Geometry) -> Tensor:
    """Zeros of ``shape`` with ``g`` at a window: added where the window overlaps itself."""
    if not numel(shape):
        return g.new_zeros(shape)
    if overlaps_itself(geometry[0], geometry[1]):
        index = Tensor._wrap(iota(*geometry, int32), g.storage.device).reshape(-1)
        flat = g.new_zeros((numel(shape),))
        return scatter(flat, index, g.reshape(-1), "add").reshape(shape)
    return store(g.new_zeros(shape), g, geometry)


# --- store: a value with a window of it replaced ----------------------------------------------


def _store_node(base: Node, value: Node, geometry: Geometry) -> Node:
    if not numel(geometry[0]):
        return base
    return Node("store", (base, value), base.shape, base.dtype, (geometry[1], geometry[2]))


# a number written over a value with history
FILL = Row("fill", "x", lambda x: x, {"x": lambda g: g.new_zeros(g._shape)})
STORE = Row("store", "base value", _store_node, {
    "base": lambda g, geometry: store(g, g.new_zeros(geometry[0]), geometry),
    "value": lambda g, geometry: window(g, geometry),
})  # fmt: skip


def store(base: Tensor, value: Tensor, geometry: Geometry) -> Tensor:
    """``base`` with ``value`` written at ``geometry`` of its linear numbering; a new tensor."""
    return apply(STORE, base, value, geometry=geometry)


def window(x: Tensor, geometry: Geometry) -> Tensor:
    """A window on the linear numbering of ``x``, as a value."""
    return apply(WINDOW, x, geometry=geometry)


WINDOW = Row("as_strided", "x", lambda x, geometry: view(x, *geometry), {
    "x": lambda g, x_shape, geometry: place(g, x_shape, geometry),
})  # fmt: skip


# --- reductions ---------------------------------------------------------------------------------


@lru_cache(4096)
def _reduced(shape: Shape, dims: Shape, keepdim: bool) -> tuple[Shape, Geometry | None]:
    """The result's shape, and the view that has ``dims`` last if they are not."""
    n = len(shape)
    kept = tuple(d for d in range(n) if d not in dims)
    order = kept + dims
    out = tuple((1 if d in dims else shape[d]) for d in (range(n) if keepdim else kept))
    if order == tuple(range(n)):
        return out, None
    strides = contiguous_strides(shape)
    return out, (tuple(shape[d] for d in order), tuple(strides[d] for d in order), 0)


def reduce_node(x: Node, kind: str, dims: Shape, keepdim: bool) -> Node:
    out, seen = _reduced(x.shape, dims, keepdim)
    if seen:
        x = view(x, *seen)
    if not dims:
        return Node("copy", (x,), out, x.dtype)
    return Node("reduce", (x,), out, x.dtype, (kind, len(dims)))


def _spread(g: Tensor, shape: Shape, dims: Shape, keepdim: bool) -> Tensor:
    """The gradient of a sum: the same for every element summed."""
    if not keepdim:
        g = g.reshape(tuple(1 if d in dims else n for d, n in enumerate(shape)))
    return g.expand(shape)


def _reduce_kw(x: Tensor, kind: str, dims: Shape, keepdim: bool) -> dict[str, Any]:
    return {"kind": kind, "dims": tuple(sorted(dims)), "keepdim": keepdim}


SUM = Row("sum", "x", reduce_node, {
    "x": lambda g, x_shape, dims, keepdim: _spread(g, x_shape, dims, keepdim),
})  # fmt: skip


def _grad_extreme(g: Any, x: Any, out: Any, dims: Shape, keepdim: bool) -> Any:
    out, g = (_spread(t, x._shape, dims, keepdim) for t in (out, g))
    mask = (x == out) | (x.isnan() & out.isnan())
    return g * mask / mask.sum(dims, keepdim=True)


EXTREME = Row("amax", "x", reduce_node, {"x": _grad_extreme})


def _grad_prod(g: Any, x: Any, out: Any, dims: Shape, keepdim: bool) -> Any:
    """Product of all others: forward and backward running products, right when zeros occur."""
    kept = tuple(d for d in range(x.ndim) if d not in dims)
    order = kept + dims
    rows = tuple(x._shape[d] for d in kept)
    n = numel(tuple(x._shape[d] for d in dims))
    flat = x.permute(order).reshape((*rows, n))
    if not x.numel():
        return x.new_zeros(x._shape)
    one = flat.new_ones((*rows, 1))
    left = one if n == 1 else _cat_last(one, flat.narrow(-1, 0, n - 1)).cumprod(-1)
    right = (
        one if n == 1 else (_cat_last(one, flat.narrow(-1, 1, n - 1).flip(-1)).cumprod(-1).flip(-1))
    )
    others = (left * right).reshape(tuple(x._shape[d] for d in order))
    back = tuple(order.index(d) for d in range(x.ndim))
    return _spread(g, x._shape, dims, keepdim) * others.permute(back)


def _cat_last(a: Tensor, b: Tensor) -> Tensor:
    from ..functions.movement import cat

    return cat([a, b], -1)


PROD = Row("prod", "x", reduce_node, {"x": _grad_prod})
_REDUCE = {"sum": SUM, "prod": PROD, "max": EXTREME, "min": EXTREME}


def reduce(x: Tensor, kind: str, dims: Shape, keepdim: bool = False) -> Tensor:
    """Sum, product, maximum or minimum over ``dims``."""
    return apply(_REDUCE[kind], x, **_reduce_kw(x, kind, dims, keepdim))


# --- take and scatter: all indexing -------------------------------------------------------------


def _take_node(x: Node, index: Node, tail: Shape) -> Node:
    if tail:
        n, row = len(tail), index.shape
        begin = elementwise("mul", (index, const(numel(tail), int32)), int32)
        begin = view(begin, (*row, *(1,) * n), (*contiguous_strides(row), *(1,) * n), 0)
        along = iota((*row, *tail), (*(0,) * len(row), *contiguous_strides(tail)), 0, int32)
        index = elementwise("add", (along, begin), int32)
    return Node("take", (x, index), index.shape, x.dtype, numel(x.shape))


TAKE = Row("take", "x index", _take_node, {
    "x": lambda g, x_shape, index: scatter(
        g.new_zeros((numel(x_shape),)), index, g, "add"
    ).reshape(x_shape),
})  # fmt: skip


def take(x: Tensor, index: Tensor, tail: Shape = ()) -> Tensor:
    """``x`` read at positions of its linear numbering, which counts rows of the shape ``tail``;
    ``index`` is int32 and already in range."""
    return apply(TAKE, x, index, tail=tail)


def _scatter_node(base: Node, index: Node, value: Node, mode: str) -> Node:
    if not numel(value.shape):
        return base
    return Node("scatter", (base, index, value), base.shape, base.dtype, mode)


def _grad_scatter_base(g: Any, base: Any, index: Any, value: Any, out: Any, mode: str) -> Any:
    if mode == "add":
        return g
    if mode == "set":
        return scatter(g, index, value.new_zeros(value._shape), "set")
    if mode == "prod":
        return g * scatter(base.new_ones(base._shape), index, value, "prod")
    return g * (base == out) / _winners(base, index, value, out)


def _grad_scatter_value(g: Any, base: Any, index: Any, value: Any, out: Any, mode: str) -> Any:
    tail = value._shape[index.ndim :]
    picked = take(g, index, tail)
    if mode in ("add", "set"):
        return picked
    mine = take(out, index, tail)
    if mode == "prod":
        return picked * mine / value
    winners = _winners(base, index, value, out)
    return picked * (value == mine) / take(winners, index, tail)


def _winners(base: Tensor, index: Tensor, value: Tensor, out: Tensor) -> Tensor:
    hit = (value == take(out, index, value._shape[index.ndim :])).to(base.dtype)
    return scatter((base == out).to(base.dtype), index, hit, "add").clamp(min=1)


SCATTER = Row("scatter", "base index value", _scatter_node, {
    "base": _grad_scatter_base, "value": _grad_scatter_value,
})  # fmt: skip


def scatter(base: Tensor, index: Tensor, value: Tensor, mode: str = "set") -> Tensor:
    """A copy of flat ``base`` with ``value`` put, added, multiplied … at flat positions. What
    ``value`` has of dimensions beyond those of ``index`` is a row, and rows are what it counts."""
    return apply(SCATTER, base, index, value, mode=mode)


def checked_index(
    index: Tensor, size: int, dim: int, from_end: bool = False, error: str = "index"
) -> Tensor:
    """An index tensor as int32 positions in ``[0, size)``, checked on the device: an index outside
    raises the error of that name (errors.py) at the next read. A negative one is outside, or counts
    from the end."""
    node = checked_node(index.node(), size, dim, from_end, error)
    return Tensor._wrap(node, index.storage.device)


def checked_node(
    index: Node, size: int, dim: int, from_end: bool = False, error: str = "index"
) -> Node:
    """``checked_index`` of a value."""
    arg = (size, index_code(error, dim, size), size * from_end)
    return cast(elementwise("index", (index,), index.dtype, arg), int32)


# --- matmul, convolution, scan, sort ----------------------------------------------------------


def _matmul_node(a: Node, b: Node) -> Node:
    """(…, M, K) × (…, K, N) with equal or size-1 batch dimensions, both at least 2-d."""
    shape = (*broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if not numel(shape) or not a.shape[-1]:
        return const(0, a.dtype, shape)
    return Node("matmul", (a, b), shape, a.dtype)


MATMUL: Row = Row("mm", "a b", _matmul_node, {
    "a": lambda g, b: apply(MATMUL, g, b.mT), "b": lambda g, a: apply(MATMUL, a.mT, g),
})  # fmt: skip


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Batched matrix product of floating tensors of one dtype, at least 2-d."""
    return apply(MATMUL, a, b)


def _linear_node(x: Node, w: Node, scale: Node, bits: int, group: int) -> Node:
    m, k, n = *x.shape, w.shape[0]
    return Node("linear", (x, w, scale), (m, n), float32, (m, n, k, bits, group))


LINEAR = Row("linear", "x w scale", _linear_node, {
    "x": lambda g, w, scale, bits, group: matmul(g, unpacked(w, scale, bits, group)),
})  # fmt: skip


def linear(x: Tensor, w: Tensor, scale: Tensor, bits: int, group: int) -> Tensor:
    """x · Wᵀ of float32 (M, K) and a weight (N, K) of 4 or 8 bits in words of int32, with a
    ``scale`` (N, K / group); K and the group are multiples of 32."""
    if w._shape[0] and 0 < x._shape[0] <= FEW_ROWS:
        return apply(LINEAR, x, w, scale, bits=bits, group=group)
    return matmul(x, unpacked(w, scale, bits, group).mT)


def unpacked(w: Tensor, scale: Tensor, bits: int, group: int) -> Tensor:
    """Packed weights as float32 (N, K). Of four words of int4 the lower halves come first."""
    n, words = w._shape
    halves, k = 8 // bits, words * 32 // bits
    left = iota((halves, 1, 4), (-4, 0, -8), 20 + 4 * halves, int32)  # to the top, then down
    q = w.reshape(n, words // 4, 1, 4, 1) << Tensor._wrap(left, w.storage.device)
    y = (q >> 32 - bits).reshape(n, k // group, group).to(float32) * scale.unsqueeze(-1)
    return y.reshape(n, k)


def packed(q: Tensor, bits: int) -> Tensor:
    """Integers (N, K) of that many bits as the words that ``unpacked`` takes apart."""
    n, k = q._shape
    halves = 8 // bits
    q = q.to(int32).reshape(n, k // 16 // halves, halves, 4, 4) & (1 << bits) - 1
    w = q[:, :, 0, :, 0]
    for at in range(1, 4 * halves):
        w = w | q[:, :, at % halves, :, at // halves] << at * bits
    return w.reshape(n, k * bits // 32)


def _attention_node(q: Node, k: Node, v: Node, *mask: Node, scale: float, causal: bool) -> Node:
    xs = [Node("", (), x.shape[:-2], q.dtype) for x in (q, k, v, *mask)]
    shape = (*elementwise("", tuple(xs), q.dtype).shape, q.shape[-2], v.shape[-1])
    if not numel(shape) or not k.shape[-2]:
        return const(0, q.dtype, shape)
    return Node("attention", (q, k, v, *mask), shape, q.dtype, (scale, causal))


def _attention_grad_node(
    q: Node, k: Node, v: Node, g: Node, shares: Node, *mask: Node, scale: float, causal: bool
) -> Node:
    (t, e), (s, d) = g.shape[-2:], k.shape[-2:]
    flat = (numel(g.shape[:-2]) * (t * d + s * d + s * e + t),)
    return Node("attention_grad", (q, k, v, g, shares, *mask), flat, q.dtype, (scale, causal))


# their gradients: nn/functional/_attention.py
ATTENTION = Row("scaled_dot_product_attention", "query key value mask", _attention_node)
ATTENTION_GRAD = Row("scaled_dot_product_attention_backward", "", _attention_grad_node)


class Conv(tuple[int, ...]):
    """The 16 numbers of a convolution: N C H W O KH KW OH OW sh sw ph pw dh dw groups."""

    __slots__ = ()

    @property
    def x(self) -> Shape:
        """Shape of the input (N, C, H, W)."""
        return self[:4]

    @property
    def w(self) -> Shape:
        """Shape of the weight (O, C / groups, KH, KW)."""
        return (self[4], self[1] // self[15], self[5], self[6])

    @property
    def y(self) -> Shape:
        """Shape of the output (N, O, OH, OW)."""
        return (self[0], self[4], self[7], self[8])


def _conv_node(op: str, shape: str) -> Callable[..., Node]:
    def node(a: Node, b: Node, conv: Conv) -> Node:
        out = getattr(conv, shape)
        if not numel(a.shape) or not numel(b.shape) or not numel(out):
            return const(0, a.dtype, out)
        return Node(op, (a, b), out, a.dtype, tuple(conv))

    return node


# each of the three is bilinear; the gradient of one is made of the other two
CONV: Row = Row("convolution", "x w", _conv_node("conv2d", "y"), {
    "x": lambda g, w, conv: apply(CONV_INPUT, g, w, conv=conv),
    "w": lambda g, x, conv: apply(CONV_WEIGHT, g, x, conv=conv),
})  # fmt: skip
CONV_INPUT: Row = Row("convolution_input", "g_ w", _conv_node("conv2d_input", "x"), {
    "g_": lambda g, w, conv: apply(CONV, g, w, conv=conv),
    "w": lambda g, g_, conv: apply(CONV_WEIGHT, g_, g, conv=conv),
})  # fmt: skip
CONV_WEIGHT: Row = Row("convolution_weight", "g_ x", _conv_node("conv2d_weight", "w"), {
    "g_": lambda g, x, conv: apply(CONV, x, g, conv=conv),
    "x": lambda g, g_, conv: apply(CONV_INPUT, g_, g, conv=conv),
})  # fmt: skip


def conv2d(
    x: Tensor, w: Tensor, stride: Shape, padding: Shape, dilation: Shape, groups: int
) -> Tensor:
    """Cross-correlation of (N, C, H, W) with (O, C / groups, KH, KW), no bias; shapes checked by
    the caller."""
    (n, c, h, wd), (o, _, kh, kw) = x._shape, w._shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    oh = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (wd + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    conv = Conv((n, c, h, wd, o, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, groups))
    return apply(CONV, x, w, conv=conv)


def conv2d_input(
    g: Tensor,
    w: Tensor,
    size: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Tensor:
    """The transposed convolution: from (N, O, OH, OW) to (N, C, *size); ``w`` as in conv2d."""
    (n, o, oh, ow), (_, cg, kh, kw) = g._shape, w._shape
    conv = Conv((n, cg * groups, *size, o, kh, kw, oh, ow, *stride, *padding, *dilation, groups))
    return apply(CONV_INPUT, g, w, conv=conv)


def _scan_node(x: Node, kind: str) -> Node:
    if not numel(x.shape):
        return x
    return Node("scan", (x,), x.shape, x.dtype, kind)


SCAN: Row = Row("cumsum", "x", _scan_node, {
    "x": lambda g, kind: apply(SCAN, g.flip(-1), kind=kind).flip(-1),
})  # fmt: skip


def scan(x: Tensor, kind: str) -> Tensor:
    """Running sum (differentiable), product, maximum or minimum along the last dimension."""
    if kind == "sum":
        return apply(SCAN, x, kind=kind)
    return Tensor._wrap(_scan_node(x.node(), kind), x.storage.device)


def sort_permutation(keys: Tensor, first: int | None = None) -> Tensor:
    """Stable ascending order of integer keys along the last dimension, as int32 positions. Where
    only the ``first`` are wanted, those behind them are undefined."""
    node = keys.node()
    out = (
        Node("sort", (node,), node.shape, int32, first) if numel(node.shape) else cast(node, int32)
    )
    return Tensor._wrap(out, keys.storage.device)


def arange_node(n: int, dtype: DType = int32) -> Node:
    """0 … n-1 without memory."""
    return iota((n,), (1,), 0, dtype)


def as_float(node: Node) -> Node:
    """A value in float32 at least."""
    return cast(node, float32) if not node.dtype.is_floating_point else node
