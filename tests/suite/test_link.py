"""The JavaScript that Python joins and evaluates."""

import re

import pytest
from tabgrad import assets
from tabgrad.link import link


def test_no_import_or_export_is_left_in_the_runtime():
    text = link("runtime.js", lambda name: assets.read_text("_web", name))
    assert not re.search(r"^(import|export)\b", text, re.M)
    for name in ("replay.js", "devices/wasm.js", "devices/gpu/pool.js"):
        assert text.count(f"modules['{name}'] = ") == 1


def test_modules_come_after_what_they_import():
    files = {
        "a.js": 'import { one as uno } from "./x/b.js";\n'
        'export const a = uno;\nexport { c } from "./c.js";',
        "x/b.js": 'import * as c from "../c.js";\nexport const one = c.c;',
        "c.js": "const c = 1;\nexport { c };",
    }
    text = link("a.js", files.__getitem__)
    order = [text.index(f"modules['{name}'] = ") for name in ("c.js", "x/b.js", "a.js")]
    assert order == sorted(order)
    assert "const { one: uno } = modules['x/b.js'];" in text
    assert "return { c: modules['c.js'].c, a };" in text


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.js"):
        assets.read_text("_web", "nothing.js")
