"""Guards: the Python state that a call read, and whether it is still the same.

No bytecode is rewritten. After a call the functions that ran are known (``ran.py``); what they can
name is watched: globals, closures, attributes, the contents of containers, whole modules and
optimizers. Modules and tensors tell of their changes (``capture.changes``), so that they cost one
comparison as long as nothing happens; everything else is compared at each call.
"""

from __future__ import annotations

import functools
import gc
import marshal
from collections.abc import Callable
from itertools import chain
from operator import attrgetter, getitem, is_
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ..dtypes import DType
from ..graph import capture
from ..nn.module import Module
from ..optim.lr_scheduler import LRScheduler
from ..optim.optimizer import NUMBERS, Optimizer
from ..random import Generator
from ..runtime import Device, device
from ..tensor import Tensor
from .ran import Tracer, is_foreign
from .tree import SIMPLE

_MISSING = object()
_MOST = 20_000  # entries of containers that are compared at each call
_BYTES = 1 << 16  # of a numpy array that is compared at each call
_TABLES = ("_parameters", "_buffers", "_modules")
_CONSTANT = (*SIMPLE, BuiltinFunctionType, DType, device, Generator, CodeType)
_METHODS = (functools.partial, functools.partialmethod)
_contents = attrgetter("cell_contents")


class Refused(Exception):
    """A call cannot be replayed; the message says why."""


def same(a: Any, b: Any) -> bool:
    """True if Python code cannot tell two values apart."""
    if a is b:
        return True
    t = type(a)
    if t is not type(b) or t not in SIMPLE:
        return False
    return bool(a == b and (t is not float or repr(a) == repr(b)))


def facts(t: Tensor) -> tuple[Any, ...]:
    """What a recording takes for granted of a tensor, apart from its value and its gradient."""
    s = t.storage
    return (
        type(t), t._shape, t._strides, t._offset, t.dtype, s.nelems, s.dtype, s.device,
        t._inference, t._base is None, t._origin, tuple(t._hooks or ()),
        tuple(t.__dict__.get("_post_hooks", ())),
    )  # fmt: skip


class Watch:
    """The state that a call could read, as it was afterwards."""

    def __init__(self, fn: Any, tracer: Tracer, optimizers: list[Optimizer]) -> None:
        self.ran = tracer.frames
        self.names, self.outside = tracer.names, tracer.outside
        self.by_name = tracer.by_name
        self.polls: list[tuple[Any, Any, Any, str]] = []  # dict, key, value, what it is
        self.cells: list[tuple[Any, Any, str]] = []
        self.checks: list[tuple[Callable[[], bool], str]] = []
        self.tables: list[tuple[dict[str, Any], list[Any], str]] = []  # of modules, their values
        self.fixed: list[Tensor] = []  # known by identity
        self.states: list[tuple[dict[Any, Any], Any]] = []  # where optimizers keep tensors
        self.optimizers: list[Optimizer] = []
        self.modules: list[tuple[Module, Any]] = []
        self.hooks: list[tuple[Any, Any]] = []  # of optimizers
        self.why = ""
        self._codes = {id(code) for code, _ in self.ran.values()}
        self._functions: dict[int, list[Any]] = {}
        self._seen: dict[int, Any] = {}
        self._classes: set[type] = set()
        self._room = _MOST
        self._value(fn, "the function")
        for code, names in self.ran.values():
            for name in code.co_names:
                if name in names:
                    self._poll(names, name, f"the global {name}")
        for x in [*tracer.objects.values(), *optimizers]:
            self._value(x, f"an object of class {type(x).__name__}")
        self._closures()
        self.facts = [facts(t) for t in self.fixed]
        self.changes = capture.changes
        self._line_up()

    # --- comparing ------------------------------------------------------------------------------

    def _line_up(self) -> None:
        """Lists for the interpreter's own loops."""
        places, keys, values, _ = zip(*self.polls, strict=True) if self.polls else [()] * 4
        cells, contents, _ = zip(*self.cells, strict=True) if self.cells else [()] * 3
        tables, items, _ = zip(*self.tables, strict=True) if self.tables else [()] * 3
        self._polled = places, keys, values
        self._closed = cells, contents
        self._tabled = tables, [*map(len, tables)], [*chain.from_iterable(items)]

    def holds(self) -> bool:
        """Whether everything is as it was; ``why`` says what is not."""
        if not (self._all_the_same() or self._all_alike()):
            return False
        for check, what in self.checks:
            if not check():
                self.why = f"{what} changed"
                return False
        return self.changes == capture.changes or self._holds_deeply()

    def _all_the_same(self) -> bool:
        """The same objects everywhere: nearly always so, and told without Python's loops."""
        places, keys, values = self._polled
        cells, contents = self._closed
        tables, sizes, items = self._tabled
        try:
            return (
                all(map(is_, map(getitem, places, keys), values))
                and (not cells or all(map(is_, map(_contents, cells), contents)))
                and [*map(len, tables)] == sizes
                and (not tables or all(map(is_, chain(*map(dict.values, tables)), items)))
            )
        except (KeyError, ValueError):  # a name, or a cell, without a value
            return False

    def _all_alike(self) -> bool:
        """As above, but numbers, strings … need only be equal."""
        for place, key, value, what in self.polls:
            if place.get(key, _MISSING) is not value and not same(place.get(key), value):
                self.why = f"{what} is another"
                return False
        for cell, value, what in self.cells:
            if cell.cell_contents is not value and not same(cell.cell_contents, value):
                self.why = f"{what} is another"
                return False
        for table, items, what in self.tables:
            if len(table) != len(items) or not all(map(is_, table.values(), items)):
                self.why = f"{what} changed"
                return False
        return True

    def _holds_deeply(self) -> bool:
        changes = capture.changes
        for module, before in self.modules:
            if not _alike(_snapshot(module), before):
                self.why = f"a module of class {type(module).__name__} changed"
                return False
        if any(now != before for now, before in self.hooks):
            self.why = "the hooks of an optimizer changed"
            return False
        for t, before in zip(self.fixed, self.facts, strict=True):
            if facts(t) != before:
                self.why = f"a tensor of shape {list(t._shape)} changed its form"
                return False
        self.changes = changes
        return True

    # --- finding --------------------------------------------------------------------------------

    def _poll(self, place: Any, key: Any, what: str) -> None:
        value = place[key]
        if isinstance(value, ModuleType) and is_foreign(value.__name__):
            return  # nobody binds the name of the library to something else
        self.polls.append((place, key, value, what))
        self._value(value, what)

    def _value(self, v: Any, what: str) -> None:
        """Watches what hangs on a value; the value itself is compared by who holds it."""
        t = type(v)
        if t in _CONSTANT or isinstance(v, Device) or id(v) in self._seen:
            return
        self._seen[id(v)] = v
        if isinstance(v, Tensor):
            self.fixed.append(v)
            self._attributes(v.__dict__, what, self.names - _OF_TENSORS)
        elif isinstance(v, Module):
            self._module(v, what)
        elif isinstance(v, FunctionType):
            self._function(v, what)
        elif isinstance(v, MethodType):
            self._value(v.__func__, what)
            self._value(v.__self__, what)
        elif isinstance(v, tuple | frozenset):
            self._items(v, what)
        elif isinstance(v, list | dict | set):
            self._container(v, what)
        elif isinstance(v, type):
            if not is_foreign(v.__module__):
                self._class(v)
        elif isinstance(v, ModuleType):
            if not is_foreign(v.__name__):
                self._attributes(vars(v), v.__name__, self.names)
        else:
            self._object(v, what)

    def _items(self, items: Any, what: str) -> None:
        self._room -= len(items)
        if self._room < 0:
            raise Refused(f"there is too much in {what} to be compared at each call")
        for v in items:
            self._value(v, f"an item of {what}")

    def _container(self, v: Any, what: str) -> None:
        try:
            data = marshal.dumps(v, 2)
        except ValueError:
            self._mixed(v, what)
            return
        self._room -= len(data) // 8
        if self._room < 0:
            raise Refused(f"there is too much in {what} to be compared at each call")
        self.checks.append((lambda: _dumped(v) == data, what))

    def _mixed(self, v: Any, what: str) -> None:
        """A container of more than plain values: the same objects in the same places."""
        if isinstance(v, dict):
            keys, items, n = list(v), list(v.values()), len(v)
            self._items(keys, what)
            self._items(items, what)

            def check() -> bool:
                return len(v) == n and all(map(is_, v.values(), items)) and all(map(is_, v, keys))

        else:
            items, n = list(v), len(v)
            self._items(items, what)

            def check() -> bool:
                return len(v) == n and all(map(is_, v, items))

        self.checks.append((check, what))

    def _function(self, f: Any, what: str) -> None:
        self._functions.setdefault(id(f.__code__), []).append(f)
        self._value(getattr(f, "__wrapped__", None), what)  # what a decorator was given
        if id(f.__code__) not in self._codes and not is_foreign(f.__module__):
            return  # it did not run
        form = _form(f)
        self.checks.append((lambda: all(map(is_, _form(f), form)), what))
        for v in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self._value(v, f"a default of {what}")
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self._cell(name, cell)
        self._attributes(vars(f), what, self.names)

    def _cell(self, name: str, cell: Any) -> None:
        if id(cell) in self._seen:
            return
        self._seen[id(cell)] = cell
        try:
            value = cell.cell_contents
        except ValueError:
            return  # empty: to read it would raise
        self.cells.append((cell, value, f"the closure's {name}"))
        self._value(value, name)

    def _attributes(self, place: Any, what: str, names: set[str]) -> None:
        for name in names & place.keys():
            try:
                self._poll(place, name, f"{what}.{name}")
            except Refused:
                if name in self.names:
                    raise  # else only some name that is computed could mean it

    def _class(self, cls: type) -> None:
        for c in cls.__mro__:
            if not is_foreign(c.__module__) and c not in self._classes:
                self._classes.add(c)
                self._attributes(vars(c), c.__name__, self.names)
                for f in vars(c).values():  # methods whose closures may be asked for
                    f = getattr(f, "__func__", getattr(f, "fget", f))
                    if isinstance(f, FunctionType):
                        self._value(f, f.__name__)

    def _object(self, v: Any, what: str) -> None:
        t = type(v)
        if hasattr(t, "__next__"):
            raise Refused(f"{what} is an iterator")
        if t.__module__.startswith("numpy.random"):
            raise Refused(f"{what} is a random generator that is not tabgrad's")
        if t.__name__ == "ndarray":
            if v.nbytes > _BYTES:
                raise Refused(f"{what} is a numpy array too large to be compared at each call")
            data = v.tobytes()
            self.checks.append((lambda: v.tobytes() == data, what))
            return
        if isinstance(v, _METHODS):
            self._items((v.func, *v.args, *v.keywords.values()), what)
        if isinstance(v, Optimizer):
            self._optimizer(v, what)
        self._value(t, t.__name__)
        place = getattr(v, "__dict__", None)
        if place is not None:
            scheduler = isinstance(v, LRScheduler)
            names = self.names if scheduler or not self.by_name else set(place)
            if scheduler and {"get_last_lr", "get_lr"} & self.names:
                names = names | {"_last_lr"}
            if isinstance(v, Optimizer):
                names = names - _OF_OPTIMIZERS
            elif not scheduler:
                n = len(place)
                self.checks.append((lambda: len(place) == n, f"the attributes of {what}"))
            self._attributes(place, what, names)
        for c in t.__mro__:
            slots = vars(c).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if (name in self.names or self.by_name) and hasattr(v, name):
                    self._slot(v, name, what)

    def _slot(self, v: Any, name: str, what: str) -> None:
        value = getattr(v, name)
        self.checks.append((lambda: same(getattr(v, name, _MISSING), value), f"{what}.{name}"))
        self._value(value, f"{what}.{name}")

    def _module(self, top: Module, what: str) -> None:
        for m in top.modules():
            if m is not top:
                if id(m) in self._seen:
                    continue
                self._seen[id(m)] = m
            self.modules.append((m, _snapshot(m)))
            for table in (m._parameters, m._buffers, m._modules):
                if table:
                    self._table(table, type(m).__name__)
            self._value(type(m), type(m).__name__)
            library = is_foreign(type(m).__module__)
            for name, v in vars(m).items():
                if name in _TABLES or type(v) in SIMPLE or name == "_non_persistent_buffers_set":
                    continue
                if name.endswith("_hooks"):
                    self._items(v.values(), f"{what}.{name}")
                elif library or self.by_name or name in self.names:
                    self._value(v, f"{what}.{name}")

    def _table(self, table: dict[str, Any], what: str) -> None:
        """A module's table: something may be put there past the module's own methods."""
        items = list(table.values())
        self._items([v for v in items if isinstance(v, Tensor)], what)
        self.tables.append((table, items, f"a parameter or buffer of {what}"))

    def _optimizer(self, o: Optimizer, what: str) -> None:
        self.optimizers.append(o)
        groups, state = o.param_groups, o.state
        n_groups, kept = len(groups), list(state.values())
        self.checks.append((lambda: o.param_groups is groups and len(groups) == n_groups, what))
        self.checks.append((
            lambda: o.state is state and len(state) == len(kept)
            and all(map(is_, state.values(), kept)), f"the state of {what}",
        ))  # fmt: skip
        read = "param_groups" in self.outside
        for g in groups:
            self._items(g["params"], what)
            self._group(g, what, read)
        for entry in kept:
            tensors = [k for k, v in entry.items() if isinstance(v, Tensor)]
            self.states += [(entry, k) for k in tensors]
            self._entry(entry, [k for k in entry if k not in tensors and k not in NUMBERS], what)
            if read and "step" in self.outside:
                self.polls += [(entry, k, v, what) for k, v in entry.items() if k in NUMBERS]
        for hooks in (o._step_pre_hooks, o._step_post_hooks):
            self._items(hooks.values(), f"the hooks of {what}")
            self.hooks.append((hooks, dict(hooks)))

    def _group(self, g: dict[str, Any], what: str, read: bool) -> None:
        """A parameter group: its numbers are read anew by every replay, unless user code does."""
        params, items, n = g["params"], list(g["params"]), len(g)
        plain = [k for k, v in g.items() if k != "params" and (read or not _is_number(v))]
        values = [g[k] for k in plain]
        for v in values:
            self._value(v, what)

        def check() -> bool:
            return (
                len(g) == n and g["params"] is params and len(params) == len(items)
                and all(map(is_, params, items))
                and all(map(same, [g[k] for k in plain], values))
            )  # fmt: skip

        self.checks.append((check, f"a parameter group of {what}"))

    def _entry(self, entry: dict[Any, Any], plain: list[Any], what: str) -> None:
        n = len(entry)
        self.checks.append((lambda: len(entry) == n, f"the state of {what}"))
        for k in plain:
            self._poll(entry, k, f"the state {k} of {what}")

    def _closures(self) -> None:
        """Functions that ran and have closures, but were not met: asked of the interpreter."""
        inner = {id(c) for code, _ in self.ran.values() for c in code.co_consts}
        for code, _ in list(self.ran.values()):
            if not code.co_freevars or id(code) in self._functions or id(code) in inner:
                continue
            found = [f for f in gc.get_referrers(code) if isinstance(f, FunctionType)]
            if not found:
                raise Refused(f"the closure of {code.co_name} cannot be found")
            for f in found:
                self._value(f, f.__name__)


def _form(f: Any) -> tuple[Any, ...]:
    return f.__code__, f.__defaults__, f.__kwdefaults__


def _is_number(v: Any) -> bool:
    if type(v) is tuple:
        return bool(v) and all(map(_is_number, v))
    return type(v) is float or type(v) is int


def _dumped(v: Any) -> bytes | None:
    try:
        return marshal.dumps(v, 2)
    except ValueError:
        return None


def _snapshot(m: Module) -> Any:
    """Attributes of a module and contents of its tables, shallowly."""
    place = vars(m)
    tables = [place[k] for k in place if k in _TABLES or k.endswith("_hooks")]
    return dict(place), [dict(t) for t in tables]


def _alike(now: Any, before: Any) -> bool:
    (mine, tables), (theirs, others) = now, before
    pairs = [(mine, theirs), *zip(tables, others, strict=False)]
    return len(tables) == len(others) and all(
        len(a) == len(b) and all(k in b and same(v, b[k]) for k, v in a.items()) for a, b in pairs
    )


_OF_TENSORS = {*vars(Tensor), *Tensor.__annotations__, "storage", "_shape", "_strides", "_offset"}
_OF_OPTIMIZERS = {
    "state", "param_groups", "defaults", "_opt_called", "_stepping", *Optimizer.__annotations__,
    *(f"_{when}_hooks" for when in ("state_dict_pre", "state_dict_post", "load_state_dict_pre",
                                    "load_state_dict_post")),
}  # fmt: skip
