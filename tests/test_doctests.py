"""Every example in a docstring of the package is run, on desktop, with PyTorch's usual names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import tabgrad

# These exist for a page and import what only a page has, or an optional server.
NO_IMPORT = ("tabgrad.bridge", "tabgrad.serve")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    found = pkgutil.walk_packages(tabgrad.__path__, "tabgrad.", onerror=lambda name: None)
    return ["tabgrad", *(m.name for m in found if not m.name.startswith(NO_IMPORT))]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    names = {"tabgrad": tabgrad, "torch": tabgrad}
    names |= {n: getattr(tabgrad, n) for n in ("nn", "optim") if hasattr(tabgrad, n)}
    if "nn" in names:
        names["F"] = importlib.import_module("tabgrad.nn.functional")
    # A module's own names win: its examples may use its private helpers.
    names |= vars(module)
    for test in doctest.DocTestFinder().find(module, globs=names):
        tabgrad.manual_seed(0)
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        if runner.run(test, out=report.append).failed:
            pytest.fail("".join(report), pytrace=False)
