"""Comparison with real PyTorch, on desktop: each run draws a fresh seed and prints it.

``TABGRAD_SEED=n`` repeats a run; ``TABGRAD_ROUNDS=n`` makes the random programs more or fewer.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "suite")]

SEED = int(os.environ.get("TABGRAD_SEED") or random.SystemRandom().randrange(1 << 30))
ROUNDS = int(os.environ.get("TABGRAD_ROUNDS", "200"))


def pytest_report_header() -> str:
    return f"compared with PyTorch; repeat with TABGRAD_SEED={SEED}"


@pytest.fixture
def seed() -> int:
    return SEED


@pytest.fixture
def rounds() -> int:
    return ROUNDS


@pytest.fixture(autouse=True)
def numpy_executor() -> Iterator[None]:
    """The library starts afresh on the numpy executor; PyTorch's warnings are not ours."""
    import tabgrad

    tabgrad.set_default_device("cpu")
    tabgrad.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
