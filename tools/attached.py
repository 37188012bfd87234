"""Writes package/tabgrad/attached.pyi: the methods that methods.py attaches to Tensor, for type
checkers and completion. A test compares it with what is attached.

    python tools/attached.py
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "package"
TARGET = PACKAGE / "tabgrad" / "attached.pyi"
HEAD = '''"""What methods.py attaches to Tensor. Written by tools/attached.py."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .dtypes import DType
from .functions.reduction import Pair
from .ops.functional import Geometry
from .shape import Shape
from .tensor import Tensor

# names that are methods of Attached too, and would be taken for them inside it
_bool: TypeAlias = bool
_float: TypeAlias = float
_int: TypeAlias = int
_type: TypeAlias = type

class Attached:
'''


def attached() -> dict[str, Any]:
    """Name → what is on Tensor but not in the body of the class."""
    sys.path.insert(0, str(PACKAGE))
    from tabgrad.tensor import Tensor

    source = inspect.getsource(Tensor)
    own = {
        line.split("def ")[1].split("(")[0] for line in source.splitlines() if "    def " in line
    }
    own |= set(re.findall(r"^    (\w+)(?:: [^=]+)? = ", source, re.M))
    skip = own | {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__",
                  "__static_attributes__", "__firstlineno__"}  # fmt: skip
    return {k: v for k, v in vars(Tensor).items() if k not in skip and v is not None}


def declared(name: str, f: Any) -> str:
    """One line of the file."""
    if isinstance(f, property):
        return (
            f"    @property\n    def {name}(self) -> Any: ..."
            if name not in ("T", "mT", "H")
            else (f"    @property\n    def {name}(self) -> Tensor: ...")
        )
    if name in ("__eq__", "__ne__"):
        return f"    def {name}(self, other: Any) -> Tensor: ...  # type: ignore[override]"
    if name.startswith("__") and name not in ("__getitem__", "__setitem__"):
        args = "" if name in ("__neg__", "__pos__", "__abs__", "__invert__") else ", other: Any"
        return f"    def {name}(self{args}) -> Tensor: ..."
    return f"    def {name}{signature(f)}: ..."


def signature(f: Any) -> str:
    """``(self, dim: int = ..., *, out: Any = ...) -> Tensor`` from a function."""
    s = inspect.signature(f)
    parts, star = ["self"], False
    for p in list(s.parameters.values())[1:]:
        note = p.annotation if isinstance(p.annotation, str) else "Any"
        if p.kind is p.VAR_POSITIONAL:
            parts.append(f"*{p.name}: {note}")
            star = True
            continue
        if p.kind is p.VAR_KEYWORD:
            parts.append(f"**{p.name}: {note}")
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        parts.append(f"{p.name}: {note}" + ("" if p.default is p.empty else " = ..."))
    back = s.return_annotation if isinstance(s.return_annotation, str) else "Any"
    return re.sub(
        r"(: |-> |\[|\| |, )(bool|float|int|type)\b(?!:)",
        r"\1_\2",
        f"({', '.join(parts)}) -> {back}",
    )


def text() -> str:
    """The whole file."""
    return HEAD + "\n".join(declared(k, v) for k, v in sorted(attached().items())) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
