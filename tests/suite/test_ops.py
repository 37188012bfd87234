"""Every op × every device × every sample: values, dtype, shape, strides, gradients, errors.

A device is compared with the numpy executor. The numpy executor itself (on desktop, "cpu") is held
against what it must agree with on its own: finite differences, contiguous inputs, the other
spellings of the same op; ``tests/torch`` compares it with PyTorch.

TABGRAD_SAMPLES=n takes n samples of each op instead of all (in a page, 12).
"""

from __future__ import annotations

import os
import random
import zlib
from typing import Any

import pytest
import tabgrad as torch
from compare import REFERENCE, difference, unequal
from samples import OPS
from sampling import Built, Op, Sample, all_samples, bad_samples, build, direction

IN_PAGE = REFERENCE == "numpy"
LIMIT = int(os.environ.get("TABGRAD_SAMPLES", "12" if IN_PAGE else "0")) or None
NO_FLOAT64 = ("webgpu",)

every_op = pytest.mark.parametrize("op", list(OPS.values()), ids=lambda op: op.name)


def seed_of(op: Op, number: int) -> int:
    return zlib.crc32(op.name.encode()) + number


def lacks(device: str, op: Op, sample: Sample) -> bool:
    """Whether the device has no dtype that the sample needs."""
    return device in NO_FLOAT64 and ("float64" in repr(sample) or op.name == "double")


def tensors_in(result: Any) -> list[Any]:
    """A result as a flat list of tensors."""
    if hasattr(result, "requires_grad"):
        return [result]
    if isinstance(result, tuple | list):
        return [x for r in result for x in tensors_in(r)]
    return []


def weights(x: Any) -> Any:
    n = x.numel()
    flat = torch.tensor(direction(n), dtype=x.dtype, device=x.device) if n else x.new_zeros(0)
    return flat.reshape(x.shape)


def gradients(outs: list[Any], built: Built) -> list[Any]:
    """The gradients of the weighted sum of the results, one per leaf, None where unused."""
    roots = [x for x in outs if x.requires_grad]
    if not roots or not built.leaves:
        return []
    found = torch.autograd.grad(roots, built.leaves, [weights(x) for x in roots], allow_unused=True)
    return [None if g is None else g.clone() for g in found]


class Case:
    """One sample run on one device: nothing is read until all of an op have been built."""

    def __init__(self, op: Op, sample: Sample, number: int, device: str, **how: Any) -> None:
        self.built = build(torch, sample, seed_of(op, number), device=device, grad=op.grad, **how)
        before = torch.get_default_device()
        torch.set_default_device(device)
        try:
            self.outs = tensors_in(op.call(torch, *self.built.args, **self.built.kwargs))
            self.grads = gradients(self.outs, self.built) if op.grad else []
        finally:
            torch.set_default_device(before)


def report(failures: list[str], op: Op, sample: Sample, told: str, what: str) -> None:
    if told:
        failures.append(f"{op.name}{sample}: {what}: {told}")


@every_op
def test_same_as_reference(op: Op, device: str) -> None:
    """Values, dtypes, shapes, strides and gradients: those of the numpy executor; on that executor
    itself, those of the same inputs laid out contiguously."""
    samples = all_samples(op, 0, LIMIT)
    itself = torch.device(device) == torch.device(REFERENCE)
    pairs = []
    failures: list[str] = []
    for number, sample in enumerate(samples):
        if lacks(device, op, sample):
            with pytest.raises(TypeError, match="float32"):
                Case(op, sample, number, device)
            continue
        got = Case(op, sample, number, device)
        pairs.append((sample, got, Case(op, sample, number, REFERENCE, plain=itself)))
    for sample, got, want in pairs:
        if not op.values:
            shapes = [x.shape for x in want.outs], [x.dtype for x in want.outs]
            assert ([x.shape for x in got.outs], [x.dtype for x in got.outs]) == shapes
            continue
        told = difference(got.outs, want.outs, op.rtol, strides=not itself)
        report(failures, op, sample, told, "result")
        if op.grad:
            told = difference(got.grads, want.grads, op.rtol * 5)
            report(failures, op, sample, told, "gradient")
    assert not failures, "\n".join(failures)


@every_op
def test_errors(op: Op, device: str) -> None:
    """Bad input raises PyTorch's exception with PyTorch's words, at the call or at the read."""
    for number, sample in enumerate(bad_samples(op, 0)):
        cls, text = sample.error or (Exception, "")
        if lacks(device, op, sample):
            cls, text = TypeError, "float32"
        with pytest.raises(cls, match=text):
            for out in Case(op, sample, number, device).outs:
                out.tolist()
            pytest.fail(f"{op.name}{sample} did not raise")


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.grad and op.smooth],
                         ids=lambda op: op.name)  # fmt: skip
def test_finite_differences(op: Op) -> None:
    """The gradient in float64, on the numpy executor, along one direction per sample."""
    step, todo = 1e-5, []
    for number, sample in enumerate(all_samples(op, 0, LIMIT)):
        if not any(t.grad for t in sample.tensors()):
            continue
        at = Case(op, sample, number, REFERENCE, dtype="float64")
        if not at.grads or any("float64" not in str(x.dtype) for x in at.outs if x.requires_grad):
            continue
        up = Case(op, sample, number, REFERENCE, dtype="float64", shift=step)
        down = Case(op, sample, number, REFERENCE, dtype="float64", shift=-step)
        todo.append((sample, at, up, down))
    failures: list[str] = []
    for sample, at, up, down in todo:
        slope = weighted(up.outs, at.outs) - weighted(down.outs, at.outs)
        along = torch.zeros((), dtype=torch.float64, device=REFERENCE)
        for g in at.grads:
            if g is not None and g.numel():
                along = along + (g * weights(g)).sum()
        want = slope.item() / (2 * step)
        got = along.item()
        if abs(got - want) > 2e-4 * max(1.0, abs(want)):
            report(failures, op, sample, f"{got} instead of {want}", "slope")
    assert not failures, "\n".join(failures)


def weighted(outs: list[Any], like: list[Any]) -> Any:
    """The weighted sum whose gradient ``gradients`` asks for."""
    total = torch.zeros((), dtype=torch.float64, device=REFERENCE)
    for x, original in zip(outs, like, strict=True):
        if original.requires_grad and x.numel():
            total = total + (x.detach() * weights(x.detach())).sum()
    return total


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.inplace or op.out or op.method],
                         ids=lambda op: op.name)  # fmt: skip
def test_other_spellings(op: Op, device: str) -> None:
    """``x.op()``, ``x.op_()`` and ``op(…, out=)`` give what ``op(x)`` gives, in place."""
    checked = 0
    for number, sample in enumerate(all_samples(op, 0, LIMIT)):
        if lacks(device, op, sample):
            continue
        args, kwargs, _ = build(torch, sample, seed_of(op, number), device=device)
        want = op.call(torch, *args, **kwargs)
        if op.method and op.function and hasattr(args[0], "requires_grad"):
            told = difference(getattr(args[0], op.name)(*args[1:], **kwargs), want, op.rtol)
            assert not told, f"x.{op.name}{sample}: {told}"
        checked += spelled_inplace(op, sample, args, kwargs, want)
        if op.out and hasattr(want, "requires_grad"):
            out = torch.empty_like(want)
            assert getattr(torch, op.name)(*args, **kwargs, out=out) is out
            told = difference(out, want, op.rtol)
            assert not told, f"{op.name}{sample}, out=: {told}"
        if checked >= 8:
            break
    assert checked or not op.inplace


def spelled_inplace(op: Op, sample: Sample, args: Any, kwargs: Any, want: Any) -> int:
    """Checks ``x.op_`` where the result fits into x; on a window, so that neighbours must stay."""
    x = args[0]
    fits = op.inplace and hasattr(x, "requires_grad")
    if not fits or x.shape != want.shape or x.dtype != want.dtype or not x.ndim:
        return 0
    room = torch.zeros((x.shape[0] + 2, *x.shape[1:]), dtype=x.dtype, device=x.device)
    inner = room[1:-1]
    inner.copy_(x)
    assert getattr(inner, op.name + "_")(*args[1:], **kwargs) is inner
    told = difference(room[1:-1], want, op.rtol)
    assert not told, f"x.{op.name}_{sample}: {told}"
    for edge in (room[0], room[-1]):
        told = unequal(edge, [0] * edge.numel())
        assert not told, f"x.{op.name}_{sample} wrote outside its window: {told}"
    return 1


def test_samples_are_reproducible() -> None:
    for op in OPS.values():
        first = [repr(s) for s in op.samples(random.Random(1))]
        assert first == [repr(s) for s in op.samples(random.Random(1))]
        assert first, f"{op.name} has no sample"
