"""repr and set_printoptions against PyTorch's, on random tensors of every dtype and shape."""

from __future__ import annotations

import math
import random
from typing import Any

from oracle import tabgrad, torch
from sampling import DTYPES, nest

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0]


def shape(r: random.Random) -> tuple[int, ...]:
    sizes = (0, 1, 2, 3, 5, 7, 12) if r.random() < 0.9 else (1, 13, 29, 40)
    return tuple(r.choice(sizes) for _ in range(r.choice((0, 1, 1, 2, 2, 3, 4))))


def data(r: random.Random, n: int, dtype: str) -> list[Any]:
    if dtype == "bool":
        return [r.random() < 0.5 for _ in range(n)]
    if "int" in dtype:
        low, high = {"uint8": (0, 255), "int8": (-128, 127)}.get(dtype, (-1000, 1000))
        return [r.randint(low, high) for _ in range(n)]
    scale = 10 ** r.uniform(-5, 7) if r.random() < 0.6 else 1.0
    scale = min(scale, 1000.0) if dtype == "float16" else scale
    values = [r.gauss(0, 1) * scale for _ in range(n)]
    if r.random() < 0.4:
        values = [float(round(v)) for v in values]
    if r.random() < 0.3:
        values = [r.choice(SPECIAL) if r.random() < 0.3 else v for v in values]
    return [0.0] * n if r.random() < 0.1 else values


def options(r: random.Random) -> dict[str, Any]:
    return {
        "precision": r.choice([None, 0, 1, 2, 6]),
        "threshold": r.choice([None, 0, 5, 20, 100, math.inf]),
        "edgeitems": r.choice([None, 0, 1, 2, 4]),
        "linewidth": r.choice([None, 10, 40, 120]),
        "profile": r.choice([None, "default", "short", "full"]),
        "sci_mode": r.choice([None, None, True, False]),
    }


def test_random_tensors(seed: int, rounds: int) -> None:
    r = random.Random(seed)
    try:
        for _ in range(rounds * 4):
            size, dtype = shape(r), r.choice((*DTYPES, "float32", "float32", "float32"))
            if math.prod(size) > 20_000:
                continue
            values = data(r, math.prod(size), dtype)
            chosen = options(r) if r.random() < 0.5 else {}
            grad = "float" in dtype and r.random() < 0.4
            call = r.choice(["x", "x.neg()", "x * 1", "x.T" if len(size) == 2 else "x"])
            texts = []
            for lib in (tabgrad, torch):
                lib.set_printoptions(profile="default")
                lib.set_printoptions(**chosen)
                x = lib.zeros(size, dtype=getattr(lib, dtype))
                if values:
                    x = lib.tensor(nest(values, size), dtype=getattr(lib, dtype))
                if grad:
                    x.requires_grad_()
                texts.append(repr(eval(call) if grad else x))
            assert texts[0] == texts[1], f"{dtype} {size} {chosen}"
    finally:
        for lib in (tabgrad, torch):
            lib.set_printoptions(profile="default")


def test_parameters_and_subclasses() -> None:
    for lib in (tabgrad, torch):
        assert repr(lib.nn.Parameter(lib.ones(2))) == (
            "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
        )

        class Mine(lib.Tensor):  # type: ignore[misc, name-defined]
            pass

        assert repr(lib.ones(2).as_subclass(Mine)) == "Mine([1., 1.])"


def test_default_dtype_is_not_told() -> None:
    for lib in (tabgrad, torch):
        try:
            lib.set_default_dtype(lib.float64)
            assert repr(lib.ones(1)) == "tensor([1.])"
            assert repr(lib.ones(1, dtype=lib.float32)) == "tensor([1.], dtype=torch.float32)"
        finally:
            lib.set_default_dtype(lib.float32)


def test_format_and_str() -> None:
    for lib in (tabgrad, torch):
        assert f"{lib.tensor(1.5):.3f}" == "1.500"
        assert f"{lib.tensor([1.5])}" == str(lib.tensor([1.5])) == "tensor([1.5000])"
        assert f"{lib.tensor(7)}" == "7"
