"""What the wheel has as ``tabgrad/_packed.py``: modules come from one archive beside it.

A page downloads the wheel before the first line of user code. The modules compressed together with
the shaders, the JavaScript and the kernels weigh a quarter less than one by one in a zip file.
"""

import linecache  # noqa: F401  (asks the loader below for lines of tracebacks)
import lzma
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_HERE = Path(__file__).parent


def _unpack():
    """Names and contents, as hatch_build.py's ``archive`` puts them together."""
    head, data = lzma.decompress((_HERE / "archive.xz").read_bytes()).split(b"\0", 1)
    names = [line.split(" ") for line in head.decode().split("\n")]
    *texts, data = data.split(b"\0", len([name for name in names if len(name) == 1]))
    files, at = {}, 0
    for name, *size in names:
        if size:
            files[name], at = data[at : at + int(size[0])], at + int(size[0])
        else:
            files[name] = texts[len(files)]
    return files


FILES = _unpack()


class Packed:
    """Finds and loads the modules of this package (importlib's finder and loader protocols)."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Where a module of this package is; None for all others."""
        if not name.startswith("tabgrad."):
            return None
        stem = name.partition(".")[2].replace(".", "/")
        for file, package in ((f"{stem}/__init__.py", True), (f"{stem}.py", False)):
            if file in FILES:
                spec = ModuleSpec(name, cls, origin=str(_HERE / file), is_package=package)
                spec.has_location = True
                if package:
                    spec.submodule_search_locations = [str(_HERE / stem)]
                return spec
        return None

    @staticmethod
    def create_module(spec):
        """The usual module."""
        return None

    @classmethod
    def exec_module(cls, module):
        """Runs a module's text."""
        spec = module.__spec__
        exec(compile(cls.get_source(spec.name), spec.origin, "exec"), module.__dict__)

    @classmethod
    def get_source(cls, name):
        """A module's text, for tracebacks and ``inspect``."""
        return FILES[cls.find_spec(name).origin[len(str(_HERE)) + 1 :].replace("\\", "/")].decode()


def door():
    """The text of ``tabgrad/__init__.py`` itself."""
    return compile(FILES["__init__.py"], str(_HERE / "__init__.py"), "exec")


sys.meta_path.insert(0, Packed)
