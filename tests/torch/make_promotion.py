"""Writes ``tests/suite/promotion.py``: the dtypes PyTorch gives to ``a + b`` and ``a / b``.

Run with a Python that has PyTorch: ``python tests/torch/make_promotion.py``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

SUITE = Path(__file__).parent.parent / "suite"
sys.path.insert(0, str(SUITE))

from sampling import DTYPES  # noqa: E402

LETTERS = dict(zip(DTYPES, "bLISCUfdhH", strict=True))
OTHERS = {d: lambda d=d: torch.ones(2, dtype=getattr(torch, d)) for d in DTYPES}
OTHERS |= {d + " 0-d": lambda d=d: torch.ones((), dtype=getattr(torch, d)) for d in DTYPES}
OTHERS |= {"True": lambda: True, "2": lambda: 2, "2.5": lambda: 2.5}


def letter(x: Any) -> str:
    return LETTERS[str(x.dtype).removeprefix("torch.")]


def row(a: str, divide: bool) -> str:
    x = torch.ones(2, dtype=getattr(torch, a))
    return "".join(letter(x / o() if divide else x + o()) for o in OTHERS.values())


def main() -> None:
    lines = [
        '"""What PyTorch\'s promotion gives: see tests/torch/make_promotion.py."""\n',
        f'LETTERS = "{"".join(LETTERS.values())}"  # one per dtype, as sampling.DTYPES',
        "# a tensor of the row's dtype with: each dtype, each dtype 0-d, True, 2, 2.5",
    ]
    for name, divide in (("ADD", False), ("DIV", True)):
        lines.append(f"{name} = {{")
        lines += [f'    "{a}": "{row(a, divide)}",' for a in DTYPES]
        lines.append("}")
    (SUITE / "promotion.py").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
