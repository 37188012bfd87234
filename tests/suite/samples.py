"""Every public op and what to try it on, after PyTorch's OpInfo: a new op gets one line here."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from sampling import (
    DIM_ERROR,
    DTYPES,
    FLOATS,
    INF,
    INTS,
    NAN,
    SPECIAL,
    D,
    Make,
    Op,
    Sample,
    T,
    bad,
    binary,
    both,
    dims,
    everywhere,
    fixed,
    reduction,
    unary,
)

NO_BOOL = {"bool": "not implemented for 'Bool'"}
NEG_BOOL = {"bool": r"Negation, the `-` operator, on a bool tensor is not supported"}
SUB_BOOL = {"bool": r"Subtraction, the `-` operator, with two bool tensors is not supported"}
COUNTED = ("bool", *INTS)


def same_shape_out(*names: str, **options: Any) -> list[Op]:
    return [Op(name, unary(), inplace=True, out=True, **options) for name in names]


UNARY = [
    Op("neg", unary(bad=NEG_BOOL), inplace=True, out=True),
    Op("abs", unary(bad=NO_BOOL), inplace=True, out=True),
    Op("sign", unary(), inplace=True, out=True),
    Op("sgn", unary(), inplace=True, out=True),
    Op("square", unary(), inplace=True, out=True),
    Op("reciprocal", unary((0.5, 4)), inplace=True, out=True),
    Op("sqrt", unary((0.25, 4)), inplace=True, out=True),
    Op("rsqrt", unary((0.25, 4)), inplace=True, out=True),
    Op("exp", unary(), inplace=True, out=True),
    Op("exp2", unary(), inplace=True, out=True),
    Op("expm1", unary(), inplace=True, out=True),
    Op("log", unary((0.25, 4)), inplace=True, out=True),
    Op("log2", unary((0.25, 4)), inplace=True, out=True),
    Op("log10", unary((0.25, 4)), inplace=True, out=True),
    Op("log1p", unary((-0.75, 4)), inplace=True, out=True),
    *same_shape_out("sin", "cos", rtol=5e-5),
    Op("tan", unary((-1, 1)), inplace=True, out=True, rtol=1e-4),
    Op("asin", unary((-0.9, 0.9)), inplace=True, out=True, rtol=1e-4),
    Op("acos", unary((-0.9, 0.9)), inplace=True, out=True, rtol=1e-4),
    *same_shape_out("atan", "sinh", "cosh", "tanh", "asinh", rtol=1e-4),
    Op("acosh", unary((1.25, 4)), inplace=True, out=True, rtol=1e-4),
    Op("atanh", unary((-0.9, 0.9)), inplace=True, out=True, rtol=1e-4),
    *same_shape_out("sigmoid", "erf", "erfc", rtol=1e-4),
    Op("erfinv", unary((-0.9, 0.9), special=False), inplace=True, out=True, rtol=1e-3),
    Op("lgamma", unary((0.5, 4), special=False), inplace=True, out=True, rtol=1e-3),
    Op("digamma", unary((0.5, 4), special=False), inplace=True, out=True, rtol=1e-3),
    *[
        Op(name, unary(bad=NO_BOOL), inplace=True, out=True)
        for name in ("floor", "ceil", "round", "trunc")
    ],
    Op("frac", fixed(Sample(T(2, 3)), Sample(T(4, dtype="float16"))), inplace=True, out=True),
    Op("relu", unary(bad={"bool": "Boolean inputs not supported for relu"}), inplace=True),
    Op("isnan", unary(), grad=False),
    Op("isinf", unary(), grad=False),
    Op("isfinite", unary(), grad=False),
    Op("isposinf", unary(), grad=False),
    Op("isneginf", unary(), grad=False),
    Op("signbit", unary(), grad=False),
    Op("logical_not", unary(), grad=False, out=True),
    Op("bitwise_not", (lambda r: [
        *[Sample(T(2, 3, dtype=d)) for d in COUNTED],
        *[bad(RuntimeError, "not implemented for '", T(2, dtype=d)) for d in FLOATS],
    ]), grad=False, inplace=True),
    Op("deg2rad", unary(special=False), inplace=True),
    Op("rad2deg", unary(special=False), inplace=True),
    Op("nan_to_num", fixed(
        Sample(T(values=SPECIAL, grad=False)),
        Sample(T(values=SPECIAL, grad=False), nan=1.0, posinf=2.0, neginf=-3.0),
        Sample(T(2, 3)),
        Sample(T(3, dtype="int64")),
    )),
]  # fmt: skip

BINARY = [
    Op("add", both(binary(), fixed(
        Sample(T(2, 3), T(2, 3), alpha=2),
        Sample(T(2, 3, dtype="int64"), T(2, 3, dtype="int64"), alpha=-3),
        Sample(T(2, 3, dtype="int64"), 2.5),
        Sample(T(2, 3, dtype="bool"), True),
        Sample(T(2, 3, dtype="bool"), 2),
        bad(RuntimeError, "For integral input tensors, argument alpha must not be a floating point",
            T(2, dtype="int64"), T(2, dtype="int64"), alpha=0.5),
    )), inplace=True, out=True),
    Op("sub", both(binary(bad=SUB_BOOL), fixed(Sample(T(2, 3), T(2, 3), alpha=2))),
       inplace=True, out=True),
    Op("rsub", binary(bad=SUB_BOOL, swapped=True), method=False),
    Op("mul", binary(), inplace=True, out=True),
    Op("div", both(binary((-4, 4), (0.5, 4)), fixed(
        *[Sample(T(2, 3, dtype=d), T(2, 3, dtype=e, of=(1, 3)), rounding_mode=m)
          for d, e in (("float32", "float32"), ("int64", "int64"), ("int32", "float32"),
                       ("uint8", "uint8"))
          for m in ("floor", "trunc")],
        Sample(T(3, dtype="int64"), 2),
        bad(RuntimeError, "div expected rounding_mode to be one of None, 'trunc', or 'floor' "
            "but found 'up'", T(2), T(2), rounding_mode="up"),
    )), inplace=True, out=True),
    Op("floor_divide", binary((-4, 4), (0.5, 4), special=False, bad=NO_BOOL), grad=False,
       inplace=True, out=True),
    Op("remainder", both(binary((-4, 4), (1, 4), special=False, bad=NO_BOOL), fixed(
        Sample(T(values=[-5, -3, 3, 5], dtype="int64"), T(values=[3, -2, -2, -3], dtype="int64")),
        Sample(T(values=[-5.5, -3, 3, 5.5]), T(values=[3.0, -2.0, -2.0, -3.0])),
    )), inplace=True, out=True, smooth=False),
    Op("fmod", both(binary((-4, 4), (1, 4), special=False, bad=NO_BOOL), fixed(
        Sample(T(values=[-5, -3, 3, 5], dtype="int64"), T(values=[3, -2, -2, -3], dtype="int64")),
        Sample(T(values=[-5.5, -3, 3, 5.5]), T(values=[3.0, -2.0, -2.0, -3.0])),
    )), inplace=True, out=True, smooth=False),
    Op("pow", both(binary((0.25, 3), (0.5, 3), number=2, bad=NO_BOOL), fixed(
        Sample(T(2, 3), 2), Sample(T(2, 3), 3), Sample(T(2, 3, of=(0.5, 4)), 0.5),
        Sample(T(2, 3, of=(0.5, 4)), -1), Sample(T(2, 3), 0), Sample(T(values=[0.0, -0.0, 1.0]), 2),
        Sample(T(2, 3, dtype="int64"), 2), Sample(T(2, 3, dtype="int32"), 0.5 + 1.5),
        bad(RuntimeError, "Integers to negative integer powers are not allowed",
            T(2, dtype="int64"), -1),
    )), inplace=True, out=True, rtol=2e-4),
    Op("atan2", binary(number=None, special=False, dtypes=("int64", *FLOATS)), inplace=True,
        out=True,
       rtol=1e-4),
    Op("maximum", binary(number=None), out=True),
    Op("minimum", binary(number=None), out=True),
    Op("fmax", binary(number=None), out=True, smooth=False),
    Op("fmin", binary(number=None), out=True, smooth=False),
    Op("hypot", binary(number=None, dtypes=FLOATS, special=False), inplace=True, out=True),
    Op("logaddexp", binary(number=None, dtypes=FLOATS), out=True, rtol=1e-4),
    Op("xlogy", binary((-4, 4), (0.25, 4)), inplace=True, out=True),
    Op("copysign", binary(), smooth=False, inplace=True, out=True),
    *[Op(name, both(binary(), fixed(
        Sample(T(values=[1, 2, 3], dtype="int64"), 2), Sample(T(values=[1, 2, 3], dtype="int64"),
        2.5),
        Sample(T(values=[1.0, 2.0, NAN], grad=False), T(values=[1.0, 1.0, NAN], grad=False)),
    )), grad=False, out=True) for name in ("eq", "ne", "lt", "le", "gt", "ge")],
    *[Op(name, binary(number=None), grad=False, out=True)
      for name in ("logical_and", "logical_or", "logical_xor")],
    *[Op(name, both(binary(number=1, dtypes=COUNTED), fixed(
        bad(RuntimeError, "not implemented for 'Float'", T(2), T(2)))),
        grad=False, inplace=True, out=True)
      for name in ("bitwise_and", "bitwise_or", "bitwise_xor")],
    *[Op(name, binary((0, 3), number=1, dtypes=INTS), grad=False, inplace=True)
      for name in ("bitwise_left_shift", "bitwise_right_shift")],
    Op("isclose", fixed(
        Sample(T(values=[1.0, 2.0, NAN, INF], grad=False),
               T(values=[1.0 + 2**-20, 2.1, NAN, INF], grad=False)),
        Sample(T(values=[NAN, 1.0], grad=False), T(values=[NAN, 1.0], grad=False), equal_nan=True),
        Sample(T(values=[1.0, 2.0], grad=False), T(values=[1.1, 2.5], grad=False), rtol=0.15),
    ), grad=False),
    Op("heaviside", fixed(Sample(T(values=[-1.0, 0.0, 2.0]), T(values=[0.5, 0.25, 3.0]))),
       grad=False),
]  # fmt: skip

TERNARY = [
    Op("where", fixed(
        Sample(T(2, 3, dtype="bool"), T(2, 3), T(2, 3)),
        Sample(T(3, 1, dtype="bool"), T(1, 4), T(3, 4)),
        Sample(T(2, 3, dtype="bool"), T(2, 3), T()),
        Sample(T(2, 3, dtype="bool"), T(2, 3), 0.0),
        Sample(T(2, 3, dtype="bool"), 1.0, T(2, 3, dtype="int64")),
        Sample(T(2, 3, dtype="bool"), T(2, 3, dtype="int64"), T(2, 3)),
        Sample(T(3, 2, dtype="bool", layout="transposed"), T(3, 2), T(3, 2, layout="strided")),
        Sample(T(0, dtype="bool"), T(0), T(0)),
        *[Sample(T(3, dtype="bool"), T(3, dtype=d), T(3, dtype=d)) for d in DTYPES],
        bad(RuntimeError, "where expected condition to be a boolean tensor, but got a tensor "
            "with dtype Float", T(2), T(2), T(2)),
        bad(RuntimeError, r"The size of tensor a \(3\) must match the size of tensor b \(2\)",
            T(3, dtype="bool"), T(2), T(2)),
    ), call=lambda lib, *args: lib.where(*args)),
    Op("where_indices", fixed(
        Sample(T(3, 4, dtype="bool")), Sample(T(values=[0.0, 2.0, NAN, -0.0], grad=False)),
        Sample(T(dtype="bool")), Sample(T(0, 2)),
    ), call=lambda lib, x: lib.where(x), grad=False),
    Op("clamp", fixed(
        Sample(T(2, 3), -1.0, 2.0), Sample(T(2, 3), min=0.0), Sample(T(2, 3), max=1.0),
        Sample(T(2, 3, dtype="int64"), -1, 2), Sample(T(2, 3, dtype="int64"), 0.5, 2),
        Sample(T(2, 3), T(2, 3, of=(-4, -1)), T(2, 3, of=(1, 4))),
        Sample(T(2, 3), T(3), None), Sample(T(values=SPECIAL, grad=False), -1.0, 1.0),
        Sample(T(0), 0.0, 1.0), Sample(T(), 0.0, 1.0), Sample(T(3, 4, layout="transposed"), 0.0,
        1.0),
        Sample(T(2, 3), 2.0, -2.0),
        bad(RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None", T(2)),
    ), inplace=True, out=True),
    Op("clip", fixed(Sample(T(2, 3), -1.0, 2.0)), inplace=True),
    Op("clamp_min", fixed(Sample(T(2, 3), 0.0)), inplace=True),
    Op("clamp_max", fixed(Sample(T(2, 3), 0.0)), inplace=True),
    Op("lerp", fixed(
        Sample(T(2, 3), T(2, 3), 0.25), Sample(T(2, 3), T(3), T(2, 1)),
        Sample(T(2, 3, dtype="float16"), T(2, 3, dtype="float16"), 0.75),
        bad(RuntimeError, "expected dtype float for `end` but got dtype double",
            T(2), T(2, dtype="float64"), 0.5),
    ), inplace=True, out=True),
    Op("addcmul", fixed(
        Sample(T(2, 3), T(2, 3), T(2, 3)), Sample(T(2, 3), T(3), T(2, 1), value=0.5),
        Sample(T(3, dtype="int64"), T(3, dtype="int64"), T(3, dtype="int64"), value=2),
    ), inplace=True, out=True),
    Op("addcdiv", fixed(
        Sample(T(2, 3), T(2, 3), T(2, 3, of=(1, 4))),
        Sample(T(2, 3), T(3), T(2, 1, of=(1, 4)), value=0.5),
        bad(RuntimeError, "Integer division with addcdiv is no longer supported",
            T(3, dtype="int64"), T(3, dtype="int64"), T(3, dtype="int64")),
    ), inplace=True, out=True),
    Op("masked_fill", fixed(
        Sample(T(2, 3), T(2, 3, dtype="bool"), 1.5), Sample(T(2, 3), T(3, dtype="bool"), -INF),
        Sample(T(3), T(2, 3, dtype="bool"), 0.0), Sample(T(2, 3), T(2, 1, dtype="bool"), T()),
        Sample(T(2, 3, dtype="int64"), T(2, 3, dtype="bool"), 7),
        Sample(T(2, 3, layout="transposed"), T(2, 3, dtype="bool"), 1.0),
        Sample(T(2, 3, dtype="bool"), T(2, 3, dtype="bool"), True),
        bad(RuntimeError, "value cannot be converted to type", T(2, dtype="int64"),
            T(2, dtype="bool"), INF),
        bad(RuntimeError, "masked_fill_? only supports boolean masks", T(2), T(2), 1.0),
        bad(RuntimeError, "only supports a 0-dimensional value tensor, but got tensor with 1",
            T(2), T(2, dtype="bool"), T(2)),
    ), inplace=True),
    Op("masked_select", fixed(
        Sample(T(2, 3), T(2, 3, dtype="bool")), Sample(T(2, 3), T(3, dtype="bool")),
        Sample(T(3), T(2, 1, dtype="bool")), Sample(T(0), T(0, dtype="bool")),
        Sample(T(3, 4, layout="transposed", dtype="int64"), T(3, 4, dtype="bool")),
    )),
    Op("masked_scatter", fixed(
        Sample(T(2, 3), T(values=[True, False, True], dtype="bool"), T(8)),
        Sample(T(3), T(values=[True, False, True], dtype="bool"), T(2)),
    ), inplace=True),
]  # fmt: skip

MEAN_BAD = dict.fromkeys(COUNTED, r"mean\(\): could not infer output dtype. Input dtype must be")
VAR_BAD = dict.fromkeys(COUNTED, r"(std and )?(var|std) only support(s)? floating point")


def indices(*values: int) -> T:
    return T(values=list(values), dtype="int64")


def index(*shape: int, n: int) -> T:
    """Random positions below ``n``."""
    return T(*shape, dtype="int64", of=(0, n - 1))


def extreme(name: str) -> Op:
    """max and min: whole, along a dim (a named pair), or of two tensors."""
    return Op(name, both(
        reduction(many=False, empty=False),
        fixed(
            Sample(T(2, 3), T(2, 3)),
            Sample(T(values=[2, 5, 5, 2], dtype="int64"), 0),
            Sample(T(values=[NAN, 5.0, NAN], grad=False), 0),
            bad(RuntimeError, rf"{name}\(\): Expected reduction dim to "
                "be specified for input.numel\\(\\) == 0", T(0)),
            bad(IndexError, rf"{name}\(\): Expected reduction dim 0 to have non-zero size",
                T(0, 3), 0),
        ),
    ), smooth=False)  # fmt: skip


REDUCTIONS = [
    Op("sum", both(reduction(), fixed(
        Sample(T(2, 3), dtype=D("float64")), Sample(T(2, 3, dtype="int32"), 0, dtype=D("float32")),
        Sample(T(2, 3), ()), Sample(T(2, 3, dtype="bool")), Sample(T(300, 3), 0),
        Sample(T(2, 3, 4, 2), (1, 3)), Sample(T(40, 50)),
    )), rtol=1e-4),
    Op("sum_to_size", fixed(
        Sample(T(2, 3, 4), 3, 1), Sample(T(2, 3, 4), (2, 1, 4)), Sample(T(2, 3), 2, 3),
        Sample(T(2, 3), 1), Sample(T(2, 3), ()), Sample(T(0, 3), 1, 3), Sample(T(0, 3), 3),
        Sample(T(2, 3, dtype="bool"), 3), Sample(T(2, 3, dtype="int8"), 2, 3), Sample(T(), ()),
        Sample(T(4, 3, dtype="float16"), 4, 1), Sample(T(values=[1.0, NAN, INF], grad=False), 1),
        bad(RuntimeError, r"size \{\[3\]\} is not expandable to size \{\[2, 3, 4\]\}.",
            T(2, 3, 4), 3),
        bad(RuntimeError, r"size \{\[1, 2, 3\]\} is not expandable to size \{\[2, 3\]\}.",
            T(2, 3), 1, 2, 3),
        bad(TypeError, "size", T(2, 3)),
    ), function=False),
    Op("nansum", fixed(Sample(T(values=[1.0, NAN, 2.0], grad=False)), Sample(T(2, 3), 0))),
    Op("mean", both(reduction(bad=MEAN_BAD), fixed(Sample(T(2, 3, dtype="int64"), 0,
                                                          dtype=D("float32")))), rtol=1e-4),
    Op("var", both(reduction(bad=VAR_BAD, dtypes=FLOATS, special=False, empty=False), fixed(
        Sample(T(3, 4), 1, unbiased=False), Sample(T(3, 4), 1, correction=0),
        Sample(T(3, 4), dim=None, correction=2), Sample(T(3, 4), (0, 1), keepdim=True),
    )), rtol=1e-4),
    Op("std", both(reduction(bad=VAR_BAD, dtypes=FLOATS, special=False, empty=False), fixed(
        Sample(T(3, 4), 1, unbiased=False), Sample(T(3, 4), 1, correction=0),
        Sample(T(3, 4), (0, 1), keepdim=True),
    )), rtol=1e-4, smooth=False),
    Op("var_mean", fixed(Sample(T(3, 4)), Sample(T(3, 4), 1), Sample(T(3, 4), (0, 1),
                                                                    keepdim=True)),
       method=False, rtol=1e-4),
    Op("std_mean", fixed(Sample(T(3, 4)), Sample(T(3, 4), 1)), method=False, rtol=1e-4),
    Op("prod", both(reduction(many=False, of=(0.5, 2)), fixed(
        Sample(T(values=[2.0, 0.0, 3.0])), Sample(T(values=[0.0, 0.0, 3.0])),
        Sample(T(2, 3, dtype="int64")), Sample(T(2, 3), 0, dtype=D("float64")),
    )), rtol=1e-4),
    extreme("max"),
    extreme("min"),
    Op("amax", both(reduction(empty=False), fixed(Sample(T(values=[1.0, 3.0, 3.0])))),
       smooth=False),
    Op("amin", both(reduction(empty=False), fixed(Sample(T(values=[1.0, 1.0, 3.0])))),
       smooth=False),
    Op("aminmax", fixed(Sample(T(2, 3)), Sample(T(2, 3), dim=1, keepdim=True)), smooth=False),
    *[Op(name, both(
        reduction(many=False, empty=False, dtypes=(*INTS, *FLOATS)),
        fixed(Sample(T(values=[2, 5, 5, 2], dtype="int64")),
              Sample(T(values=[2.0, NAN, 5.0, NAN], grad=False)),
              Sample(T(2, 3), dim=None, keepdim=True)),
    ), grad=False) for name in ("argmax", "argmin")],
    Op("any", reduction(), grad=False),
    Op("all", reduction(), grad=False),
    Op("norm", both(
        reduction(dtypes=FLOATS, special=False, many=False, whole=False, empty=False, extra=(2,)),
        fixed(Sample(T(3, 4)), Sample(T(3, 4), 2), Sample(T(3, 4), 1), Sample(T(3, 4), INF),
              Sample(T(3, 4), -INF), Sample(T(3, 4), 3, 1), Sample(T(3, 4), 0, 1),
              Sample(T(3, 4), "fro"), Sample(T(3, 4), 2, (0, 1)), Sample(T(3, 4), 1, 1, True),
              Sample(T(values=[0.0, 0.0]))),
    ), smooth=False, rtol=1e-4),
    Op("logsumexp", both(
        reduction(whole=False, dtypes=("int64", "int32", *FLOATS)),
        fixed(Sample(T(values=[-INF, -INF], grad=False), 0), Sample(T(values=[100.0, 101.0]), 0)),
    ), rtol=1e-4),
    Op("count_nonzero", fixed(
        Sample(T(values=[0.0, 1.0, NAN], grad=False)), Sample(T(3, 4, dtype="bool"), 0),
        Sample(T(3, 4, dtype="int64", of=(0, 1)), (0, 1)),
    ), grad=False),
    Op("cumsum", both(
        reduction(whole=False, many=False, keepdim=False),
        fixed(Sample(T(3, 300), 1), Sample(T(2, 3), 0, dtype=D("float64"))),
    ), inplace=True, out=True, rtol=1e-4),
    Op("cumprod", both(
        reduction(of=(0.5, 2), whole=False, many=False, keepdim=False, special=False),
        fixed(Sample(T(values=[2.0, 0.0, 3.0]), 0)),
    ), inplace=True, out=True, rtol=2e-3),
    Op("cummax", fixed(Sample(T(3, 4), 1), Sample(T(4), 0), Sample(T(3, 4, dtype="int64"), 0)),
       smooth=False),
    Op("cummin", fixed(Sample(T(3, 4), 1), Sample(T(4), 0)), smooth=False),
    Op("logcumsumexp", fixed(Sample(T(3, 4), 1), Sample(T(5), 0)), rtol=1e-4),
    Op("softmax", fixed(
        Sample(T(3, 4), 1), Sample(T(3, 4), 0), Sample(T(3, 4), -1), Sample(T(), 0),
        Sample(T(2, 3, 4), 1), Sample(T(3, 4, layout="transposed"), 1),
        Sample(T(values=[1.0, -INF, 2.0], grad=False), 0), Sample(T(2, 200), 1),
        Sample(T(3, dtype="int64"), 0, dtype=D("float32")), Sample(T(0, 3), 1),
        Sample(T(3, 4, dtype="float16"), 1), bad(*DIM_ERROR, T(2, 3), 2),
    ), rtol=1e-4),
    Op("log_softmax", fixed(
        Sample(T(3, 4), 1), Sample(T(3, 4), 0), Sample(T(2, 3, 4), -2), Sample(T(2, 200), 1),
        Sample(T(3, 4, dtype="bfloat16"), 1), bad(*DIM_ERROR, T(2, 3), 2),
    ), rtol=1e-4),
    Op("median", fixed(Sample(T(5)), Sample(T(4)), Sample(T(3, 4), 1)), smooth=False),
    Op("quantile", fixed(Sample(T(5), 0.5), Sample(T(3, 4), 0.25, 1)), smooth=False),
    Op("unique", fixed(
        Sample(indices(3, 1, 3, 2, 1)), Sample(indices(3, 1, 3), return_counts=True),
        Sample(indices(3, 1, 3, 2), return_inverse=True),
    ), grad=False),
    Op("bincount", fixed(Sample(indices(0, 2, 2, 5)), Sample(indices(1), minlength=4)), grad=False),
    Op("dist", fixed(Sample(T(2, 3), T(2, 3)), Sample(T(3), T(3), 1))),
]  # fmt: skip


def matmul_samples(r: random.Random) -> Iterable[Sample]:
    m, k, n = (r.choice((1, 2, 3, 5, 8)) for _ in range(3))
    yield Sample(T(m, k), T(k, n))
    yield Sample(T(k), T(k))
    yield Sample(T(m, k), T(k))
    yield Sample(T(k), T(k, n))
    yield Sample(T(2, m, k), T(2, k, n))
    yield Sample(T(2, m, k), T(k, n))
    yield Sample(T(m, k), T(3, k, n))
    yield Sample(T(3, 1, m, k), T(2, k, n))
    yield Sample(T(2, m, k), T(k))
    yield Sample(T(k), T(2, k, n))
    yield Sample(T(k, m, layout="transposed"), T(m, n, layout="transposed"))
    yield Sample(T(m, k, layout="strided"), T(k, n, layout="offset"))
    yield Sample(T(m, k, layout="expanded"), T(k, n))
    yield Sample(T(2, k, m, layout="transposed"), T(2, m, n))
    yield Sample(T(17, 33), T(33, 20))
    yield Sample(T(70, 65), T(65, 3))
    yield Sample(T(0, k), T(k, n))
    yield Sample(T(m, 0), T(0, n))
    yield Sample(T(0, m, k), T(0, k, n))
    yield Sample(T(m, k, dtype="int64"), T(k, n, dtype="int64"))
    for d in ("float64", "float16", "bfloat16"):
        yield Sample(T(3, 4, dtype=d), T(4, 2, dtype=d))
    yield Sample(T(values=[1.0, NAN, INF], grad=False), T(3, 2, grad=False))
    yield bad(
        RuntimeError,
        r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x2\)",
        T(2, 3),
        T(4, 2),
    )
    yield bad(RuntimeError, "both arguments to matmul need to be at least 1D", T(), T(2, 2))
    yield bad(
        RuntimeError,
        "inconsistent tensor size, expected tensor \\[3\\] and src \\[4\\]",
        T(3),
        T(4),
    )
    yield bad(
        RuntimeError, "expected m1 and m2 to have the same dtype", T(2, 2), T(2, 2, dtype="float64")
    )


EINSUM = [
    ("i,i->", (3,), (3,)), ("i,j->ij", (3,), (4,)), ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("ii->i", (3, 3)),
    ("ii", (3, 3)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->j", (2, 3)), ("ij", (2, 3)),
    ("ba", (2, 3)), ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)), ("...i->...", (2, 3, 4)),
    ("i...,i->...", (2, 3), (2,)), ("ij,ij->ij", (2, 3), (2, 3)), ("ij,kj->ikj", (2, 3), (4, 3)),
    ("a,b,c->abc", (2,), (3,), (2,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("iij->j", (3, 3, 2)),
    ("ij,i->ij", (2, 3), (2,)), ("i j , j k -> i k", (2, 3), (3, 4)), ("iA,A->i", (2, 3), (3,)),
    ("...,...", (2, 3), (3,)), (",i->i", (), (3,)), ("ij,ij", (1, 3), (2, 3)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
]  # fmt: skip


def einsum_samples(r: random.Random) -> Iterable[Sample]:
    for equation, *shapes in EINSUM:
        yield Sample(equation, *[T(*s) for s in shapes])
    yield Sample("ij,jk->ik", [T(2, 3), T(3, 2)])
    yield Sample("ij,jk->ik", T(3, 2, layout="transposed"), T(2, 3, dtype="float32"))
    yield Sample("ij,jk->ik", T(2, 3, dtype="float16"), T(3, 2, dtype="float16"))
    yield Sample("ij,jk->ik", T(0, 3), T(3, 2))
    yield bad(
        RuntimeError,
        r"einsum\(\): subscript j has size 4 for operand 1 which does not broadcast with "
        "previously seen size 3",
        "ij,jk->ik",
        T(2, 3),
        T(4, 2),
    )
    yield bad(
        RuntimeError,
        r"einsum\(\): fewer operands were provided than specified in the equation",
        "ij,jk->ik",
        T(2, 3),
    )
    unknown = (
        r"einsum\(\): output subscript k does not appear in the equation for any input operand"
    )
    yield bad(RuntimeError, unknown, "ij->k", T(2, 3))
    yield bad(RuntimeError, unknown, "ij,j->k", T(2, 3), T(4))  # sizes are looked at afterwards
    yield bad(RuntimeError, r"einsum\(\): the number of subscripts in the equation \(3\) does not "
              "match the number of dimensions", "ijk->i", T(2, 3))  # fmt: skip


MATMULS = [
    Op("matmul", matmul_samples, out=True, rtol=1e-4),
    Op("mm", fixed(
        Sample(T(2, 3), T(3, 4)), Sample(T(3, 2, layout="transposed"), T(2, 3, layout="strided")),
        Sample(T(2, 3, dtype="float16"), T(3, 2, dtype="float16")),
        bad(RuntimeError, "self must be a matrix", T(2), T(2, 2)),
        bad(RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)",
            T(2, 3), T(2, 3)),
    ), out=True, rtol=1e-4),
    Op("bmm", fixed(
        Sample(T(2, 3, 4), T(2, 4, 5)), Sample(T(0, 3, 4), T(0, 4, 5)),
        Sample(T(2, 3, 4, layout="strided"), T(2, 4, 5)),
        bad(RuntimeError, "batch1 must be a 3D tensor", T(2, 2), T(2, 2, 2)),
        bad(RuntimeError, r"Expected size for first two dimensions of batch2 tensor to be: "
            r"\[2, 4\] but got: \[2, 3\]", T(2, 3, 4), T(2, 3, 4)),
    ), out=True, rtol=1e-4),
    Op("mv", fixed(Sample(T(2, 3), T(3))), rtol=1e-4),
    Op("dot", fixed(
        Sample(T(3), T(3)), Sample(T(0), T(0)), Sample(T(3, dtype="int64"), T(3, dtype="int64")),
        bad(RuntimeError, "1D tensors expected, but got 2D and 1D tensors", T(2, 2), T(2)),
    ), rtol=1e-4),
    Op("outer", fixed(Sample(T(2), T(3)), Sample(T(0), T(3)))),
    Op("addmm", fixed(
        Sample(T(2, 4), T(2, 3), T(3, 4)), Sample(T(4), T(2, 3), T(3, 4)),
        Sample(T(2, 4), T(2, 3), T(3, 4), beta=0.5, alpha=2),
    ), inplace=True, out=True, rtol=1e-4),
    Op("baddbmm", fixed(Sample(T(2, 3, 5), T(2, 3, 4), T(2, 4, 5), beta=0.5, alpha=2)), rtol=1e-4),
    Op("einsum", einsum_samples, method=False, rtol=1e-4),
    Op("tensordot", fixed(
        Sample(T(2, 3, 4), T(3, 4, 5)), Sample(T(2, 3, 4), T(4, 3), dims=([2, 1], [0, 1])),
        Sample(T(2, 3), T(3, 2), dims=1),
    ), method=False, rtol=1e-4),
    Op("kron", fixed(Sample(T(2, 2), T(2, 3)))),
    Op("cross", fixed(Sample(T(2, 3), T(2, 3)), Sample(T(3, 2), T(3, 2), dim=0))),
    Op("trace", fixed(Sample(T(3, 3)), Sample(T(2, 4)))),
]  # fmt: skip

SHAPE_BAD = bad(RuntimeError, r"shape '\[4, 2\]' is invalid for input of size 6", T(2, 3), (4, 2))
VIEWS = [
    Op("reshape", both(everywhere(((2, 6),), ((-1,),), ((4, 3, 1),)), fixed(
        Sample(T(0, 3), (3, 0, 2)), Sample(T(), (1, 1)), Sample(T(1), ()), SHAPE_BAD,
        bad(RuntimeError, "only one dimension can be inferred", T(2, 3), (-1, -1)),
        bad(RuntimeError, r"cannot reshape tensor of 0 elements into shape \[0, -1\] because the "
            "unspecified dimension size -1 can be any value and is ambiguous", T(0, 3), (0, -1)),
    ))),
    Op("view", fixed(
        Sample(T(2, 6), 3, 4), Sample(T(2, 6), (-1, 2)), Sample(T(2, 6), [12]),
        Sample(T(3, 4, layout="offset"), 12), Sample(T(3, 4, layout="strided"), 3, 2, 2),
        Sample(T(0, 2), 2, 0), SHAPE_BAD,
        bad(RuntimeError, r"view size is not compatible with input tensor's size and stride \(at "
            r"least one dimension spans across two contiguous subspaces\). Use .reshape\(...\) "
            "instead", T(3, 4, layout="transposed"), 12),
    ), function=False),
    Op("view_as", fixed(Sample(T(2, 6), T(3, 4))), function=False),
    Op("reshape_as", fixed(Sample(T(3, 4, layout="transposed"), T(2, 6))), function=False),
    Op("flatten", both(everywhere((), (1,), (0, 1)), fixed(Sample(T(2, 3, 4, 5), 1, 2),
                                                           Sample(T())))),
    Op("ravel", everywhere(())),
    Op("unflatten", fixed(Sample(T(2, 6), 1, (2, 3)), Sample(T(6), 0, (-1, 2)))),
    Op("transpose", both(everywhere((0, 1), (-1, 0)), fixed(Sample(T(2, 3, 4), 0, 2),
                                                            bad(*DIM_ERROR, T(2, 3), 0, 2)))),
    Op("swapaxes", fixed(Sample(T(2, 3, 4), 0, 2))),
    Op("t", both(everywhere(()), fixed(Sample(T(3)), Sample(T()), bad(
        RuntimeError, r"t\(\) expects a tensor with <= 2 dimensions, but self is 3D",
        T(2, 2, 2))))),
    Op("permute", both(everywhere(((1, 0),), ((0, -1),)), fixed(
        Sample(T(2, 3, 4), (2, 0, 1)), Sample(T(), ()),
        bad(RuntimeError, r"permute\(sparse_coo\): number of dimensions in the tensor input does "
            r"not match the length of the desired ordering of dimensions i.e. input.dim\(\) = 2 is "
            r"not equal to len\(dims\) = 3", T(2, 3), (0, 1, 2)),
        bad(RuntimeError, r"permute\(\): duplicate dims are not allowed", T(2, 3), (0, 0)),
    ))),
    Op("T", fixed(Sample(T(2, 3)), Sample(T(3, 4, layout="strided"))), call=lambda lib, x: x.T),
    Op("mT", fixed(Sample(T(2, 3, 4))), call=lambda lib, x: x.mT),
    Op("movedim", fixed(Sample(T(2, 3, 4), 0, -1), Sample(T(2, 3, 4), (0, 1), (2, 0)))),
    Op("expand", fixed(
        Sample(T(3, 1), 3, 4), Sample(T(3), 2, 3), Sample(T(3, 1), -1, 4), Sample(T(), 2, 2),
        Sample(T(1, 3, layout="strided"), 2, 3), Sample(T(1, 0), 3, 0),
        bad(RuntimeError, r"The expanded size of the tensor \(4\) must match the existing size "
            r"\(3\) at non-singleton dimension 0.  Target sizes: \[4\].  Tensor sizes: \[3\]",
            T(3), 4),
    ), function=False),
    Op("expand_as", fixed(Sample(T(3, 1), T(3, 4))), function=False),
    Op("broadcast_to", fixed(Sample(T(3, 1), (2, 3, 4)))),
    Op("broadcast_tensors", fixed(Sample(T(3, 1), T(1, 4), T())), method=False),
    Op("squeeze", fixed(
        Sample(T(1, 3, 1)), Sample(T(1, 3, 1), 0), Sample(T(1, 3, 1), 1), Sample(T(1, 3, 1), (0,
        2)),
        Sample(T(), 0), Sample(T(1, 3, 2, layout="strided"), 0), bad(*DIM_ERROR, T(1, 3), 2),
    )),
    Op("unsqueeze", both(everywhere((0,), (-1,), (2,)), fixed(Sample(T(), 0), bad(
        IndexError, r"Dimension out of range \(expected to be in range of \[-3, 2\], but got 3\)",
        T(2, 3), 3)))),
    Op("narrow", both(everywhere((0, 1, 2), (1, 0, 3), (-1, -2, 2)), fixed(
        Sample(T(3), 0, 3, 0),
        bad(RuntimeError, r"start \(2\) \+ length \(2\) exceeds dimension size \(3\)",
            T(3), 0, 2, 2)))),
    Op("select", both(everywhere((0, 1), (1, -1)), fixed(bad(
        IndexError, r"select\(\): index 5 out of range for tensor of size \[3, 4\] at dimension 0",
        T(3, 4), 0, 5)))),
    Op("unbind", both(everywhere((), (1,), (-1,)), fixed(Sample(T(0, 2))))),
    Op("split", both(everywhere((2,), ([1, 2],), (3, 1), ([1, 0, 3], 1)), fixed(
        Sample(T(5, 2), 2),
        bad(RuntimeError, r"split_with_sizes expects split_sizes to sum exactly to 3 \(input "
            r"tensor's size at dimension 0\), but got split_sizes=\[1, 1\]", T(3), [1, 1])))),
    Op("chunk", both(everywhere((2,), (3, 1), (7, 1)), fixed(bad(
        RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0", T(3), 0)))),
    Op("tensor_split", fixed(Sample(T(5), 2), Sample(T(5, 3), (1, 3)), Sample(T(2, 5), 3, 1))),
    Op("diagonal", both(everywhere((), (1,), (-2,), (0, 1, 0)), fixed(
        Sample(T(2, 3, 4), 0, 1, 2), Sample(T(3, 3), 5)))),
    Op("diag", fixed(Sample(T(3)), Sample(T(3, 4)), Sample(T(3), 1), Sample(T(3, 4), -1))),
    Op("diag_embed", fixed(Sample(T(2, 3)), Sample(T(3), 1))),
    Op("as_strided", fixed(
        Sample(T(12), (3, 2), (2, 1)), Sample(T(12), (3, 3), (1, 1), 2),
        Sample(T(3, 4), (2, 2), (4, 2), 1), Sample(T(6), (2, 3), (0, 1)),
        bad(RuntimeError, "setStorage: sizes .* out of bounds", T(4), (3, 3), (3, 1)),
    )),
    Op("unfold", fixed(Sample(T(7), 0, 3, 2), Sample(T(2, 5), 1, 2, 1)), function=False),
    Op("detach", everywhere(()), grad=False),
    Op("contiguous", everywhere(()), function=False),
    Op("clone", everywhere(())),
    Op("slice", both(*[everywhere((s,)) for s in (
        slice(None), slice(1, 3), slice(None, None, 2), slice(-2, None), slice(5, 1),
        (slice(None), slice(1, None, 2)), (..., 0), (0, ...), (None, 0), (1, None, slice(0, 2)),
        -1, ..., (slice(0, 0),), (), (..., None))]), call=lambda lib, x, i: x[i]),
]  # fmt: skip

MOVES = [
    Op("cat", fixed(
        Sample([T(2, 3), T(1, 3)]), Sample([T(2, 3), T(2, 2)], 1), Sample([T(2, 3), T(2, 3)], -1),
        Sample([T(2, 3), T(0), T(1, 3)]), Sample([T(0), T(0)]), Sample((T(2), T(3), T(1)), dim=0),
        Sample([T(2, dtype="int64"), T(2)]), Sample([T(2, dtype="bool"), T(2, dtype="uint8")]),
        Sample([T(3, 2, layout="transposed"), T(3, 2, layout="strided")], 1),
        Sample([T(2)]), Sample([T(1, 2) for _ in range(12)]),
        *[Sample([T(2, dtype=d), T(3, dtype=d)]) for d in DTYPES],
        bad(ValueError, "expected a non-empty list of Tensors", []),
        bad(RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated".replace(
            "(", r"\(").replace(")", r"\)"), [T(), T()]),
        bad(RuntimeError, "Sizes of tensors must match except in dimension 0. Expected size 3 but "
            "got size 2 for tensor number 1 in the list", [T(2, 3), T(2, 2)]),
        bad(RuntimeError, "Tensors must have same number of dimensions: got 2 and 1",
            [T(2, 3), T(3)]),
    ), method=False),
    Op("stack", fixed(
        Sample([T(2, 3), T(2, 3)]), Sample([T(2, 3), T(2, 3)], 1), Sample([T(2), T(2)], -1),
        Sample([T(), T(), T()]), Sample([T(2, dtype="int64"), T(2)]),
        Sample([T(2, 3, layout="transposed"), T(2, 3)], 2),
        bad(RuntimeError, "stack expects a non-empty TensorList", []),
        bad(RuntimeError, r"stack expects each tensor to be equal size, but got \[2\] at entry 0 "
            r"and \[3\] at entry 1", [T(2), T(3)]),
    ), method=False),
    Op("hstack", fixed(Sample([T(2), T(3)]), Sample([T(2, 1), T(2, 3)])), method=False),
    Op("vstack", fixed(Sample([T(3), T(3)]), Sample([T(2, 3), T(3)])), method=False),
    Op("repeat", fixed(Sample(T(2, 3), 2, 2), Sample(T(3), 2, 2), Sample(T(2, 1), 1, 0),
                       bad(RuntimeError, "Number of dimensions of repeat dims can not be smaller "
                           "than number of dimensions of tensor", T(2, 3), 2)), function=False),
    Op("tile", fixed(Sample(T(2, 3), (2,)), Sample(T(3), (2, 2)))),
    Op("repeat_interleave", fixed(Sample(T(3), 2), Sample(T(2, 3), 2, 1), Sample(
        T(3), T(values=[1, 0, 2], dtype="int64"), 0))),
    Op("flip", everywhere(((0,),), ((1,),), ((0, 1),), ((-1,),))),
    Op("fliplr", fixed(Sample(T(2, 3)))),
    Op("flipud", fixed(Sample(T(2, 3)))),
    Op("rot90", fixed(Sample(T(2, 3)), Sample(T(2, 3), -1, (0, 1)))),
    Op("roll", both(everywhere((1,), (-2, 1), ((1, 2), (0, 1))), fixed(Sample(T(0), 1)))),
    Op("tril", both(everywhere((), (1,), (-1,), (5,)), fixed(Sample(T(2, 3, 3))))),
    Op("triu", both(everywhere((), (1,), (-1,), (-5,)), fixed(Sample(T(2, 3, 3)), bad(
        RuntimeError, "must have at least 2 dimensions", T(3))))),
    Op("pad", fixed(
        Sample(T(2, 3), (1, 2)), Sample(T(2, 3), (1, 2, 0, 1), value=1.5),
        Sample(T(2, 3), (-1, 1)), Sample(T(2, 3, dtype="int64"), (1, 1), value=7),
        Sample(T(1, 2, 4), (2, 1), mode="reflect"), Sample(T(1, 2, 4), (2, 1), mode="replicate"),
        Sample(T(1, 2, 4), (2, 1), mode="circular"), Sample(T(1, 2, 3, 4), (1, 1, 1, 0),
                                                            mode="reflect"),
        Sample(T(3, 4, layout="transposed"), (1, 1)),
    ), call=lambda lib, *a, **k: lib.nn.functional.pad(*a, **k)),
]  # fmt: skip

OUT_OF_RANGE = "out of (bounds|range)"

INDEXING = [
    Op("gather", fixed(
        Sample(T(3, 4), 1, index(3, 2, n=4)), Sample(T(3, 4), 0, index(2, 4, n=3)),
        Sample(T(3, 4), -1, index(1, 6, n=4)), Sample(T(5), 0, index(7, n=5)),
        Sample(T(3, 4, layout="transposed"), 1, index(3, 4, n=4)),
        Sample(T(3, 4, dtype="int64"), 1, index(3, 4, n=4)), Sample(T(3), 0, index(0, n=3)),
        Sample(T(), 0, index(n=1)), Sample(T(2, 3, 4), 1, index(2, 2, 3, n=3)),
        bad(RuntimeError, r"gather\(\): Expected dtype int32/int64 for index", T(3), 0, T(3)),
        bad(RuntimeError, "Index tensor must have the same number of dimensions as input tensor",
            T(3, 4), 1, index(3, n=4)),
        bad(RuntimeError, r"Size does not match at dimension 0 expected index \[4, 2\] to be no "
            r"larger than self \[3, 4\] apart from dimension 1", T(3, 4), 1, index(4, 2, n=4)),
    )),
    Op("take_along_dim", fixed(Sample(T(3, 4), index(3, 1, n=4), 1), Sample(T(3, 4), index(5,
        n=12)))),
    Op("take", fixed(Sample(T(3, 4), index(2, 2, n=12)))),
    Op("scatter", fixed(
        Sample(T(3, 5), 0, T(1, 5, dtype="int64", of=(0, 2)), T(1, 5)),
        Sample(T(3, 5), 0, T(1, 5, dtype="int64", of=(0, 2)), 2.5),
        Sample(T(3, 5, dtype="int64"), 0, T(1, 5, dtype="int64", of=(0, 2)),
               T(2, 6, dtype="int64")),
        Sample(T(5), 0, indices(3, 0), T(2)),
        Sample(T(5, layout="strided"), 0, indices(3, 0), T(2)),
        Sample(T(5), 0, indices(), T(0)),
        bad(RuntimeError, r"scatter\(\): Expected self.dtype to be equal to src.dtype", T(5), 0,
            indices(1), T(1, dtype="float64")),
        bad(RuntimeError, r"scatter\(\): Expected dtype int32/int64 for index", T(5), 0, T(2),
            T(2)),
    ), inplace=True),
    Op("scatter_add", fixed(
        Sample(T(5), 0, indices(3, 0, 3, 3), T(4)), Sample(T(3, 4), 1, index(3, 6, n=4), T(3, 6)),
        Sample(T(3, 4), 0, index(5, 3, n=3), T(5, 3)), Sample(T(5), 0, index(300, n=5), T(300)),
        Sample(T(5, dtype="int64"), 0, index(7, n=5), T(7, dtype="int64")),
    ), inplace=True, rtol=1e-4),
    Op("scatter_reduce", fixed(
        *[Sample(T(5), 0, indices(3, 0, 3, 1), T(4), reduce=m, include_self=s)
          for m in ("sum", "prod", "mean", "amax", "amin") for s in (True, False)],
    ), smooth=False),
    Op("index_select", both(everywhere((0, index(4, n=3)), (1, index(2, n=4))), fixed(
        Sample(T(3, 4), 0, index(0, n=3)), Sample(T(2, 3, 4), 1, index(5, n=3)),
        Sample(T(3), 0, T(dtype="int64", of=(0, 2))), Sample(T(3, 4), -1, T(3, dtype="int32",
        of=(0, 3))),
        bad(IndexError, r"index_select\(\): Index is supposed to be a vector", T(3), 0, index(2, 2,
            n=3)),
    ))),
    Op("index_add", fixed(Sample(T(3, 4), 0, indices(2, 0, 2), T(3, 4)),
                          Sample(T(3, 4), 1, indices(1), T(3, 1), alpha=2),
                          Sample(T(2, 3, 5), 1, index(7, n=3), T(2, 7, 5)),
                          Sample(T(2, 3, 2, 4), -3, indices(1, 2), T(2, 2, 2, 4)),
                          Sample(T(4, 3, layout="transposed"), 0, indices(3, 0, 3), T(3, 3)),
                          Sample(T(3, 4), 0, indices(), T(0, 4)),
                          Sample(T(3, 0), 0, indices(2, 0), T(2, 0))), inplace=True),
    Op("index_copy", fixed(Sample(T(3, 4), 0, indices(2, 0), T(2, 4)),
                           Sample(T(2, 3, 5), 1, indices(2, 0), T(2, 2, 5))), inplace=True),
    Op("index_fill", fixed(Sample(T(3, 4), 1, indices(2, 0), 1.5),
                           Sample(T(2, 3, 4), 1, indices(2, -3), 1.5)), inplace=True),
    Op("index_put", fixed(
        Sample(T(3, 4), (indices(0, 2), indices(1, 3)), T(2)),
        Sample(T(3, 4), (indices(0, 0), indices(1, 1)), T(2), accumulate=True),
        Sample(T(3, 4), (indices(0, 2),), T(4)),
        Sample(T(2, 3, 5), (indices(1, 0, 1),), T(3, 3, 5), accumulate=True),
        Sample(T(2, 3, 5), (indices(1, 0, 1), indices(2, 1, 2)), T(5), accumulate=True),
    ), inplace=True),
    Op("nonzero", fixed(
        Sample(T(values=[0.0, 1.0, 0.0, -2.0], grad=False)), Sample(T(3, 4, dtype="bool")),
        Sample(T(dtype="bool")), Sample(T(0, 3)), Sample(T(3, 4, dtype="int64", of=(0, 1))),
    ), grad=False),
    Op("getitem", fixed(
        *[Sample(T(4, 5), i) for i in (
            [0, 2], ([0, 1], [1, 2]), ([3, -1],), (slice(None), [0, 2, 4]), (0, [1, 2]),
            ([1, 2], 0), (None, [1, 2]), (..., [0, 1]), (slice(1, 3), [0, -1]), ([[0], [1]], [[2,
            3]]),
            (slice(None, None, 2), [1, 3, 1]), ([], ), ([True, False, True, True],))],
        Sample(T(4, 5), T(4, 5, dtype="bool")), Sample(T(4, 5), T(4, dtype="bool")),
        Sample(T(4, 5), (slice(None), T(5, dtype="bool"))), Sample(T(4, 5), index(2, 3, n=4)),
        Sample(T(4, 5), (index(3, n=4), index(3, n=5))), Sample(T(4, 5), T(dtype="int64", of=(0,
        3))),
        Sample(T(2, 3, 4), (indices(0, 1), slice(None), indices(2, 3))),
        Sample(T(2, 3, 4), (slice(None), indices(0, 2), indices(1, 3))),
        Sample(T(2, 3, 4), (0, slice(None), indices(1, 3))),
        Sample(T(2, 3, 4), (index(2, 2, n=2), ..., index(2, 1, n=4))),
        Sample(T(2, 3, 4), (T(2, 3, dtype="bool"), 0)),
        Sample(T(4, 5, layout="transposed"), [2, 0, 2]), Sample(T(4, 5, layout="strided"), [2, 0,
        2]),
        Sample(T(0, 3), indices()), Sample(T(4, dtype="bool"), [0, 0]), Sample(T(), ()),
        Sample(T(), None),
        Sample(T(4), True), Sample(T(4), False), Sample(T(4, dtype="float16"), [1, 3]),
        bad(IndexError, "too many indices for tensor of dimension 1", T(3), (0, 0)),
        bad(IndexError, "index 3 is out of bounds for dimension 0 with size 3", T(3), 3),
        bad(IndexError, "index -4 is out of bounds for dimension 0 with size 3", T(3), -4),
        bad(IndexError, OUT_OF_RANGE, T(3), [0, 3]),
        bad(IndexError, OUT_OF_RANGE, T(3), indices(-4)),
        bad(ValueError, "step must be greater than zero", T(3), slice(None, None, -1)),
        bad(IndexError, "The shape of the mask \\[3\\] at index 0 does not match the shape of the "
            "indexed tensor \\[2, 2\\] at index 0", T(2, 2), T(3, dtype="bool")),
        bad(IndexError, "tensors used as indices must be long, int, byte or bool tensors", T(3),
            T(2)),
        bad(IndexError, "shape mismatch: indexing tensors could not be broadcast together with "
            r"shapes \[2\], \[3\]", T(4, 4), ([0, 1], [0, 1, 2])),
        bad(IndexError, r"invalid index of a 0-dim tensor. Use `tensor.item\(\)` in Python", T(),
            0),
        bad(IndexError, "only integers, slices (`:`), ellipsis (`...`), None and long or byte "
            "Variables are valid indices".replace("(", r"\(").replace(")", r"\)"), T(3), 1.5),
    ), call=lambda lib, x, i: x[i]),
    Op("setitem", fixed(
        *[Sample(T(4, 5), i, v) for i, v in (
            (0, 1.5), ((0, 1), T()), (slice(1, 3), T(5)), (slice(None, None, 2), T(2, 5)),
            ((slice(None), 2), T(4)), ([0, 2], T(5)), ([0, 2], T(2, 5)), (([0, 1], [1, 2]), T(2)),
            (([0, 1], [1, 2]), 0.5), (..., 2.0), ((..., slice(1, 3)), T(2)), ((None, 1), T(1, 5)),
            ((slice(1, 3), [0, -1]), T(2, 2)), (slice(0, 0), 3.0), ((1, slice(None, None, 3)),
            T(2)))],
        Sample(T(4, 5), T(4, 5, dtype="bool"), 0.0), Sample(T(4, 5), T(4, dtype="bool"), T(5)),
        Sample(T(4, 5), T(values=[True, False, True, False], dtype="bool"), T(2, 5)),
        Sample(T(4, 5), (indices(0, 3), slice(1, 4)), T(3)),
        Sample(T(2, 3, 4), (indices(0, 1), slice(None), indices(2, 3)), T(2, 3)),
        Sample(T(4, 5, dtype="int64"), 0, 2.75), Sample(T(4, 5, dtype="float16"), 1, T(5)),
        Sample(T(4, 5, dtype="int32"), (0,), T(5, dtype="int64")),
        Sample(T(4), T(dtype="int64", of=(0, 3)), 2.0), Sample(T(4), True, 2.0),
        Sample(T(), (), 2.0), Sample(T(), ..., 2.0),
        bad(RuntimeError,
            r"The expanded size of the tensor \(5\) must match the existing size \(3\) at "
            r"non-singleton dimension 0.  Target sizes: \[5\].  Tensor sizes: \[3\]",
            T(4, 5), 0, T(3)),
        bad(RuntimeError,
            r"shape mismatch: value tensor of shape \[3\] cannot be broadcast to indexing "
            r"result of shape \[2, 5\]", T(4, 5), [0, 1], T(3)),
        bad(IndexError, "index 4 is out of bounds for dimension 0 with size 4", T(4), 4, 1.0),
    ), call=lambda lib, x, i, v: set_item(x, i, v)),
    Op("sort", fixed(
        Sample(T(3, 5)), Sample(T(3, 5), 0), Sample(T(3, 5), descending=True), Sample(T(7)),
        Sample(T(3, 5, layout="transposed"), 1), Sample(T(), 0), Sample(T(0, 3), 1),
        Sample(T(values=[3, 1, 3, 2, 1], dtype="int64"), stable=True),
        Sample(T(values=[3, 1, 3, 2, 1], dtype="int64"), stable=True, descending=True),
        Sample(T(values=[NAN, 1.0, INF, -INF, 0.0], grad=False)),
        Sample(T(values=[NAN, 1.0, INF, -INF], grad=False), descending=True),
        Sample(T(2, 70)), *[Sample(T(6, dtype=d), stable=True) for d in (*INTS, *FLOATS)],
        Sample(T(6, dtype="bool"), stable=True), bad(*DIM_ERROR, T(2, 3), 2),
    )),
    Op("argsort", fixed(Sample(T(3, 5)), Sample(T(3, 5), 0, descending=True),
                        Sample(indices(3, 1, 3, 2, 1), stable=True)), grad=False),
    Op("topk", fixed(
        Sample(T(3, 5), 2), Sample(T(3, 5), 2, 0), Sample(T(3, 5), 2, largest=False), Sample(T(7),
        7),
        Sample(T(5, dtype="int64", of=(-100, 100)), 0), Sample(T(2, 40), 3), Sample(T(), 1),
        Sample(T(values=[NAN, 1.0, INF, -INF], grad=False), 3),
        bad(RuntimeError, "selected index k out of range", T(3), 4),
    )),
    Op("kthvalue", fixed(Sample(T(5), 2), Sample(T(3, 5), 3, 1))),
    Op("msort", fixed(Sample(T(5, 2)))),
    Op("searchsorted", fixed(
        Sample(T(values=[1.0, 2.0, 4.0], grad=False), T(values=[0.0, 2.0, 3.0, 5.0], grad=False)),
        Sample(T(values=[1.0, 2.0, 4.0], grad=False), T(values=[2.0], grad=False), right=True),
    ), grad=False, method=False),
    Op("one_hot", fixed(Sample(indices(0, 2, 1)), Sample(indices(0, 2), num_classes=4)),
       call=lambda lib, *a, **k: lib.nn.functional.one_hot(*a, **k), grad=False),
]  # fmt: skip


def set_item(x: Any, i: Any, value: Any) -> Any:
    """``x[i] = value`` as a function of x."""
    x = x.clone()
    x[i] = value
    return x


def created(name: str, *samples: Sample, values: bool = True, **options: Any) -> Op:
    return Op(name, fixed(*samples), grad=False, method=False, values=values, **options)


CREATION = [
    *[created(name, Sample(2, 3), Sample((2, 3)), Sample([0, 2]), Sample(()), Sample(3,
    dtype=D("int64")),
              *[Sample(2, dtype=D(d)) for d in DTYPES], bad(RuntimeError, "[Dd]imension", -1))
      for name in ("zeros", "ones")],
    created("empty", Sample(2, 3), Sample(0), Sample((2,), dtype=D("int64")), values=False),
    created("full", Sample((2, 3), 1.5), Sample((2,), 3), Sample((2,), True), Sample((), 2.0),
            Sample((2,), 3, dtype=D("float32")), Sample((2,), INF)),
    created("arange", Sample(5), Sample(2, 7), Sample(1, 10, 3), Sample(0.0, 1.0, 0.25),
        Sample(5.0),
            Sample(5, 0, -2), Sample(0), Sample(3, dtype=D("float32")), Sample(5, dtype=D("uint8")),
            Sample(1, 2.5, 0.5), Sample(0, 1, 0.1),
            bad(RuntimeError, "step must be nonzero", 0, 5, 0),
            bad(RuntimeError, "upper bound and lower bound inconsistent with step sign", 0, 5, -1)),
    created("linspace", Sample(0, 1, 5), Sample(-1.0, 1.0, 4), Sample(2, 2, 3), Sample(0, 1, 1),
            Sample(0, 1, 0), Sample(0, 10, 5, dtype=D("int64")), Sample(3, -3, 7)),
    created("logspace", Sample(0, 2, 3), Sample(0, 3, 4, base=2)),
    created("eye", Sample(3), Sample(2, 4), Sample(0), Sample(3, dtype=D("int64"))),
    *[created(name, Sample(T(2, 3)), Sample(T(2, dtype="int64")), Sample(T(2, 3), dtype=D("int32")),
              Sample(T(0, 3)), Sample(T(3, 4, layout="transposed")), Sample(T()))
      for name in ("zeros_like", "ones_like")],
    created("empty_like", Sample(T(2, 3)), Sample(T(3, 4, layout="transposed")), values=False),
    created("full_like", Sample(T(2, 3), 1.5), Sample(T(2, dtype="int64"), 3)),
    created("tril_indices", Sample(3, 4), Sample(3, 3, -1)),
    created("triu_indices", Sample(3, 4), Sample(3, 3, 1)),
    created("meshgrid", Sample(T(2), T(3), indexing="ij"), Sample(T(2), T(3), indexing="xy")),
    created("cartesian_prod", Sample(T(2), T(3))),
    Op("new_zeros", fixed(Sample(T(2, 3), (2, 2)), Sample(T(2, dtype="int64"), 3)), function=False,
       grad=False),
    Op("new_ones", fixed(Sample(T(2, 3), (2, 2)), Sample(T(2), 3, dtype=D("int64"))),
        function=False,
       grad=False),
    Op("new_full", fixed(Sample(T(2, 3), (2, 2), 1.5)), function=False, grad=False),
    Op("new_tensor", fixed(Sample(T(2, 3), [1, 2]), Sample(T(2, dtype="int64"), [1.5])),
        function=False,
       grad=False),
]  # fmt: skip


def casts(r: random.Random) -> Iterable[Sample]:
    for a in DTYPES:
        for b in DTYPES:
            yield Sample(T(*dims(r, 1, 2), dtype=a, of=(-100, 100)), D(b))


CASTS = [
    Op("to", casts, function=False),
    Op("type_as", fixed(Sample(T(2, 3), T(1, dtype="int64")), Sample(T(2, dtype="int64"), T(1))),
       function=False),
    *[Op(name, fixed(Sample(T(2, 3)), Sample(T(2, 3, dtype="int64"))), function=False)
      for name in ("float", "half", "bfloat16")],
    *[Op(name, fixed(Sample(T(2, 3)), Sample(T(2, 3, dtype="bool"))), function=False, grad=False)
      for name in ("long", "int", "short", "char", "bool")],
    Op("byte", fixed(Sample(T(2, 3, of=(0, 4))), Sample(T(2, 3, dtype="bool"))), function=False,
       grad=False),
    Op("double", fixed(Sample(T(2, 3)), Sample(T(2, 3, dtype="bool"))), function=False),
]  # fmt: skip

INPLACE = [
    Op("copy_", fixed(
        Sample(T(2, 3), T(2, 3)), Sample(T(2, 3), T(3)), Sample(T(2, 3, dtype="int64"), T(2, 3)),
        Sample(T(2, 3, layout="transposed"), T(2, 3)), Sample(T(2, 3, layout="strided"), T(1, 3)),
        bad(RuntimeError, r"The size of tensor a \(3\) must match the size of tensor b \(2\) at "
            "non-singleton dimension 0", T(3), T(2)),
    ), call=lambda lib, x, y: x.clone().copy_(y)),
    Op("fill_", fixed(Sample(T(2, 3), 1.5), Sample(T(2, 3), T()), Sample(T(2, dtype="int64"), 3)),
       call=lambda lib, x, v: x.clone().fill_(v)),
    Op("zero_", fixed(Sample(T(2, 3)), Sample(T(2, dtype="int64"))),
       call=lambda lib, x: x.clone().zero_()),
    Op("fill_diagonal_", fixed(Sample(T(3, 4), 2.0)), grad=False,
       call=lambda lib, x, v: x.clone().fill_diagonal_(v)),
    Op("iadd", both(binary(number=2.0, dtypes=FLOATS, special=False)),
       call=lambda lib, x, y: iadd(x, y)),
]  # fmt: skip


def iadd(x: Any, y: Any) -> Any:
    """``x += y`` where the result has the shape of x, else out of place."""
    if not hasattr(y, "shape") or (x + y).shape == x.shape:
        x = x.clone()
        x += y
        return x
    return x + y


FUNCTIONAL = [
    Op(name, fixed(Sample(T(2, 3), *args), Sample(T(3, 4, layout="transposed"), *args),
                   Sample(T(0, 3), *args), Sample(T(), *args),
                   Sample(T(5, dtype="float16"), *args)),
       call=lambda lib, *a, name=name, **k: getattr(lib.nn.functional, name)(*a, **k), rtol=2e-4)
    for name, *args in (
        ("gelu",), ("silu",), ("elu",), ("leaky_relu", 0.1), ("softplus",), ("hardtanh",),
        ("relu6",),
        ("mish",), ("logsigmoid",), ("hardswish",), ("hardsigmoid",), ("selu",), ("softsign",),
        ("tanhshrink",),
    )
]  # fmt: skip

_ROWS = [
    *UNARY, *BINARY, *TERNARY, *REDUCTIONS, *MATMULS, *VIEWS, *MOVES, *INDEXING, *CREATION, *CASTS,
    *INPLACE, *FUNCTIONAL,
]  # fmt: skip

OPS = {row.name: row for row in _ROWS}

__all__ = ["OPS", "Make"]
