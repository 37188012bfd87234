"""Writes ``tests/suite/stream.py``: what PyTorch draws after ``manual_seed(0)``.

Run with a Python that has PyTorch: ``python tests/torch/make_stream.py``
"""

from __future__ import annotations

from pathlib import Path

import torch

CALLS = [
    "torch.rand(5)",
    "torch.rand(20)",
    "torch.rand(3, dtype=torch.float16)",
    "torch.rand(3, dtype=torch.bfloat16)",
    "torch.randn(5)",
    "torch.randn(16)",
    "torch.randn(19)",
    "torch.randn(3, dtype=torch.float16)",
    "torch.randint(0, 10, (8,))",
    "torch.randint(-5, 1000000, (4,))",
    "torch.randint(0, 10, (4,), dtype=torch.uint8)",
    "torch.randperm(10)",
    "torch.randperm(33)",
    "torch.bernoulli(torch.full((12,), 0.3))",
    "torch.zeros(12).bernoulli_(0.3)",
    "torch.zeros(4).uniform_(-2, 3)",
    "torch.zeros(4).normal_(1, 2)",
    "torch.zeros(4).random_(0, 100)",
    "torch.zeros(4).exponential_(2.0)",
    "torch.normal(torch.zeros(3), torch.ones(3))",
    "torch.normal(1.0, 2.0, (3,))",
    "torch.rand_like(torch.zeros(2, 3))",
    "torch.nn.functional.dropout(torch.ones(12), 0.5)",
    "torch.multinomial(torch.tensor([0.1, 0.2, 0.7]), 2)",
    "torch.nn.Linear(3, 2).weight.detach()",
]


def draw(call: str) -> str:
    torch.manual_seed(0)
    return repr(eval(call).tolist())


def main() -> None:
    rows = "".join(f"    {call!r}:\n        {draw(call)},\n" for call in CALLS)
    text = (
        "# ruff: noqa: E501\n# fmt: off\n"
        '"""What PyTorch draws after ``manual_seed(0)``: see tests/torch/make_stream.py."""\n'
        "\nfrom typing import Any\n\n"
        f"STREAM: dict[str, Any] = {{\n{rows}}}\n"
    ).replace("'", '"')
    path = Path(__file__).parent.parent / "suite" / "stream.py"
    path.write_text(text)


if __name__ == "__main__":
    main()
