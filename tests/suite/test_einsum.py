"""einsum against the sum that its equation spells, for every equation of the samples and more."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import tabgrad as torch
from compare import assert_values
from samples import EINSUM


def spelled(equation: str, shapes: list[tuple[int, ...]], data: list[Any]) -> Any:
    """The plain loops, for equations without an ellipsis; ``data`` maps an index to a number."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, n in zip(term, shape, strict=True):
            sizes[letter] = max(n, sizes.get(letter, 1))
    if not arrow:
        letters = sorted(set(left) - {","})
        right = "".join(c for c in letters if left.count(c) == 1)
    summed = [c for c in sizes if c not in right]

    def element(fixed: dict[str, int]) -> float:
        total = 0.0
        for index in itertools.product(*[range(sizes[c]) for c in summed]):
            at = {**fixed, **dict(zip(summed, index, strict=True))}
            product = 1.0
            for term, shape, array in zip(terms, shapes, data, strict=True):
                x = array
                for c, n in zip(term, shape, strict=True):
                    x = x[at[c] if n > 1 else 0]
                product *= x
            total += product
        return total

    def fold(i: int, fixed: dict[str, int]) -> Any:
        if i == len(right):
            return element(fixed)
        return [fold(i + 1, {**fixed, right[i]: k}) for k in range(sizes[right[i]])]

    return fold(0, {})


def numbers(shape: tuple[int, ...], r: random.Random) -> Any:
    if not shape:
        return r.randint(-4, 4) / 2
    return [numbers(shape[1:], r) for _ in range(shape[0])]


PLAIN = [e for e in EINSUM if "..." not in e[0]]


@pytest.mark.parametrize("case", PLAIN, ids=[e[0] for e in PLAIN])
def test_equations(case: tuple[Any, ...]) -> None:
    equation, *shapes = case
    r = random.Random(equation)
    data = [numbers(s, r) for s in shapes]
    got = torch.einsum(equation, *[torch.tensor(d) for d in data])
    assert_values(got, spelled(equation, shapes, data), 1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_random_equations(seed: int) -> None:
    r = random.Random(seed)
    sizes = {c: r.randint(1, 4) for c in "abcde"}
    terms = ["".join(r.sample("abcde", r.randint(1, 3))) for _ in range(r.randint(1, 3))]
    used = sorted(set("".join(terms)))
    right = "".join(r.sample(used, r.randint(0, len(used))))
    equation = ",".join(terms) + "->" + right
    shapes = [tuple(sizes[c] for c in t) for t in terms]
    data = [numbers(s, r) for s in shapes]
    got = torch.einsum(equation, *[torch.tensor(d) for d in data])
    assert_values(got, spelled(equation, shapes, data), 1e-4)


def test_ellipsis() -> None:
    a, b = torch.arange(12.0).reshape(2, 2, 3), torch.arange(6.0).reshape(3, 2)
    assert torch.allclose(torch.einsum("...ij,jk->...ik", a, b), a @ b)
    assert torch.allclose(torch.einsum("...ij->...ji", a), a.mT)
    assert torch.allclose(torch.einsum("i...->...", a), a.sum(0))


def test_gradient() -> None:
    a = torch.arange(6.0).reshape(2, 3).requires_grad_()
    b = torch.arange(3.0).requires_grad_()
    torch.einsum("ij,j->i", a, b).sum().backward()
    assert a.grad.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert b.grad.tolist() == [3, 5, 7]
    c = torch.arange(4.0).reshape(2, 2).requires_grad_()
    torch.einsum("ii->i", c).sum().backward()
    assert c.grad.tolist() == [[1, 0], [0, 1]]
