"""What type checkers are told of Tensor is what methods.py attaches."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parent.parent / "tools" / "attached.py"


def test_attached_methods() -> None:
    spec = importlib.util.spec_from_file_location("attached", TOOL)
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert len(tool.attached()) > 300
    assert tool.TARGET.read_text() == tool.text(), "run: python tools/attached.py"
