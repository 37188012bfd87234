"""Who ran: the user's functions behind a call, and the hidden state they ask."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from ..amp import GradScaler
from ..autograd import tape
from ..nn.module import Module
from ..nn.utils import clip
from ..optim.optimizer import Optimizer

_OWN = __name__.partition(".")[0]
_FOREIGN = {
    _OWN, "numpy", "_pytest", "pytest", "js", "pyodide", "_pyodide", "pyodide_js", "_pyodide_core",
    *sys.stdlib_module_names,
} - {"__main__"}  # fmt: skip
_SELVES = {
    id(f.__code__) for f in (Module.__call__, Module._call_impl, Optimizer.zero_grad)
}  # fmt: skip
_OF_GRADS = {
    id(f.__code__)
    for f in (Optimizer.zero_grad, Module.zero_grad, tape._accumulate, clip._grads, GradScaler.step)
}
# what answers differently from call to call, or has effects that no replay has
_HIDDEN_MODULES = {"random", "secrets", "uuid"}
_HIDDEN = {"print", "input", "open", "breakpoint"}
_CLOCKS = {"now", "utcnow", "today", "urandom", "getrandom"}
_COUNTERS = {"_version", "data_ptr"}
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "vars"}


def is_foreign(module: str | None) -> bool:
    """True for this package, Python's library and numpy: nobody changes their globals."""
    top = (module or "").partition(".")[0]
    return top in _FOREIGN or top.startswith("namedtuple_")


class Tracer:
    """A profile function: notes every function of the user's that runs, with its objects."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        self.refuse = refuse
        self.frames: dict[tuple[int, int], tuple[CodeType, dict[str, Any]]] = {}
        self.objects: dict[int, Any] = {}  # modules that ran, arguments of the user's functions
        self.names: set[str] = set()  # all names and texts in their code
        self.outside: set[str] = set()  # those in code outside an optimizer's step
        self.by_name = False  # attributes are looked up by names that are computed
        self.grads = False  # somebody looks at .grad
        self.paused = 0  # within what replays call themselves
        self.in_step = 0  # within an optimizer's step

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if self.paused:
            return
        if event == "call":
            self._called(frame)
        elif event == "c_call" and not is_foreign(frame.f_globals.get("__name__")):
            self._called_builtin(arg)

    def _called(self, frame: FrameType) -> None:
        module: Any = frame.f_globals.get("__name__", "")
        code = frame.f_code
        if is_foreign(module):
            if id(code) in _SELVES:
                self._object(frame.f_locals["self"])
            if id(code) in _OF_GRADS:
                self.grads = True
            elif module in _HIDDEN_MODULES:
                back = frame.f_back
                if back is not None and not is_foreign(back.f_globals.get("__name__")):
                    self.refuse(f"it uses Python's {module}")
            elif module == "logging" and code.co_name == "_log":
                self.refuse("it writes a log")
            return
        self._note(code)
        self.frames[id(code), id(frame.f_globals)] = code, frame.f_globals
        found = frame.f_locals
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)
        for name in code.co_varnames[: count + bool(code.co_flags & 8)]:
            if name in found:
                self._object(found[name])

    def _object(self, x: Any) -> None:
        if hasattr(x, "__dict__") and not hasattr(x, "_requires_grad"):
            self.objects[id(x)] = x

    def _note(self, code: CodeType) -> None:
        names = {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}
        self.grads |= "grad" in names
        if not names.isdisjoint(_COUNTERS):
            self.refuse("it asks for a tensor's version or address")
        self.names |= names
        if not self.in_step:
            self.outside |= names

    def _called_builtin(self, f: Any) -> None:
        name, module = getattr(f, "__name__", ""), getattr(f, "__module__", "")
        owner = type(getattr(f, "__self__", None)).__module__
        if name in _BY_NAME and module == "builtins":
            self.by_name = True
        elif (
            module in ("time", "posix", "nt", "_random")
            or (module == "builtins" and name in _HIDDEN)
            or name in _CLOCKS
            or owner in ("random", "_random", "numpy.random.mtrand", "numpy.random._generator")
        ):
            self.refuse(f"it calls {name}()")

    def forget_fresh(self) -> None:
        """Drops objects that only this tracer holds any more."""
        for k in list(self.objects):
            if sys.getrefcount(self.objects[k]) <= 2:
                del self.objects[k]
