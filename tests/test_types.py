"""What type checkers are told of Tensor is what methods.py attaches."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parent.parent / "tools" / "stubs.py"


def test_attached_methods() -> None:
    spec = importlib.util.spec_from_file_location("stubs", TOOL)
    assert spec and spec.loader
    stubs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stubs)
    assert len(stubs.attached()) > 300
    assert stubs.TARGET.read_text() == stubs.text(), "run: python tools/stubs.py"
