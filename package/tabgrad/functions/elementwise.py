"""Elementwise functions: thin doors to the op table, and compositions of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import autograd
from .. import dtypes as dt
from ..autograd.tape import mode, record
from ..dtypes import DType, bool_
from ..graph import Node, cast, const, elementwise, number
from ..ops.elementwise import ELEMENTWISE
from ..ops.functional import device_of
from ..ops.row import Elementwise
from ..promotion import fit, number_category, result_type, title, with_number
from ..shape import broadcast_shapes
from ..tensor import Tensor

_RECORDED = {name for name, row in ELEMENTWISE.items() if any(row.grads)}
_ON_BOOLS = {"add": ELEMENTWISE["or"], "mul": ELEMENTWISE["and"]}
# what PyTorch calls the kernels that are not there for a dtype
_KERNEL = {
    "floordiv": "div_floor_cpu", "pow": "pow", "floor": "floor_vml_cpu", "ceil": "ceil_vml_cpu",
    "round": "round_vml_cpu", "trunc": "trunc_vml_cpu", "and": "bitwise_and_cpu",
    "or": "bitwise_or_cpu", "xor": "bitwise_xor_cpu", "shl": "lshift_cpu", "shr": "rshift_cpu",
    "not": "bitwise_not_cpu",
}  # fmt: skip


def _missing(name: str, dtype: DType) -> NotImplementedError:
    kernel = _KERNEL.get(name, f"{name}_cpu")
    return NotImplementedError(f"\"{kernel}\" not implemented for '{title(dtype)}'")


def _finish(row: Elementwise, srcs: tuple[Node, ...], out: DType, xs: tuple[Any, ...]) -> Tensor:
    """Makes the result and writes the tape entry."""
    device, track = None, False
    for x in xs:
        if isinstance(x, Tensor):
            if device is None:
                device = x.storage.device
            elif x.storage.device is not device:
                device = device_of(row.name, [t for t in xs if isinstance(t, Tensor)])
            if x._requires_grad:
                track = True
    y = Tensor._wrap(elementwise(row.name, srcs, out), device)
    if track and mode.grad and out.is_floating_point and row.name in _RECORDED:
        record(row, xs, y, {})
    return y


def unary(name: str, x: Tensor, label: str = "") -> Tensor:
    """A row of one input; integers go to the default float where the row is floating only."""
    row = ELEMENTWISE[name]
    if not isinstance(x, Tensor):
        raise _not_tensor(name, x)
    dtype = x.dtype
    if dtype.compute not in row.types:
        if row.types != "fd":
            raise _missing(name, dtype)
        dtype = dt.get_default_dtype()
    y = _finish(row, (cast(x.node(), dtype),), dt.bool_ if row.result == "bool" else dtype, (x,))
    if label and y._grad_fn is not None:
        y._grad_fn.label = label
    return y


def _not_tensor(name: str, x: Any, argument: str = "'input' (position 1)") -> TypeError:
    return TypeError(f"{name}(): argument {argument} must be Tensor, not {type(x).__name__}")


def binary(name: str, a: Any, b: Any, dtype: DType | None = None) -> Tensor:
    """A row of two inputs, tensors or numbers, by PyTorch's promotion."""
    row = ELEMENTWISE[name]
    at = a  # whose device the result is on
    if isinstance(b, Tensor):
        if isinstance(a, Tensor):
            if dtype is None:
                dtype = a.dtype if a.dtype is b.dtype else result_type(a, b)
            x, y = a.node(), b.node()
            if a.storage.device is not b.storage.device:
                at, x, y = _joined(a, b)
            track = a._requires_grad or b._requires_grad
        else:
            dtype = dtype or with_number(b.dtype, a)
            at, x, y, track = b, _number(a, dtype), b.node(), b._requires_grad
    elif isinstance(a, Tensor):
        if dtype is None:
            dtype = a.dtype
            if type(b) is not float or not dtype.is_floating_point:
                dtype = with_number(dtype, b)
        x, y, track = a.node(), _number(b, dtype), a._requires_grad
    else:
        raise _not_tensor(name, a)
    if x.dtype is not dtype:
        x = cast(x, dtype)
    if y.dtype is not dtype:
        y = cast(y, dtype)
    if dtype is bool_ and "b" not in row.types:
        row = _on_bools(name)
    out = bool_ if row.result == "bool" else dtype
    made = Tensor._wrap(elementwise(row.name, (x, y), out), at.storage.device)
    if track and mode.grad and out.is_floating_point and name in _RECORDED:
        record(row, (a, b), made, {})
    return made


def _on_bools(name: str) -> Elementwise:
    if name not in _ON_BOOLS:
        raise _missing(name, bool_)
    return _ON_BOOLS[name]


def _number(x: Any, dtype: DType) -> Node:
    """A number as an operand: a scalar slot, so that another number finds the same plan."""
    if type(x) is not float or not dtype.is_floating_point:
        x = fit(x, dtype)
    return Node("number", (), (), dtype, x)


def _joined(a: Tensor, b: Tensor) -> tuple[Tensor, Node, Node]:
    """Operands on two devices: a 0-d tensor comes along as a number, anything else is refused."""
    if not b._shape:
        return a, a.node(), number(b.item(), b.dtype)
    if not a._shape:
        return b, number(a.item(), a.dtype), b.node()
    device_of("binary", (a, b))  # raises
    return a, a.node(), b.node()


def _floating(a: Any, b: Any = 0) -> DType:
    d = result_type(a, b)
    return d if d.is_floating_point else dt.get_default_dtype()


def _unary(name: str, label: str = "", doc: str = "") -> Callable[..., Tensor]:
    def f(input: Tensor) -> Tensor:
        return unary(name, input, label)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc or f"Elementwise ``{name}``, as ``torch.{name}``."
    return f


_FLOAT_ONLY = (
    "sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh "
    "asinh "
    "acosh atanh sigmoid erf erfc erfinv lgamma digamma reciprocal"
).split()
for _name in _FLOAT_ONLY:
    globals()[_name] = _unary(_name)


def neg(input: Tensor) -> Tensor:
    """``-input``."""
    if input.dtype is dt.bool_:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return unary("neg", input)


def abs(input: Tensor) -> Tensor:
    """Absolute value."""
    return unary("abs", input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 of nan."""
    if input.dtype is bool_:
        return input.clone()
    y = unary("sign", input)
    return where(isnan(input), 0.0, y) if input.dtype.is_floating_point else y


def sgn(input: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return sign(input)


def positive(input: Tensor) -> Tensor:
    """``+input``."""
    return input


def _rounding(name: str) -> Callable[..., Tensor]:
    def f(input: Tensor) -> Tensor:
        if input.dtype.is_floating_point:
            return unary(name, input)
        if input.dtype is bool_:
            raise _missing(name, bool_)
        return input.clone()

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"Elementwise ``{name}``, as ``torch.{name}``."
    return f


floor, ceil, trunc = _rounding("floor"), _rounding("ceil"), _rounding("trunc")


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, halves to even; ``decimals`` places."""
    if input.dtype is bool_:
        raise _missing("round", bool_)
    if not input.dtype.is_floating_point:
        return input.clone()
    if decimals == 0:
        return unary("round", input)
    scale = 10.0 ** builtins_abs(decimals)
    if decimals > 0:
        return unary("round", input * scale) / scale
    return unary("round", input / scale) * scale


def builtins_abs(x: Any) -> Any:
    """Python's own abs, shadowed here."""
    return -x if x < 0 else x


def frac(input: Tensor) -> Tensor:
    """The fractional part, with the sign of the input."""
    if not input.dtype.is_floating_point:
        raise _missing("frac", input.dtype)
    return input - trunc(input)


# --- arithmetic ---------------------------------------------------------------------------------


def _scaled(input: Any, other: Any, alpha: Any) -> Any:
    """``alpha * other``; an alpha of a higher category than the result is refused."""
    out = result_type(input, other)
    if isinstance(alpha, bool) and out is not bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and not out.is_floating_point:
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return other * (bool(alpha) if out is bool_ else alpha)


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``; on bools, ``or``."""
    if type(alpha) is not int or alpha != 1:
        other = _scaled(input, other, alpha)
    return binary("add", input, other)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``; not for bools."""
    if _is_bool(input) or _is_bool(other):
        raise RuntimeError(_NO_MINUS[_is_bool(input) and _is_bool(other)])
    if type(alpha) is not int or alpha != 1:
        other = _scaled(input, other, alpha)
    return binary("sub", input, other)


_NO_MINUS = (
    "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to "
    "invert a mask, use the `~` or `logical_not()` operator instead.",
    "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
    "`logical_xor()` operator instead.",
)


def _is_bool(x: Any) -> bool:
    return x.dtype is bool_ if isinstance(x, Tensor) else x is True or x is False


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``."""
    return sub(other, input, alpha=alpha)


def mul(input: Any, other: Any) -> Tensor:
    """``input * other``; on bools, ``and``."""
    return binary("mul", input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``; integers give floats unless ``rounding_mode`` is "trunc" or "floor"."""
    if rounding_mode is None:
        return binary("div", input, other, _floating(input, other))
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    if result_type(input, other).is_floating_point:
        return trunc(binary("div", input, other, _floating(input, other)))
    _check_zero(other)
    return binary("truncdiv", input, other)


def _check_zero(other: Any) -> None:
    if not isinstance(other, Tensor) and other == 0:
        raise RuntimeError("ZeroDivisionError")


def floor_divide(input: Any, other: Any) -> Tensor:
    """Division rounded down."""
    if not result_type(input, other).is_floating_point:
        _check_zero(other)
    return binary("floordiv", input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """Remainder with the sign of the divisor."""
    if not result_type(input, other).is_floating_point:
        _check_zero(other)
    return binary("remainder", input, other)


def fmod(input: Any, other: Any) -> Tensor:
    """Remainder with the sign of the dividend."""
    if not result_type(input, other).is_floating_point:
        _check_zero(other)
    return binary("fmod", input, other)


def pow(input: Any, exponent: Any) -> Tensor:
    """``input ** exponent``; small whole exponents become products."""
    if isinstance(exponent, Tensor) or not isinstance(input, Tensor):
        if not isinstance(input, Tensor):
            input = exponent.new_full((), input, dtype=with_number(exponent.dtype, input))
        return binary("pow", input, exponent)
    if input.dtype is bool_ and isinstance(exponent, bool):
        return input.clone() if exponent else input.new_ones(input._shape)
    whole = not input.dtype.is_floating_point and number_category(exponent) < 2
    if whole and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if (
        exponent in _POWERS
        and input.dtype is not dt.bool_
        and (input.dtype.is_floating_point or (exponent in (1, 2, 3) and whole))
    ):
        return _POWERS[exponent](input)
    return binary("pow", input, exponent)


def _labelled(y: Tensor, label: str) -> Tensor:
    if y._grad_fn is not None:
        y._grad_fn.label = label
    return y


_POWERS: dict[Any, Callable[[Tensor], Tensor]] = {
    1: lambda x: _labelled(x.clone(), "PowBackward0"),
    2: lambda x: _labelled(binary("mul", x, x), "PowBackward0"),
    3: lambda x: _labelled(binary("mul", binary("mul", x, x), x), "PowBackward0"),
    0.5: lambda x: _labelled(unary("sqrt", x), "PowBackward0"),
    -0.5: lambda x: _labelled(unary("rsqrt", x), "PowBackward0"),
    -1: lambda x: _labelled(unary("reciprocal", x), "PowBackward0"),
}


def square(input: Tensor) -> Tensor:
    """``input * input``; of bools, integers."""
    if input.dtype is bool_:
        input = input.to(dt.int64)
    return _labelled(mul(input, input), "PowBackward0")


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of (other, input)."""
    return binary("atan2", input, other, _floating(input, other))


def _extreme(name: str, input: Tensor, other: Any) -> Tensor:
    if not isinstance(other, Tensor):
        other = input.new_full((), other, dtype=with_number(input.dtype, other))
    return binary(name, input, other)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger; nan if either is nan."""
    return _extreme("maximum", input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller; nan if either is nan."""
    return _extreme("minimum", input, other)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger; a nan loses against a number."""
    return where(isnan(other) | (input >= other), input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller; a nan loses against a number."""
    return where(isnan(other) | (input <= other), input, other)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limits to [min, max]; either may be None, a number or a tensor."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    dtype = result_type(*[x for x in (input, min, max) if x is not None])
    if dtype is bool_ and not (isinstance(min, Tensor) and max is None):
        bound = "_min" if max is None else "_max" if min is None else ""
        kind = "" if isinstance(max, Tensor) else "_scalar"
        raise NotImplementedError(f"\"clamp{bound}{kind}_cpu\" not implemented for 'Bool'")
    y = input if input.dtype is dtype else input.to(dtype)
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        y = y if min is None else maximum(y, min)
        return y if max is None else minimum(y, max)
    return _clamp(y, min, max, dtype)


def _clamp(x: Tensor, lo: Any, hi: Any, dtype: DType) -> Tensor:
    """Limits that are numbers: the gradient passes where the input lies within, edges included."""
    with autograd.no_grad():
        y = x
        if lo is not None:
            y = binary("maximum", y, lo, dtype)
        if hi is not None:
            y = binary("minimum", y, hi, dtype)
    if not x.requires_grad or not autograd.mode.grad:
        return y if y is not x else x.clone()
    inside = x.detach() == x.detach()
    if lo is not None:
        inside = inside & (x.detach() >= lo)
    if hi is not None:
        inside = inside & (x.detach() <= hi)
    return _labelled(where(inside, x, y), "ClampBackward1")


clip = clamp


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Limits from below."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Limits from above."""
    return clamp(input, max=max)


def relu(input: Tensor) -> Tensor:
    """``max(input, 0)``; the gradient at 0 is 0."""
    x = input
    if x.dtype is bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    y = limited(x, low=0)
    if not (x.requires_grad and autograd.mode.grad):
        return y
    return recorded(y, x, "ReluBackward0", RELU_GRAD)


def limited(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    """Limits that never change: they are part of the kernel. Without history."""
    node = x.node()
    if low is not None:
        node = elementwise(
            "maximum", (node, const(fit(low, node.dtype), node.dtype, ())), node.dtype
        )
    if high is not None:
        node = elementwise(
            "minimum", (node, const(fit(high, node.dtype), node.dtype, ())), node.dtype
        )
    return Tensor._wrap(node, x.storage.device)


class Rule:
    """A gradient rule of a composition, in the shape of a row."""

    def __init__(self, name: str, grad: Callable[..., Any]) -> None:
        self.name, self.inputs = name, ("x",)
        self.grads = (grad,)
        self.saves = (grad.__code__.co_varnames[: grad.__code__.co_argcount],)


RELU_GRAD = Rule("relu", lambda g, out: where(out > 0, g, 0.0))


def recorded(y: Tensor, x: Tensor, label: str, rule: Any) -> Tensor:
    """Writes a composition on the tape as one op."""
    autograd.record(rule, (x,), y, {})
    return _labelled(y, label)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``."""
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            raise RuntimeError(
                f"expected dtype {_c_name(input)} for `{name}` but got dtype {_c_name(x)}"
            )
    return input + weight * (end - input)


def _c_name(x: Tensor) -> str:
    return _C_NAMES.get(x.dtype.name) or f"c10::{title(x.dtype)}"


_C_NAMES = {
    "float32": "float", "float64": "double", "int64": "long int", "int32": "int",
    "int16": "short int", "int8": "signed char", "uint8": "unsigned char", "bool": "bool",
}  # fmt: skip


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    if not result_type(tensor1, tensor2).is_floating_point:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / tensor2))"
            ".to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for "
            "float inputs. The future addcdiv behavior is just the latter implementation: (input + "
            "value * tensor1 / tensor2), for all dtypes."
        )
    ratio = tensor1 / tensor2
    return input + (ratio if value == 1 else ratio * value)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """``log(exp(input) + exp(other))`` without overflow."""
    top = maximum(input, other).detach()
    top = where(isinf(top), top.new_zeros(()), top)
    return ((input - top).exp() + (other - top).exp()).log() + top


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """``sqrt(input² + other²)``."""
    dtype = result_type(input, other)
    if not dtype.is_floating_point:
        raise _missing("hypot", dtype)
    input, other = input.to(dtype), other.to(dtype)
    return (input * input + other * other).sqrt()


def xlogy(input: Any, other: Any) -> Tensor:
    """``input * log(other)``, 0 where input is 0."""
    dtype = _floating(input, other)
    like = input if isinstance(input, Tensor) else other
    x, y = (
        v.to(dtype) if isinstance(v, Tensor) else like.new_full((), v, dtype=dtype)
        for v in (input, other)
    )
    product = x * unary("log", y)
    return where((x == 0) & ~isnan(y), product.new_zeros(()), product)


def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``, the input itself above ``threshold / beta``."""
    scaled = input * beta
    soft = clamp(scaled, max=threshold).exp().log1p() / beta
    return where(scaled > threshold, input, soft)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(p / (1 - p))``."""
    p = input if eps is None else clamp(input, eps, 1 - eps)
    return (p / (1 - p)).log()


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma, for n up to 2."""
    if n == 0:
        return unary("digamma", input)
    if n == 1:
        y = unary("trigamma", input)
        if mode.grad and input._requires_grad:
            record(TRIGAMMA, (input,), y, {})  # type: ignore[arg-type]
        return y
    if n == 2:
        return _tetragamma(input)
    raise NotImplementedError("polygamma: n = 0 (digamma), 1 and 2 are there")


def _tetragamma(x: Tensor) -> Tensor:
    """ψ'': the recurrence up to where the asymptotic series holds, and reflection below 1/2."""
    low = x < 0.5
    z = where(low, 1 - x, x)
    total = x.new_zeros(())
    for _ in range(8):
        total, z = total - 2 / z**3, z + 1
    r = 1 / (z * z)
    series = -r - r / z - r * r / 2 + r**3 / 6 - r**4 / 6 + 0.3 * r**5
    reflected = 2 * math.pi**3 * unary("cos", x * math.pi) / unary("sin", x * math.pi) ** 3
    return total + series - where(low, reflected, x.new_zeros(()))


TRIGAMMA = Rule("polygamma", lambda g, x: g * polygamma(2, x))


def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return input * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return input * (180 / math.pi)


def sinc(input: Tensor) -> Tensor:
    """``sin(πx) / (πx)``, 1 at 0."""
    x = input * math.pi
    zero = x == 0
    safe = where(zero, x.new_ones(()), x)
    return where(zero, x.new_ones(()), safe.sin() / safe)


def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replaces nan and infinities by numbers."""
    if not input.dtype.is_floating_point:
        return input.clone()
    top = _LARGEST[input.dtype.name]
    y = where(isnan(input), input.new_full((), nan), input)
    y = where(y == math.inf, y.new_full((), top if posinf is None else posinf), y)
    return where(y == -math.inf, y.new_full((), -top if neginf is None else neginf), y)


_LARGEST = {
    "float16": 65504.0, "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308,
}  # fmt: skip


# --- comparisons, logic, bits -------------------------------------------------------------------


def _comparison(name: str) -> Callable[..., Tensor]:
    def f(input: Any, other: Any) -> Tensor:
        return binary(name, input, other)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"Elementwise ``{name}``: a bool tensor."
    return f


eq, ne = _comparison("eq"), _comparison("ne")
lt, le, gt, ge = (_comparison(n) for n in ("lt", "le", "gt", "ge"))
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def isnan(input: Tensor) -> Tensor:
    """True where nan."""
    if not input.dtype.is_floating_point:
        return input.new_zeros(input._shape, dtype=dt.bool_)
    return unary("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """True where plus or minus infinity."""
    if not input.dtype.is_floating_point:
        return input.new_zeros(input._shape, dtype=dt.bool_)
    return abs(input) == math.inf


def isfinite(input: Tensor) -> Tensor:
    """True where neither nan nor infinite."""
    if not input.dtype.is_floating_point:
        return input.new_ones(input._shape, dtype=dt.bool_)
    return abs(input) < math.inf


def isposinf(input: Tensor) -> Tensor:
    """True where plus infinity."""
    return input == math.inf


def isneginf(input: Tensor) -> Tensor:
    """True where minus infinity."""
    return input == -math.inf


def signbit(input: Tensor) -> Tensor:
    """True where the sign is minus (-0.0 counts through 1/x)."""
    if not input.dtype.is_floating_point:
        return input < 0
    return (input < 0) | ((input == 0) & (reciprocal_(input) < 0))


def reciprocal_(input: Tensor) -> Tensor:
    """1/x, for the sign of zero."""
    return unary("reciprocal", input)


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """``|input - other| <= atol + rtol * |other|``."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{_title(input)} did not match {_title(other)}")
    close = input == other
    if input.dtype.is_floating_point:
        near = abs(input - other) <= abs(other) * rtol + atol
        close = close | (near & isfinite(other) & isfinite(input))
        if equal_nan:
            close = close | (isnan(input) & isnan(other))
    return close


def _title(x: Tensor) -> str:
    return title(x.dtype)


def _bool(x: Any) -> Any:
    return x if not isinstance(x, Tensor) or x.dtype is dt.bool_ else x != 0


def logical_not(input: Tensor) -> Tensor:
    """``not``, of truth values."""
    return unary("not", _bool(input))


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """``and``, of truth values."""
    return binary("and", _bool(input), _bool(other))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """``or``, of truth values."""
    return binary("or", _bool(input), _bool(other))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """``xor``, of truth values."""
    return binary("xor", _bool(input), _bool(other))


def _bitwise(name: str, public: str) -> Callable[..., Tensor]:
    def f(input: Any, other: Any) -> Tensor:
        if result_type(input, other).is_floating_point:
            raise _missing(name, result_type(input, other))
        return binary(name, input, other)

    f.__name__ = f.__qualname__ = public
    f.__doc__ = f"``{name}`` of integers or bools."
    return f


bitwise_and, bitwise_or = _bitwise("and", "bitwise_and"), _bitwise("or", "bitwise_or")
bitwise_xor = _bitwise("xor", "bitwise_xor")
bitwise_left_shift = _bitwise("shl", "lshift")
bitwise_right_shift = _bitwise("shr", "rshift")


def bitwise_not(input: Tensor) -> Tensor:
    """``~input``."""
    if input.dtype.is_floating_point:
        raise _missing("not", input.dtype)
    return unary("not", input)


# --- selection ----------------------------------------------------------------------------------


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; alone, the indices where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition.dtype is not dt.bool_:
        if condition.dtype is not dt.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{_title(condition)}"
            )
        condition = condition != 0
    dtype = result_type(input, other)
    xs, srcs = (condition, input, other), [condition.node()]
    for x in xs[1:]:
        node = x.node() if isinstance(x, Tensor) else number(fit(x, dtype), dtype)
        srcs.append(cast(node, dtype))
    return _finish(ELEMENTWISE["where"], tuple(srcs), dtype, xs)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where the mask holds."""
    if mask.dtype is not dt.bool_:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {_c_name(mask)}"
        )
    if isinstance(value, Tensor):
        if value._shape:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    else:
        value = fit(value, input.dtype)
        return _labelled(_masked_number(input, mask, value), "MaskedFillBackward0")
    return _labelled(where(mask, value, input), "MaskedFillBackward0")


def _masked_number(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    srcs = (mask.node(), number(value, x.dtype), x.node())
    return _finish(ELEMENTWISE["where"], srcs, x.dtype, (mask, value, x))


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0, ``values`` or 1 for negative, zero or positive input."""
    step = (input > 0).to(input.dtype)
    return where(input == 0, values, step)


def copysign(input: Tensor, other: Any) -> Tensor:
    """The magnitude of ``input`` with the sign of ``other``."""
    size = abs(input if input.dtype.is_floating_point else input.to(_floating(input, other)))
    if not isinstance(other, Tensor):
        return neg(size) if math.copysign(1, other) < 0 else size
    size = size.to(_floating(input, other))
    broadcast_shapes(input._shape, other._shape)  # raises with the operands in their order
    return where(signbit(other), neg(size), size)


absolute, negative, arcsin, arccos, arctan = (
    abs,
    neg,
    globals()["asin"],
    globals()["acos"],
    globals()["atan"],
)
arctan2, arcsinh, arccosh, arctanh = (
    atan2,
    globals()["asinh"],
    globals()["acosh"],
    globals()["atanh"],
)
multiply, divide, true_divide, subtract, fix = mul, div, div, sub, trunc
special_expit = globals()["sigmoid"]
