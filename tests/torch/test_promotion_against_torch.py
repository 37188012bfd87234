"""The dtype of results: every pair of dtypes, as tensors, 0-d tensors and Python numbers."""

from __future__ import annotations

from typing import Any

import pytest
from oracle import compared, tabgrad, torch
from sampling import DTYPES

NUMBERS = {"True": True, "2": 2, "2.5": 2.5}
OPS = {
    "add": lambda lib, a, b: lib.add(a, b), "radd": lambda lib, a, b: b + a,
    "mul": lambda lib, a, b: a * b, "sub": lambda lib, a, b: a - b, "div": lambda lib, a, b: a / b,
    "floordiv": lambda lib, a, b: a // b, "mod": lambda lib, a, b: a % b,
    "pow": lambda lib, a, b: a**b, "eq": lambda lib, a, b: a == b, "lt": lambda lib, a, b: a < b,
    "where": lambda lib, a, b: lib.where(lib.tensor([True, False]), a, b),
    "clamp": lambda lib, a, b: a.clamp(min=b), "and": lambda lib, a, b: a & b,
    "result_type": lambda lib, a, b: str(lib.result_type(a, b)),
    "iadd": lambda lib, a, b: a.clone().__iadd__(b),
    "imul": lambda lib, a, b: a.clone().__imul__(b),
    "fill": lambda lib, a, b: a.clone().copy_(b) if hasattr(b, "shape") else lib.full_like(a, b),
    "masked_fill": lambda lib, a, b: a.masked_fill(a > 0, b) if getattr(b, "ndim", 0) == 0 else a,
    "setitem": lambda lib, a, b: set_first(a, b),
}  # fmt: skip


def set_first(a: Any, b: Any) -> Any:
    a = a.clone()
    a[...] = b
    return a


def operand(lib: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    return lib.full(shape, 3, dtype=getattr(lib, dtype))


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_pairs(op: Any) -> None:
    failures = []
    for a in DTYPES:
        for b in (*DTYPES, *NUMBERS):
            for sa, sb in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
                if b in NUMBERS and sb == ():
                    continue

                def program(lib: Any, a: str = a, b: str = b, sa: Any = sa, sb: Any = sb) -> Any:
                    other = NUMBERS[b] if b in NUMBERS else operand(lib, b, sb)
                    return op(lib, operand(lib, a, sa), other)

                told = compared(program, strides=False)
                if told:
                    failures.append(f"{a}{list(sa)} with {b}{list(sb)}: {told}")
    assert not failures, "\n".join(failures)


def test_lattice() -> None:
    for a in DTYPES:
        for b in DTYPES:
            x, y = getattr(tabgrad, a), getattr(tabgrad, b)
            s, t = getattr(torch, a), getattr(torch, b)
            assert str(tabgrad.promote_types(x, y)) == str(torch.promote_types(s, t)), (a, b)
            assert tabgrad.can_cast(x, y) == torch.can_cast(s, t), (a, b)
