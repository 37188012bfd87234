"""Random index expressions, read and written, with gradients, against PyTorch."""

from __future__ import annotations

import random
from typing import Any

import pytest
from compare import VIEWS
from oracle import compared, tabgrad, torch
from sampling import Sample, T, build

LAYOUTS = ("plain", "transposed", "strided", "offset")


def integer(n: int, r: random.Random) -> int:
    return r.randint(-n - (r.random() < 0.03), n - (r.random() > 0.03)) if n else 0


def part(n: int, r: random.Random) -> slice:
    def end() -> int | None:
        return None if r.random() < 0.4 else r.randint(-n - 1, n + 1)

    return slice(end(), end(), r.choice((None, None, 1, 2, 3)))


def positions(n: int, shape: tuple[int, ...], r: random.Random, as_list: bool) -> Any:
    """An integer tensor, or nested lists of integers."""
    if not n:
        shape = (0,)
    kind = r.choice(("int64", "int64", "int64", "int32"))
    low = -n if r.random() < 0.5 else 0
    if as_list:
        return nested(shape, lambda: r.randint(low, max(n - 1, low)))
    return T(*shape, dtype=kind, of=(low, max(n - 1, low)))


def nested(shape: tuple[int, ...], make: Any) -> Any:
    if not shape:
        return make()
    return [nested(shape[1:], make) for _ in range(shape[0])]


def expression(shape: tuple[int, ...], r: random.Random) -> Any:
    """An index for a tensor of this shape."""
    common = r.choice(((3,), (2,), (1,), (2, 2), (2, 1), ()))
    left, out = list(shape), []
    dotted = False
    while left and r.random() < 0.85:
        n = left[0]
        kind = r.choice("iiisssstttlbn.")
        if kind == "i":
            out.append(integer(n, r))
        elif kind == "s":
            out.append(part(n, r))
        elif kind == "t":
            own = common[r.randint(0, len(common)) :] if r.random() < 0.3 else common
            out.append(positions(n, own, r, False))
        elif kind == "l" and common:
            out.append(positions(n, common, r, True))
        elif kind == "b":
            size = min(len(left), r.choice((1, 1, 2)))
            out.append(T(*left[:size], dtype="bool"))
            del left[: size - 1]
        elif kind == "n":
            out.append(None)
            continue
        elif kind == "." and not dotted:
            dotted = True
            out.append(...)
            del left[: r.randint(0, len(left))]
            continue
        else:
            continue
        left.pop(0)
    if r.random() < 0.02:
        out.append(0)
    return out[0] if len(out) == 1 and r.random() < 0.7 else tuple(out)


def start(r: random.Random) -> T:
    shape = tuple(r.choice((0, 1, 2, 3, 4, 5) if r.random() < 0.2 else (2, 3, 4))
                  for _ in range(r.randint(0, 4)))  # fmt: skip
    layout = r.choice(LAYOUTS) if shape else "plain"
    return T(*shape, dtype=r.choice(("float32",) * 4 + ("int64", "bool", "float16")), layout=layout)


def test_reading(seed: int, rounds: int) -> None:
    r = random.Random(seed)
    failures = []
    for number in range(rounds * 5):
        x = start(r)
        sample = Sample(x, expression(x.shape, r))

        def program(lib: Any, sample: Sample = sample, number: int = number) -> Any:
            built = build(lib, sample, number, grad=True)
            y = built.args[0][built.args[1]]
            grads = []
            if y.requires_grad:
                weights = (lib.arange(y.numel()) % 7 + 1).to(y.dtype).reshape(tuple(y.shape))
                grads = [g.clone() for g in lib.autograd.grad(y, built.leaves, weights)]
            return [y, *grads]

        # a 0-d tensor as index makes a view in PyTorch, which reads it at once; ours stays lazy
        strides = False if "<[] int" in repr(sample) else VIEWS
        told = compared(program, strides=strides, device_index=has_tensor(sample.args[1:]))
        if told:
            failures.append(f"{sample}: {told}")
    assert not failures, f"{len(failures)} differ:\n" + "\n".join(failures[:40])


def test_writing(seed: int, rounds: int) -> None:
    r = random.Random(seed + 1)
    failures = []
    for number in range(rounds * 5):
        x = start(r)
        index = expression(x.shape, r)
        how = r.choice(("number", "scalar", "same", "same", "cut"))
        value_seed = r.randrange(1 << 20)

        def program(
            lib: Any, x: T = x, index: Any = index, how: str = how, number: int = number,
            value_seed: int = value_seed,
        ) -> Any:  # fmt: skip
            built = build(lib, Sample(x, index), number, grad=True)
            base = built.args[0].clone() if x.dtype == "float32" else built.args[0].detach().clone()
            at = built.args[1]
            value: Any = 1.0
            leaves = list(built.leaves)
            if how != "number":
                shape = tuple(base[at].shape)
                if how == "scalar":
                    shape = ()
                elif how == "cut":
                    shape = tuple(1 if i % 2 else n for i, n in enumerate(shape))[len(shape) % 2 :]
                made = build(lib, Sample(T(*shape)), value_seed, grad=True)
                value = made.args[0].to(base.dtype)
                leaves += made.leaves
            repeats = how in ("same", "cut")  # repeated positions: which value wins is not defined
            if repeats and not single(lib, base, at):
                return None
            base[at] = value
            grads: Any = [None] * len(leaves)
            if base.requires_grad:
                weights = (lib.arange(base.numel()) % 7 + 1).to(base.dtype)
                weights = weights.reshape(tuple(base.shape))
                grads = lib.autograd.grad(base, leaves, weights, allow_unused=True)
            filled = [
                leaf.detach() * 0 if g is None else g.clone()
                for g, leaf in zip(grads, leaves, strict=True)
            ]
            return [base.detach(), *filled]

        told = compared(program, strides=False, device_index=has_tensor(index))
        if told:
            failures.append(f"{x}[{index}] = {how}: {told}")
    assert not failures, f"{len(failures)} differ:\n" + "\n".join(failures[:40])


def has_tensor(index: Any) -> bool:
    """True if integer tensors take part in an index: their values are on the device."""
    if isinstance(index, tuple | list):
        return any(has_tensor(k) for k in index)
    return isinstance(index, T) and "int" in index.dtype


def test_out_of_range_message() -> None:
    """A listed position is named as by PyTorch; one of a tensor is not: it is on the device."""
    for lib in (tabgrad, torch):
        x = lib.zeros(2, 3)
        with pytest.raises(IndexError, match=r"^index 3 is out of bounds for dimension 1 with"):
            x[[0], [3]].tolist()
    x = tabgrad.zeros(2, 3)
    with pytest.raises(IndexError, match=r"^index out of range in dimension 1 with size 3$"):
        x[tabgrad.tensor([0]), tabgrad.tensor([3])].tolist()


def single(lib: Any, base: Any, at: Any) -> bool:
    """True if no position is written twice."""
    order = lib.arange(base.numel()).reshape(tuple(base.shape))[at].flatten().tolist()
    return len(set(order)) == len(order)
