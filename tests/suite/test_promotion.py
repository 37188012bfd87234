"""Promotion on every device: the dtypes of sums and quotients for every pair of dtypes."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from promotion import ADD, DIV, LETTERS
from sampling import DTYPES

NAME = dict(zip(LETTERS, DTYPES, strict=True))


def others(device: str) -> list[Any]:
    """The other operands, in the order of the table; None where the device lacks the dtype."""
    made: list[Any] = []
    for shape in ((2,), ()):
        for name in DTYPES:
            lacks = device == "webgpu" and name == "float64"
            made.append(None if lacks else torch.ones(shape, dtype=getattr(torch, name)))
    return [*made, True, 2, 2.5]


@pytest.mark.parametrize("a", DTYPES)
def test_table(a: str, device: str) -> None:
    if device == "webgpu" and a == "float64":
        with pytest.raises(TypeError, match="float32"):
            torch.ones(2, dtype=torch.float64)
        return
    x = torch.ones(2, dtype=getattr(torch, a))
    results = []
    for i, other in enumerate(others(device)):
        if other is None:
            continue
        for got, table, value in ((x + other, ADD, None), (x / other, DIV, 1)):
            want = NAME[table[a][i]]
            assert got.dtype is getattr(torch, want), f"{a} with operand {i}"
            if value is not None and hasattr(other, "shape"):
                results.append(got.float())
    assert torch.stack(results).tolist() == [[1.0, 1.0]] * len(results)
