"""Random einsum equations, with ellipses, repeats and errors, against PyTorch."""

from __future__ import annotations

import random
from typing import Any

from oracle import compared
from sampling import Sample, T, build


def equation(r: random.Random) -> tuple[str, list[tuple[int, ...]]]:
    sizes = {c: r.randint(1, 4) for c in "abcdE"}
    terms, shapes = [], []
    batch = tuple(r.randint(1, 3) for _ in range(r.randint(0, 2)))
    dotted = r.random() < 0.35
    for _ in range(r.randint(1, 3)):
        letters = [r.choice("abcdE") for _ in range(r.randint(0 if dotted else 1, 3))]
        if r.random() < 0.7:
            letters = list(dict.fromkeys(letters))
        shape = [sizes[c] for c in letters]
        term = "".join(letters)
        if dotted and r.random() < 0.8:
            at = r.randint(0, len(letters))
            own = tuple(1 if r.random() < 0.3 else n for n in batch[r.randint(0, len(batch)) :])
            term = term[:at] + "..." + term[at:]
            shape[at:at] = own
        if r.random() < 0.05 and shape:
            shape[0] += 1  # an error
        terms.append(term)
        shapes.append(tuple(shape))
    text = ",".join(terms)
    if r.random() < 0.8:
        used = sorted({c for c in text if c.isalpha()})
        right = r.sample(used, r.randint(0, len(used)))
        if "..." in text and r.random() < 0.9:
            right.insert(r.randint(0, len(right)), "...")
        if r.random() < 0.03:
            right.append("z")
        text += "->" + "".join(right)
    return text, shapes


def test_random_equations(seed: int, rounds: int) -> None:
    r = random.Random(seed)
    failures = []
    for number in range(rounds):
        text, shapes = equation(r)
        sample = Sample(text, *[T(*s) for s in shapes])

        def program(lib: Any, sample: Sample = sample, number: int = number) -> Any:
            built = build(lib, sample, number, grad=True)
            out = lib.einsum(*built.args)
            grads = lib.autograd.grad(out.sum() * 1, built.leaves, allow_unused=True)
            return [out, *grads]

        told = compared(program, 1e-4, strides=False)
        if told:
            failures.append(f"{text} {shapes}: {told}")
    assert not failures, "\n".join(failures)
