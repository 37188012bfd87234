"""Every op of the samples, on random shapes and numbers, against PyTorch.

Values, dtypes, shapes, strides, gradients, gradients of gradients, exceptions.
"""

from __future__ import annotations

import random
import zlib
from functools import partial
from typing import Any

import pytest
from compare import VIEWS
from oracle import Outcome, attempt, compared, disagreement, tabgrad, torch
from samples import OPS
from sampling import Op, Sample, build, direction

# PyTorch's own message is about its internals, or differs between its overloads.
MESSAGE_IS_INTERNAL = (
    "Could not run", "argument 'input'", "received an invalid combination", "must be Tensor, not",
)  # fmt: skip

every_op = pytest.mark.parametrize("op", list(OPS.values()), ids=list(OPS))


def seed_of(op: Op, number: int, seed: int) -> int:
    return zlib.crc32(op.name.encode()) + number * 1009 + seed


def tensors_in(result: Any) -> list[Any]:
    if hasattr(result, "requires_grad"):
        return [result]
    if isinstance(result, tuple | list):
        return [x for r in result for x in tensors_in(r)]
    return []


def weights(lib: Any, x: Any) -> Any:
    n = x.numel()
    flat = lib.tensor(direction(n), dtype=x.dtype) if n else lib.zeros(0, dtype=x.dtype)
    return flat.reshape(tuple(x.shape))


def run(lib: Any, op: Op, sample: Sample, seed: int, *, grad: bool) -> Outcome:
    built = build(lib, sample, seed, grad=grad)
    return attempt(lambda: tensors_in(op.call(lib, *built.args, **built.kwargs)))


def gradient(lib: Any, op: Op, sample: Sample, seed: int, twice: bool) -> list[Any]:
    built = build(lib, sample, seed, grad=True)
    outs = tensors_in(op.call(lib, *built.args, **built.kwargs))
    roots = [x for x in outs if x.requires_grad]
    zeros = [x.detach() * 0 for x in built.leaves]
    if not roots:
        return zeros
    first = lib.autograd.grad(
        roots, built.leaves, [weights(lib, x) for x in roots], create_graph=twice, allow_unused=True
    )
    if not twice:
        return filled(first, zeros)
    again = [g for g in first if g is not None and g.requires_grad]
    if not again:
        return zeros
    second = lib.autograd.grad(
        again, built.leaves, [weights(lib, g) for g in again], allow_unused=True
    )
    return filled(second, zeros)


def filled(grads: Any, zeros: list[Any]) -> list[Any]:
    """Gradients with zeros for None: a leaf that does not matter may be either."""
    return [z if g is None else g.clone() for g, z in zip(grads, zeros, strict=True)]


def tolerance(op: Op, sample: Sample) -> float:
    """Where a half takes part, some intermediate may be a half: in ours or in PyTorch's."""
    words = repr(sample)
    return max(op.rtol, 2e-2 if "bfloat16" in words else 3e-3 if "float16" in words else 0.0)


@every_op
def test_values(op: Op, seed: int) -> None:
    failures = []
    for number, sample in enumerate(op.samples(random.Random(seed))):
        at = seed_of(op, number, seed)
        ours = run(tabgrad, op, sample, at, grad=op.grad)
        theirs = run(torch, op, sample, at, grad=op.grad)
        internal = any(words in str(theirs.error) for words in MESSAGE_IS_INTERNAL)
        if not op.values and ours.error is None and theirs.error is None:
            same = [(tuple(x.shape), str(x.dtype)) for x in ours.value]
            assert same == [(tuple(x.shape), str(x.dtype)) for x in theirs.value]
            continue
        # what these give may be a view, in PyTorch, of what it computed inside
        strides = False if op.name in ("einsum", "matmul") else VIEWS
        loose = tolerance(op, sample)
        indexed = any("int" in t.dtype for t in sample.tensors())
        told = disagreement(
            ours, theirs, loose, message=not internal, strides=strides, device_index=indexed
        )
        if told:
            failures.append(f"{op.name}{sample}: {told}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("twice", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("op", [op for op in OPS.values() if op.grad], ids=lambda op: op.name)
def test_gradients(op: Op, seed: int, twice: bool) -> None:
    failures = []
    for number, sample in enumerate(op.samples(random.Random(seed))):
        if sample.error or not any(t.grad for t in sample.tensors()):
            continue
        at = seed_of(op, number, seed)
        theirs = attempt(partial(gradient, torch, op, sample, at, twice))
        if theirs.error is not None:
            continue  # PyTorch itself cannot (an op without a second derivative)
        ours = attempt(partial(gradient, tabgrad, op, sample, at, twice))
        loose = tolerance(op, sample) * (50 if twice else 10)
        mixed = len({t.dtype for t in sample.tensors()}) > 1
        told = disagreement(ours, theirs, min(loose, 0.1), strides=False, mixed=mixed)
        if told:
            failures.append(f"{op.name}{sample}: {told}")
    assert not failures, "\n".join(failures)


def test_names_of_gradient_functions() -> None:
    """``grad_fn`` prints as in PyTorch for the ops that people print."""
    for call in ("x + x", "x - x", "x * x", "x / x", "-x", "x @ x", "x.sum()", "x.mean()",
                 "x.exp()", "x.relu()", "x.tanh()", "x.sigmoid()", "x[0]", "x[:, 1:]", "x.T",
                 "x.view(4)", "x.reshape(4)", "x.t()", "x.unsqueeze(0)", "x.squeeze()", "x.clone()",
                 "x.softmax(0)", "x.log_softmax(0)", "x.pow(2)", "x ** 2", "x.sqrt()", "x.max()",
                 "x.max(0).values", "x.std()", "x.var()", "x.expand(2, 2, 2)", "x.permute(1, 0)",
                 "x.abs()", "x.log()", "x.sin()", "x.cumsum(0)", "lib.cat([x, x])",
                 "lib.stack([x, x])", "lib.where(x > 0, x, x)", "x.clamp(0, 1)", "x[[0, 1]]",
                 "x.masked_fill(x > 0, 0)", "x.norm()", "x.prod()", "x.transpose(0, 1)",
                 "x.flatten()", "x.mul(2)",
                 "lib.nn.functional.linear(x, x, x[0])", "lib.nn.functional.gelu(x)",
                 "lib.nn.functional.mse_loss(x, x * 2)", "x.to(lib.float64)",
                 "x.gather(0, x.long().clamp(0, 1))",
                 ):  # fmt: skip

        def name(lib: Any, call: str = call) -> str:
            x = lib.ones(2, 2, requires_grad=True)
            y = eval(call, {"x": x, "lib": lib})
            found: str = y.grad_fn.name()
            return found

        told = compared(name)
        assert not told, f"{call}: {told}"
