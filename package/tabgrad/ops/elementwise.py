"""The elementwise ops: one row each, expressions per executor and gradient together.

To add one: a row here, a line in ``tests/suite/samples.py``, and
``python wasm_kernels/generate.py``. ``np`` sees numpy as ``np`` and the functions of
``backends/numpy_math.py`` by name; ``wgsl`` the functions of ``kernels_wgsl/math.wgsl``; ``c``
those of ``wasm_kernels/math.h``.
"""

from __future__ import annotations

import math
from typing import Any

from .row import Elementwise

_E = Elementwise
LN2, LN10, PI = math.log(2.0), math.log(10.0), math.pi


def _at(mask: Any, g: Any) -> Any:  # the gradient where the mask holds, zero elsewhere
    return g.where(mask, g.new_zeros(()))


def _tie(
    g: Any, a: Any, b: Any, mine: Any
) -> Any:  # maximum and minimum share the gradient where the inputs are equal
    return _at(mine, g) + _at(a == b, g * 0.5)


_ROWS = [
    # arithmetic; {t} is the compute type: f float32, d float64, i int32, l int64, b bool
    _E("add", "a b", "fdil", "a + b", "a + b", "ADD(a, b)", wgsl_l="add_l(a, b)",
       a=lambda g: g, b=lambda g: g),
    _E("sub", "a b", "fdil", "a - b", "a - b", "SUB(a, b)", wgsl_l="sub_l(a, b)",
       a=lambda g: g, b=lambda g: -g),
    _E("mul", "a b", "fdil", "a * b", "a * b", "MUL(a, b)", wgsl_l="mul_l(a, b)",
       a=lambda g, b: g * b, b=lambda g, a: g * a),
    _E("div", "a b", "fd", "a / b", "div_f(a, b)", "a / b",
       a=lambda g, b: g / b, b=lambda g, b, out: -g * out / b),
    _E("floordiv", "a b", "fdil", "floordiv(a, b)", "floordiv_{t}(a, b)", "floordiv_{t}(a, b)"),
    _E("truncdiv", "a b", "il", "truncdiv(a, b)", "truncdiv_{t}(a, b)", "truncdiv_{t}(a, b)"),
    _E("remainder", "a b", "fdil", "remainder(a, b)", "remainder_{t}(a, b)", "remainder_{t}(a, b)",
       a=lambda g: g, b=lambda g, a, b: -g * (a / b).floor()),
    _E("fmod", "a b", "fdil", "fmod(a, b)", "fmod_{t}(a, b)", "fmod_{t}(a, b)",
       a=lambda g: g, b=lambda g, a, b: -g * (a / b).trunc()),
    _E("pow", "a b", "fdil", "power(a, b)", "pow_{t}(a, b)", "pow_{t}(a, b)",
       a=lambda g, a, b: _at(b != 0, g * b * a.pow(b - 1)),
       b=lambda g, a, b, out: g * (out * a.log()).masked_fill((a == 0) & (b >= 0), 0.0)),
    _E("neg", "a", "fdil", "-a", "-a", "NEG(a)", wgsl_l="sub_l(0, a)", a=lambda g: -g),
    _E("abs", "a", "fdil", "np.abs(a)", "abs(a)", "abs_{t}(a)", a=lambda g, a: g * a.sign()),
    _E("sign", "a", "fdil", "sign(a)", "sign_{t}(a)", "sign_{t}(a)", a=lambda g: g * 0.0),
    _E("maximum", "a b", "fdilb", "np.maximum(a, b)", "max_{t}(a, b)", "max_{t}(a, b)",
       a=lambda g, a, b: _tie(g, a, b, a > b), b=lambda g, a, b: _tie(g, a, b, b > a)),
    _E("minimum", "a b", "fdilb", "np.minimum(a, b)", "min_{t}(a, b)", "min_{t}(a, b)",
       a=lambda g, a, b: _tie(g, a, b, a < b), b=lambda g, a, b: _tie(g, a, b, b < a)),
    _E("reciprocal", "a", "fd", "1 / a", "div_f(1.0, a)", "1 / a", a=lambda g, out: -g * out * out),
    # powers, exponentials, logarithms
    _E("sqrt", "a", "fd", "np.sqrt(a)", "sqrt_f(a)", "sqrt_{t}(a)", a=lambda g, out: g / (out * 2)),
    _E("rsqrt", "a", "fd", "1 / np.sqrt(a)", "rsqrt_f(a)", "1 / sqrt_{t}(a)",
       a=lambda g, out: g * out * out * out * -0.5),
    _E("exp", "a", "fd", "np.exp(a)", "exp_f(a)", "exp_{t}(a)", a=lambda g, out: g * out),
    _E("exp2", "a", "fd", "np.exp2(a)", "exp2_f(a)", "exp2_{t}(a)", a=lambda g, out: g * out * LN2),
    _E("expm1", "a", "fd", "np.expm1(a)", "expm1_f(a)", "expm1_{t}(a)",
       a=lambda g, out: g * (out + 1)),
    _E("log", "a", "fd", "np.log(a)", "log_f(a)", "log_{t}(a)", a=lambda g, a: g / a),
    _E("log2", "a", "fd", "np.log2(a)", "log2_f(a)", "log2_{t}(a)", a=lambda g, a: g / (a * LN2)),
    _E("log10", "a", "fd", "np.log10(a)", "log10_f(a)", "log10_{t}(a)",
       a=lambda g, a: g / (a * LN10)),
    _E("log1p", "a", "fd", "np.log1p(a)", "log1p_f(a)", "log1p_{t}(a)", a=lambda g, a: g / (a + 1)),
    # trigonometric and hyperbolic
    _E("sin", "a", "fd", "np.sin(a)", "sin_f(a)", "sin_{t}(a)", a=lambda g, a: g * a.cos()),
    _E("cos", "a", "fd", "np.cos(a)", "cos_f(a)", "cos_{t}(a)", a=lambda g, a: -g * a.sin()),
    _E("tan", "a", "fd", "np.tan(a)", "tan_f(a)", "tan_{t}(a)",
       a=lambda g, out: g * (out * out + 1)),
    _E("asin", "a", "fd", "np.arcsin(a)", "asin_f(a)", "asin_{t}(a)",
       a=lambda g, a: g * (1 - a * a).rsqrt()),
    _E("acos", "a", "fd", "np.arccos(a)", "acos_f(a)", "acos_{t}(a)",
       a=lambda g, a: -g * (1 - a * a).rsqrt()),
    _E("atan", "a", "fd", "np.arctan(a)", "atan_f(a)", "atan_{t}(a)",
       a=lambda g, a: g / (a * a + 1)),
    _E("atan2", "a b", "fd", "np.arctan2(a, b)", "atan2_f(a, b)", "atan2_{t}(a, b)",
       a=lambda g, a, b: g * b / (a * a + b * b), b=lambda g, a, b: -g * a / (a * a + b * b)),
    _E("sinh", "a", "fd", "np.sinh(a)", "sinh_f(a)", "sinh_{t}(a)", a=lambda g, a: g * a.cosh()),
    _E("cosh", "a", "fd", "np.cosh(a)", "cosh_f(a)", "cosh_{t}(a)", a=lambda g, a: g * a.sinh()),
    _E("tanh", "a", "fd", "np.tanh(a)", "tanh_f(a)", "tanh_{t}(a)",
       a=lambda g, out: g * (1 - out * out)),
    _E("asinh", "a", "fd", "np.arcsinh(a)", "asinh_f(a)", "asinh_{t}(a)",
       a=lambda g, a: g * (a * a + 1).rsqrt()),
    _E("acosh", "a", "fd", "np.arccosh(a)", "acosh_f(a)", "acosh_{t}(a)",
       a=lambda g, a: g * (a * a - 1).rsqrt()),
    _E("atanh", "a", "fd", "np.arctanh(a)", "atanh_f(a)", "atanh_{t}(a)",
       a=lambda g, a: g / (1 - a * a)),
    # special functions
    _E("sigmoid", "a", "fd", "sigmoid(a)", "sigmoid_f(a)", "sigmoid_{t}(a)",
       a=lambda g, out: g * out * (1 - out)),
    _E("erf", "a", "fd", "erf(a)", "erf_f(a)", "erf_{t}(a)",
       a=lambda g, a: g * (2 / math.sqrt(PI)) * (-a * a).exp()),
    _E("erfc", "a", "fd", "erfc(a)", "erfc_f(a)", "erfc_{t}(a)",
       a=lambda g, a: -g * (2 / math.sqrt(PI)) * (-a * a).exp()),
    # of the normal distribution; small values are as far off as large ones
    _E("phi", "a", "fd", "phi(a)", "phi_f(a)", "phi_{t}(a)",
       a=lambda g, a: g * (a * a * -0.5).exp() * (1 / math.sqrt(2 * PI))),
    _E("erfinv", "a", "fd", "erfinv(a)", "erfinv_f(a)", "erfinv_{t}(a)",
       a=lambda g, out: g * (math.sqrt(PI) / 2) * (out * out).exp()),
    _E("lgamma", "a", "fd", "lgamma(a)", "lgamma_f(a)", "lgamma_{t}(a)",
       a=lambda g, a: g * a.digamma()),
    _E("digamma", "a", "fd", "digamma(a)", "digamma_f(a)", "digamma_{t}(a)",
       a=lambda g, a: g * a.polygamma(1)),
    _E("trigamma", "a", "fd", "trigamma(a)", "trigamma_f(a)", "trigamma_{t}(a)"),
    # rounding; round is half to even
    _E("floor", "a", "fd", "np.floor(a)", "floor(a)", "floor_{t}(a)", a=lambda g: g * 0.0),
    _E("ceil", "a", "fd", "np.ceil(a)", "ceil(a)", "ceil_{t}(a)", a=lambda g: g * 0.0),
    _E("round", "a", "fd", "np.rint(a)", "round(a)", "round_{t}(a)", a=lambda g: g * 0.0),
    _E("trunc", "a", "fd", "np.trunc(a)", "trunc(a)", "trunc_{t}(a)", a=lambda g: g * 0.0),
    # comparisons and tests; the result is bool
    _E("eq", "a b", "fdilb", "a == b", "eq_{t}(a, b)", "a == b", "bool"),
    _E("ne", "a b", "fdilb", "a != b", "ne_{t}(a, b)", "a != b", "bool"),
    _E("lt", "a b", "fdilb", "a < b", "lt_{t}(a, b)", "a < b", "bool"),
    _E("le", "a b", "fdilb", "a <= b", "le_{t}(a, b)", "a <= b", "bool"),
    _E("gt", "a b", "fdilb", "a > b", "lt_{t}(b, a)", "a > b", "bool"),
    _E("ge", "a b", "fdilb", "a >= b", "le_{t}(b, a)", "a >= b", "bool"),
    _E("isnan", "a", "fd", "np.isnan(a)", "isnan_f(a)", "a != a", "bool"),
    # logic and bits
    _E("and", "a b", "ilb", "a & b", "a & b", "a & b"),
    _E("or", "a b", "ilb", "a | b", "a | b", "a | b"),
    _E("xor", "a b", "ilb", "a ^ b", "xor_{t}(a, b)", "a ^ b"),
    _E("not", "a", "ilb", "~a", "not_{t}(a)", "not_{t}(a)"),
    _E("shl", "a b", "il", "shl(a, b)", "shl_{t}(a, b)", "shl_{t}(a, b)"),
    _E("shr", "a b", "il", "shr(a, b)", "shr_{t}(a, b)", "shr_{t}(a, b)"),
    # selection: a is bool, b and c are of the result's type
    _E("where", "a b c", "fdilb", "np.where(a, b, c)", "select(c, b, a)", "a ? b : c",
       b=lambda g, a: _at(a, g), c=lambda g, a: _at(~a, g)),
    # float → integer of the same width that sorts alike, nan last; ints and bools are their own key
    _E("order_key", "a", "fd", "order_key(a)", "order_key_f(a)", "order_key_{t}(a)", "key"),
]  # fmt: skip

ELEMENTWISE = {row.name: row for row in _ROWS}
