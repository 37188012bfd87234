"""Random programs of views and in-place ops, run by both libraries: every live tensor must agree.

After each statement: values, shapes, strides, storage offsets, versions, requires_grad and leafness
of all tensors; statements that raise must raise alike. At the end, gradients.
"""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from oracle import attempt, disagreement, first_line, tabgrad, torch

START = ["T.arange(24.0).reshape(2, 3, 4)", "T.arange(12.0).reshape(3, 4).clone()", "T.arange(8.0)",
         "T.arange(16.0).reshape(4, 4)"]  # fmt: skip
VIEWS = [
    "{x}.transpose(0, -1)", "{x}.t()", "{x}.unsqueeze(0)", "{x}.unsqueeze(-1)", "{x}.squeeze()",
    "{x}[0]", "{x}[-1]", "{x}[1:]", "{x}[::2]", "{x}[..., 0]", "{x}[..., 1:]", "{x}[..., ::2]",
    "{x}[:, 1]", "{x}[None]", "{x}.view(-1)", "{x}.view(2, -1)", "{x}.reshape(-1)",
    "{x}.reshape(2, -1)", "{x}.flatten()", "{x}.diagonal()", "{x}.narrow(0, 0, 2)",
    "{x}.narrow(-1, 1, 1)", "{x}.select(0, 1)", "{x}.split(1)[0]", "{x}.chunk(2, -1)[-1]",
    "{x}.unbind(0)[0]", "{x}.detach()", "{x}.permute(*range({x}.ndim)[::-1])",
    "{x}.expand(2, *{x}.shape)", "{x}.contiguous()", "{x}.clone()", "{x} * 1", "{x} + 1",
    "{x}.movedim(0, -1)", "{x}.view({x}.shape)", "{x}.expand_as({x})", "{x}.swapaxes(0, -1)",
    "{x}.as_strided((2, 2), (2, 1))", "{x}.view_as({x})",
]  # fmt: skip
WRITES = [
    "{x}.add_(1)", "{x}.mul_(2)", "{x}.mul_({y})", "{x}.add_({y})", "{x}.sub_({y}, alpha=2)",
    "{x}.copy_({y})", "{x}.zero_()", "{x}.fill_(3)", "{x}[0] = 5.0", "{x}[..., 0] = -1.0",
    "{x}[1:] = {x}[:1]", "{x}[...] = {y}", "{x}[0] = {y}", "{x}[:, :1] = 7.0", "{x}.neg_()",
    "{x}.sin_()", "{x}.cos_()", "{x}.clamp_(-3, 3)", "{x} += {y}", "{x} *= 0.5", "{x} -= 1",
    "{x}[{x} > 2] = 0.0", "{x}[[0]] = 2.0", "{x}.t_()",
    "{x}.squeeze_()", "{x}.unsqueeze_(0)", "{x}.transpose_(0, -1)", "{x}.relu_()", "{x}.div_(3)",
    "{x}.detach_()", "{x}.tanh_()", "{x}.addcmul_({x}, {x})", "{x}.pow_(2)", "{x}.sigmoid_()",
    "{x}.data.mul_(2)", "{x}.swapaxes_(0, -1)",
]  # fmt: skip
OTHER = [
    "{x}.sum().backward()", "{x}.retain_grad()",
    "({x} * {x}).sum().backward()",
    "with T.no_grad(): {x}.mul_(2)", "with T.no_grad(): {x}[0] = 3.0",
    "{x}.exp().sum().backward()",
]  # fmt: skip


def statement(r: random.Random, n: int) -> str:
    """The next line of a program that has the variables v0 … v(n-1)."""
    x, y = f"v{r.randrange(n)}", f"v{r.randrange(n)}"
    k = r.random()
    if k < 0.45:
        return f"v{n} = " + r.choice(VIEWS).format(x=x, y=y)
    return r.choice(WRITES if k < 0.88 else OTHER).format(x=x, y=y)


def program(r: random.Random, length: int) -> list[str]:
    """Lines that do something; those that raise stay in, as they must raise in both."""
    lines = [f"v0 = {r.choice(START)}"]
    if r.random() < 0.6:
        lines[0] += ".clone()"  # see test_leaf_that_is_a_view
        lines.append("v0.requires_grad_()")
        if r.random() < 0.7:
            lines.append("v1 = v0 * 1")
    space: dict[str, Any] = {"T": torch}
    torch.set_grad_enabled(True)
    for line in lines:
        exec(line, space)
    while len(lines) < length:
        n = sum(name.startswith("v") for name in space)
        line = statement(r, n)
        undefined = overlaps(line, space)
        new = attempt(lambda line=line: exec(line, space))
        if new.error is None and undefined:
            continue
        if new.error is not None and r.random() < 0.7:
            continue
        lines.append(line)
    torch.set_grad_enabled(True)
    return lines


def overlaps(line: str, space: dict[str, Any]) -> bool:
    """True if a write may read what it has just written: PyTorch leaves open what that gives, where
    it does not refuse; ours reads first."""
    names = re.findall(r"v\d+", line)
    if line.startswith("v") and re.match(r"v\d+ = ", line):
        return False
    if any(0 in space[x].stride() for x in names):
        return len(names) > 1 or "addcmul" in line or "[[0]]" in line  # see test_expanded
    x, y = space[names[0]], space[names[-1]]
    if x.untyped_storage().data_ptr() != y.untyped_storage().data_ptr():
        return False
    return names[0] != names[-1]


def test_expanded() -> None:
    """Index tensors do not write through an expanded tensor, which PyTorch advises against."""
    x = tabgrad.zeros(3).expand(2, 3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x[[0]] = 2.0
    for lib in (tabgrad, torch):
        x = lib.arange(3.0).expand(2, 3)
        x[x > 1] = 5.0
        assert x.tolist() == [[0.0, 1.0, 5.0]] * 2
        assert x.fill_(4).tolist() == [[4.0] * 3] * 2


def test_leaf_that_is_a_view() -> None:
    """Views of such a leaf keep their history when it is written under ``no_grad``."""
    grads = []
    for lib in (tabgrad, torch):
        x = lib.arange(4.0).reshape(2, 2).requires_grad_()
        y = x[:, 1]
        with lib.no_grad():
            x[0] = 3.0
        y.sum().backward()
        grads.append(x.grad)
    assert grads[0].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert grads[1] is None  # PyTorch takes the view's history from the root, which has none


def facts(x: Any) -> dict[str, Any]:
    found = {
        "shape": tuple(x.shape),
        "version": x._version,
        "requires_grad": x.requires_grad,
        "strides": [s for s, n in zip(x.stride(), x.shape, strict=True) if n != 1],
        "offset": x.storage_offset(),
    }
    if not x.numel():  # lies nowhere
        del found["strides"], found["offset"]
    leaf = attempt(lambda: x.is_leaf)
    found["is_leaf"] = leaf.value if leaf.error is None else str(leaf.error)
    return found


def state(space: dict[str, Any]) -> dict[str, Any]:
    return {name: facts(x) for name, x in space.items() if name.startswith("v")}


def contiguous(line: str) -> str:
    """The line for PyTorch, whose new tensors may lie as their inputs do: ours are contiguous."""
    if re.match(r"v\d+ = .*(clone\(\)| \* 1| \+ 1)$", line):
        name, _, made = line.partition(" = ")
        return f"{name} = ({made}).contiguous()"
    return line


def run(lines: list[str]) -> str:
    """The first difference between the libraries on a program, in words."""
    ours: dict[str, Any] = {"T": tabgrad}
    theirs: dict[str, Any] = {"T": torch}
    try:
        for i, line in enumerate(lines):
            a = attempt(lambda line=line: exec(line, ours))
            same = contiguous(line)
            b = attempt(lambda line=same: exec(line, theirs))
            if "INTERNAL ASSERT" in str(b.error):
                return ""  # PyTorch broke
            late = "some elements of the input tensor" in str(b.error)  # told after other errors
            told = disagreement(a, b, message=not late)
            if told:
                return f"line {i}: {line}: {told}"
            mine, want = state(ours), state(theirs)
            if any("INTERNAL ASSERT" in str(x["is_leaf"]) for x in want.values()):
                return ""
            if mine != want:
                name = next(n for n in want if mine.get(n) != want[n])
                return f"line {i}: {line}: {name} is {mine.get(name)} instead of {want[name]}"
            if b.error is not None and not same_grads(ours, theirs):
                return f"line {i}: {line}: gradients differ after {first_line(b.error)}"
        for name, x in theirs.items():
            if name.startswith("v"):
                want_values = x.detach().flatten().tolist()
                got = attempt(lambda x=ours[name]: x.detach().flatten().tolist())
                if got.error is not None:
                    return f"at the end reading {name} raises {type(got.error).__name__}"
                if not close(got.value, want_values):
                    return f"at the end {name} is {got.value} instead of {want_values}"
        return "" if same_grads(ours, theirs) else "gradients differ at the end"
    finally:
        torch.set_grad_enabled(True)
        tabgrad.set_grad_enabled(True)


def close(a: list[float], b: list[float]) -> bool:
    return len(a) == len(b) and all(
        x == y or (x != x and y != y) or abs(x - y) <= 1e-4 * max(1.0, abs(x), abs(y))
        for x, y in zip(a, b, strict=True)
    )


def same_grads(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    for name, x in theirs.items():
        if not name.startswith("v"):
            continue
        leaf = attempt(lambda x=x: x.is_leaf)  # raises for an output of split that was overwritten
        if leaf.error is not None:
            mine = attempt(lambda x=ours[name]: x.is_leaf)
            if disagreement(mine, leaf):
                return False
            continue
        if not (leaf.value or x.retains_grad):
            continue
        g, h = ours[name].grad, x.grad
        if (g is None) != (h is None):
            return False
        if h is not None and not close(g.flatten().tolist(), h.flatten().tolist()):
            return False
    return True


def shortened(lines: list[str]) -> list[str]:
    """The program without the lines that its difference does not need."""
    i = len(lines) - 1
    while i > 0:
        shorter = lines[:i] + lines[i + 1 :]
        try:
            defined = run(shorter)
        except Exception:
            defined = ""
        if defined and "NameError" not in defined:
            lines = shorter
        i -= 1
    return lines


def test_random_programs(seed: int, rounds: int) -> None:
    r = random.Random(seed)
    failures: dict[str, str] = {}  # the shortest program per kind of statement that differs
    for _ in range(rounds * 2):
        lines = program(r, r.randint(4, 14))
        if run(lines):
            short = shortened(lines)
            kind = re.sub(r"v\d+", "v", short[-1])
            text = "; ".join(short) + f"\n    → {run(short)}"
            failures[kind] = min(failures.get(kind, text), text, key=len)
    assert not failures, f"{len(failures)} kinds differ:\n" + "\n".join(failures.values())
