"""ES modules joined into one expression, so that JavaScript can be had at once.

``import()`` is a promise, and a program whose first line is ``tabgrad.ones(3)`` cannot wait for one
in every browser. Understood is what the files of ``web/`` use: named imports and exports, ``* as``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from posixpath import dirname, join, normpath

_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "([^"]+)";$', re.M)
_AGAIN = re.compile(r'^export \{([^}]*)\} from "([^"]+)";$', re.M)
_LIST = re.compile(r"^export \{([^}]*)\};$", re.M)
_DECLARED = re.compile(r"^export ((?:async )?function|const|class) (\w+)", re.M)


def link(main: str, read: Callable[[str], str]) -> str:
    """An expression whose value is the namespace of module ``main``; ``read`` gives the texts."""
    done: dict[str, str] = {}
    _add(main, read, done)
    bodies = "\n".join(f"modules[{name!r}] = {body};" for name, body in done.items())
    return f'((modules) => {{ "use strict";\n{bodies}\nreturn modules[{main!r}]; }})({{}})'


def _add(name: str, read: Callable[[str], str], done: dict[str, str]) -> None:
    text = read(name)
    exported: list[str] = []

    def at(source: str) -> str:
        path = normpath(join(dirname(name), source))
        if path not in done:
            _add(path, read, done)
        return f"modules[{path!r}]"

    def imported(m: re.Match[str]) -> str:
        names, whole, source = m.groups()
        target = whole or "{" + names.replace(" as ", ": ") + "}"
        return f"const {target} = {at(source)};"

    def passed_on(m: re.Match[str]) -> str:
        for one in _names(m[1]):
            exported.append(f"{one}: {at(m[2])}.{one}")
        return ""

    def listed(m: re.Match[str]) -> str:
        exported.extend(_names(m[1]))
        return ""

    def declared(m: re.Match[str]) -> str:
        exported.append(m[2])
        return f"{m[1]} {m[2]}"

    text = _IMPORT.sub(imported, text)
    text = _AGAIN.sub(passed_on, text)
    text = _LIST.sub(listed, text)
    text = _DECLARED.sub(declared, text)
    done[name] = f"(() => {{\n{text}\nreturn {{ {', '.join(exported)} }}; }})()"


def _names(listing: str) -> list[str]:
    return [one.strip() for one in listing.split(",") if one.strip()]
