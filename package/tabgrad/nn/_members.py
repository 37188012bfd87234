"""The attributes of a module: which of them are parameters, buffers and submodules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph import capture
from ..tensor import Tensor
from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .module import Module

_TABLES = ("_parameters", "_buffers", "_modules")


def typename(obj: Any) -> str:
    """The name of a value's type in error texts."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    cls = obj if hasattr(obj, "__qualname__") else type(obj)
    if cls.__module__ in ("", "builtins"):
        return str(cls.__qualname__)
    return f"{cls.__module__}.{cls.__qualname__}"


class Members:
    """Three tables of a module, filled and read by assigning and naming attributes."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def _make_tables(self) -> None:
        for name in _TABLES:
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_non_persistent_buffers_set", set())

    def __getattr__(self, name: str) -> Any:
        for table in _TABLES:
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        capture.changes += 1
        table = _table_of(value)
        if table == "_parameters" or table == "_modules":
            if table not in self.__dict__:
                what = "parameters" if table == "_parameters" else "module"
                raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        elif name in self.__dict__.get("_parameters", ()):
            table = "_parameters"
        elif name in self.__dict__.get("_modules", ()):
            table = "_modules"
        elif table is None and name in self.__dict__.get("_buffers", ()):
            table = "_buffers"
        if table is None:
            object.__setattr__(self, name, value)
        else:
            self._set_entry(table, name, value)

    def _set_entry(self, table: str, name: str, value: Any) -> None:
        allowed, what = _ALLOWED[table]
        if value is not None and not isinstance(value, allowed):
            raise TypeError(
                f"cannot assign '{typename(value)}' as {what.format(name=name)} or None expected)"
            )
        self._forget(name, keep=table)
        if table == "_parameters":
            self.register_parameter(name, value)
        elif table == "_modules":
            self._modules[name] = value
        elif name in self._buffers and not isinstance(value, Buffer):
            self._buffers[name] = value
        else:
            self.register_buffer(name, value, getattr(value, "persistent", True))

    def _forget(self, name: str, keep: str) -> None:
        """Removes an attribute from every place but one, so that it can change its kind."""
        self.__dict__.pop(name, None)
        for table in _TABLES:
            if table != keep:
                self.__dict__[table].pop(name, None)
        if keep != "_buffers":
            self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        capture.changes += 1
        for table in _TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(name for name in names if not name[0].isdigit())

    def _check_name(self, name: Any, table: str, what: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self.__dict__[table] and "." not in name:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            got = f", got: {name}" if what == "module" else ""
            raise KeyError(f'{what} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under a name; None reserves the name."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                "the value in the forward() method."
            )
        capture.changes += 1
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is state but not learnt, such as a running mean."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        capture.changes += 1
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule under a name."""
        if module is not None and not isinstance(module, Members):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, "_modules", "module")
        capture.changes += 1
        self._modules[name] = module

    register_module = add_module


_ALLOWED: dict[str, tuple[Any, str]] = {
    "_parameters": (Parameter, "parameter '{name}' (torch.nn.Parameter"),
    "_modules": (Members, "child module '{name}' (torch.nn.Module"),
    "_buffers": (Tensor, "buffer '{name}' (torch.nn.Buffer, torch.Tensor"),
}


def _table_of(value: Any) -> str | None:
    """Which table of a module a value belongs to by its type."""
    if isinstance(value, Parameter):
        return "_parameters"
    if isinstance(value, Members):
        return "_modules"
    return "_buffers" if isinstance(value, Buffer) else None
