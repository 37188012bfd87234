"""The texts of ``kernels_wgsl``: found, taken apart, filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from .. import assets

_MAX_GROUPS = 65535  # along one dimension of a grid


class Limits(NamedTuple):
    """What an adapter is.

    software, quads: whether it computes on the CPU, and does so four invocations at a time that can
        exchange values.
    subgroups: whether it is a GPU whose invocations can.
    matrices: how many invocations a subgroup has, if subgroups multiply 8 × 8 matrices of floats.
    halves: whether it is a GPU that computes in float16, too.
    memory: that of a workgroup, in bytes.
    tuned: what ``tabgrad.tune`` has measured on it, variants.Tuned by the name of a step.
    """

    max_storage_buffers: int = 8
    software: bool = False
    quads: bool = False
    subgroups: bool = False
    matrices: int = 0
    halves: bool = False
    memory: int = 1 << 14
    tuned: Mapping[str, Any] = {}


def grid(groups: int) -> tuple[int, int, int]:
    """That many workgroups along x, folded into y where one dimension cannot hold them."""
    if groups <= _MAX_GROUPS:
        return max(groups, 1), 1, 1
    return FOLD, -(-groups // FOLD), 1


FOLD = 1 << 15  # width of a folded grid


def folded(groups: int) -> str:
    """The number of a workgroup of ``grid(groups)``, in WGSL."""
    return "wid.x" if groups <= _MAX_GROUPS else f"wid.x + wid.y * {FOLD}u"


@cache
def source(name: str) -> str:
    """The text of a kernel file, without its head comment."""
    text = assets.read_text("_wgsl", f"{name}.wgsl")
    return re.sub(r"\A(//.*\n)+\n*", "", text)


def substitute(text: str, values: dict[str, Any]) -> str:
    """Gives ``const NAME: type = value;`` lines their values; each name must be there once."""
    for name, value in values.items():
        line = re.compile(rf"^(const {name}: (\w+) = )[^;]*;", re.M)
        found = line.findall(text)
        if len(found) != 1:
            raise KeyError(f"the kernel has {len(found)} constants named {name}")
        start, type_ = found[0]
        word = str(value).lower() if type_ == "bool" else f"{value}u"
        text = line.sub(f"{start}{word};", text)
    return text


def section(text: str, name: str) -> str:
    """What stands between the comment lines ``// [name`` and ``// name]``."""
    found = re.search(rf"^// \[{name}\n(.*?)^// {name}\]\n", text, re.M | re.S)
    if not found:
        raise KeyError(f"the kernel has no section {name}")
    return found[1]


@cache
def _math() -> dict[str, tuple[str, frozenset[str]]]:
    """Functions, structs and tables of math.wgsl: name → (text, names it uses)."""
    text = re.sub(r"[ \t]*//[^\n]*", "", source("math"))
    text = re.sub(r"\n+", "\n", text)
    parts = re.findall(
        r"^((?:fn|struct|const) (\w+)(?:[^\n]*[;}]$|.*?^[^\n \w]+$))", text, re.M | re.S
    )
    names = {name for _, name in parts}
    return {
        name: (body, frozenset(re.findall(r"\w+", body)) & names - {name}) for body, name in parts
    }


def prelude(body: str) -> str:
    """The functions of math.wgsl that a text names, and those that they need."""
    parts = _math()
    pending = [w for w in set(re.findall(r"\w+", body)) if w in parts]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += parts[name][1]
    return "".join(parts[name][0] + "\n" for name in parts if name in found)


def replace_section(text: str, name: str, body: str) -> str:
    """Puts other lines between the marker lines of a section."""
    return text.replace(section(text, name), body)


def repeat(text: str, times: dict[str, int]) -> str:
    """Repeats each line with names in ``_i`` for every number below ``times["i"]``. Lines in ``_u``
    that follow each other are repeated together; lines marked ``// as it stands`` fall away."""
    text = re.sub(r"^.*// as it stands\n", "", text, flags=re.M)
    if "u" in times:
        block = re.compile(r"(?:^.*_u(?:_|\b).*\n)+", re.M)
        copies = range(times["u"])
        text = block.sub(lambda m: "".join(_numbered(m[0], "u", n) for n in copies), text)
    for name in times:
        line = re.compile(rf"^.*_{name}(?:_|\b).*\n", re.M)
        copies = range(times[name])
        text = line.sub(lambda m: "".join(_numbered(m[0], name, n) for n in copies), text)  # noqa: B023
    return text


def _numbered(text: str, name: str, n: int) -> str:
    text = re.sub(rf"(?<!\w)_{name}\b", f"{n}u", text)
    return re.sub(rf"_{name}(?=_|\b)", f"_{n}", text)


def sized(text: str, words: Sequence[int]) -> str:
    """Bindings as arrays of their real length, for adapters that check bounds in software."""

    def length(m: re.Match[str]) -> str:
        if int(m[2]) >= len(words):
            return m[0]
        return f"{m[1]}, {max(words[int(m[2])] // (4 if 'vec4' in m[1] else 1), 1)}>;"

    return re.sub(r"(@binding\((\d+)\) var<storage[^>]*> \w+: array<[\w<>]+)>;", length, text)
