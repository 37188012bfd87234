"""Module: a tree of parameters, buffers and submodules with a ``forward``."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..autograd import no_grad
from ..tensor import Tensor
from . import _hooks, _loading
from ._hooks import Hook, RemovableHandle
from .parameter import Buffer, Parameter

M = TypeVar("M", bound="Module")
_TABLES = ("_parameters", "_buffers", "_modules")


def _typename(obj: Any) -> str:
    """The name of a value's type in error texts."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    cls = obj if hasattr(obj, "__qualname__") else type(obj)
    if cls.__module__ in ("", "builtins"):
        return str(cls.__qualname__)
    return f"{cls.__module__}.{cls.__qualname__}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


class Module:
    """The base class of every network and layer: override ``__init__`` and ``forward``.

    Parameters, buffers and modules that are assigned as attributes are found by
    :meth:`parameters`, :meth:`to`, :meth:`state_dict` and the like.

    Examples::

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(2, 3)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
        >>> net = Net()
        >>> net
        Net(
          (fc): Linear(in_features=2, out_features=3, bias=True)
        )
        >>> [(name, tuple(p.shape)) for name, p in net.named_parameters()]
        [('fc.weight', (3, 2)), ('fc.bias', (3,))]
        >>> net(torch.ones(4, 2)).shape
        torch.Size([4, 3])
    """

    _version = 1
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _forward_hooks: OrderedDict[int, Hook]
    _forward_pre_hooks: OrderedDict[int, Hook]
    _backward_hooks: OrderedDict[int, Callable[..., Any]]
    _backward_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_hooks: OrderedDict[int, Callable[..., Any]]
    _state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: OrderedDict[int, Callable[..., Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                f"'{next(iter(kwargs))}'"
            )
        if args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but "
                f"{len(args) + 1} were given"
            )
        set_ = functools.partial(object.__setattr__, self)
        set_("training", True)
        for name in _TABLES:
            set_(name, {})
        set_("_non_persistent_buffers_set", set())
        for name in Module.__annotations__:
            if name.endswith("_hooks"):
                set_(name, OrderedDict())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            return _hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # --- attributes -----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        for table in _TABLES:
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
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
                f"cannot assign '{_typename(value)}' as {what.format(name=name)} or None expected)"
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in Module.__annotations__:
            if name.endswith("_hooks"):
                self.__dict__.setdefault(name, OrderedDict())

    def _check_name(self, name: Any, table: str, what: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {_typename(name)}")
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
                f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                "the value in the forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is state but not learnt, such as a running mean."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule under a name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name(name, "_modules", "module")
        self._modules[name] = module

    register_module = add_module

    # --- walking the tree -----------------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names, each module once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                inner = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, inner, remove_duplicate)

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        named = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in named if recurse else [(prefix, self)]:
            for name, x in get_members_fn(module):
                if x is None or (remove_duplicate and id(x) in seen):
                    continue
                seen.add(id(x))
                yield f"{path}.{name}" if path else name, x

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names."""
        return self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The submodule at a dotted path; ``""`` is this module."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replaces the submodule at a dotted path."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if not isinstance(getattr(parent, name, module), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _member(self, target: str) -> tuple[Module, str, Any]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return module, name, getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        _, name, param = self._member(target)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        module, name, buffer = self._member(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # --- state ----------------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        """Anything else the state dict shall hold; defined together with set_extra_state."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: define get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Takes back what get_extra_state gave."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: define set_extra_state()")

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """An OrderedDict of dotted names to parameters and persistent buffers (sharing storage)."""
        given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
        destination = given.get("destination", destination)
        return _loading.gather(
            self, destination, given.get("prefix", prefix), given.get("keep_vars", keep_vars)
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        _loading.save_own(self, destination, prefix, keep_vars)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Copies a state dict into this module's parameters and buffers.

        Args:
            state_dict: a mapping as :meth:`state_dict` returns it, or the path or URL of a
                weights file. A file is streamed to the device, so that call must be awaited:
                ``await model.load_state_dict("model.ptjs")``.
            strict: raise if keys are missing or unexpected.
            assign: put the tensors of the mapping in place rather than copying their values.

        Examples::

            >>> a, b = nn.Linear(2, 1), nn.Linear(2, 1)
            >>> b.load_state_dict(a.state_dict())
            <All keys matched successfully>
            >>> torch.equal(a.weight, b.weight)
            True
        """
        if isinstance(state_dict, str):
            from .. import io

            return io.load_into_module(self, state_dict, strict)
        return _loading.load(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        _loading.load_own(
            self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
            error_msgs,
        )  # fmt: skip

    # --- changing all of it ---------------------------------------------------------------------

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replaces the values of every parameter, gradient and buffer; the objects stay."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                with no_grad():
                    param.data = fn(param)
                    if param.grad is not None:
                        param.grad.data = fn(param.grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self: M, fn: Callable[[Module], None]) -> M:
        """Calls ``fn`` on every submodule and then on this module; used to initialise."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Moves and converts in place: ``to(device)``, ``to(dtype)``, ``to(device, dtype)``,
        ``to(tensor)``. Only floating-point entries change their dtype.

        Examples::

            >>> nn.Linear(2, 2).to(torch.float16).weight.dtype
            torch.float16
        """
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        moved = {} if device is None else {"device": device}
        both = moved if dtype is None else {**moved, "dtype": dtype}
        return self._apply(lambda t: t.to(**(both if t.is_floating_point() else moved)))

    def _to_float(self: M, dtype: Any) -> M:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self: M) -> M:
        """Floating-point entries become float32."""
        return self._to_float(_dtype("float32"))

    def double(self: M) -> M:
        """Floating-point entries become float64."""
        return self._to_float(_dtype("float64"))

    def half(self: M) -> M:
        """Floating-point entries become float16."""
        return self._to_float(_dtype("float16"))

    def bfloat16(self: M) -> M:
        """Floating-point entries become bfloat16."""
        return self._to_float(_dtype("bfloat16"))

    def type(self: M, dst_type: Any) -> M:
        """Every parameter and buffer becomes ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self: M) -> M:
        """Moves everything to the host's executor."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: M, device: Any = None) -> M:
        """Moves everything to ``"cuda"``, where the library maps that name to a device."""
        return self.to("cuda" if device is None else device)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Moves everything without copying values."""
        from .. import creation

        return self._apply(lambda t: creation.empty_like(t, device=device), recurse)

    def share_memory(self: M) -> M:
        """Nothing to do: there is one process."""
        return self

    def train(self: M, mode: bool = True) -> M:
        """Sets training mode here and below: dropout drops, batch norm uses the batch."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Sets evaluation mode: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Sets ``requires_grad`` of every parameter."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for param in self.parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad = param.grad.detach().zero_()

    # --- hooks ----------------------------------------------------------------------------------

    def _has_backward_hooks(self) -> bool:
        return bool(self._backward_hooks or self._backward_pre_hooks)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before forward; what it returns replaces the arguments."""
        return _hooks.add(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after forward; what it returns replaces the output.

        Examples::

            >>> layer = nn.Linear(2, 3)
            >>> handle = layer.register_forward_hook(lambda m, args, out: print(out.shape))
            >>> y = layer(torch.ones(1, 2))
            torch.Size([1, 3])
            >>> handle.remove()
        """
        return _hooks.add(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` when the gradient of the output is there."""
        return _hooks.add(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the inputs' gradients are there."""
        return _hooks.add(self._backward_hooks, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` after state_dict()."""
        return _hooks.add(self._state_dict_hooks, hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before state_dict()."""
        return _hooks.add(self._state_dict_pre_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`` before this module's entries are loaded."""
        return _hooks.add(self._load_state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        if with_module:
            return self.register_load_state_dict_pre_hook(hook)
        return self.register_load_state_dict_pre_hook(lambda module, *args: hook(*args))

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after this module was loaded."""
        return _hooks.add(self._load_state_dict_post_hooks, hook)

    # --- printing -------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """The part of ``repr`` between the parentheses; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({k}): {_indented(repr(m))}" for k, m in self._modules.items()]
        if not children and "\n" not in extra:
            return f"{self._get_name()}({extra})"
        lines = (extra.split("\n") if extra else []) + children
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


_ALLOWED: dict[str, tuple[Any, str]] = {
    "_parameters": (Parameter, "parameter '{name}' (torch.nn.Parameter"),
    "_modules": (Module, "child module '{name}' (torch.nn.Module"),
    "_buffers": (Tensor, "buffer '{name}' (torch.nn.Buffer, torch.Tensor"),
}


def _table_of(value: Any) -> str | None:
    """Which table of a module a value belongs to by its type."""
    if isinstance(value, Parameter):
        return "_parameters"
    if isinstance(value, Module):
        return "_modules"
    return "_buffers" if isinstance(value, Buffer) else None


def _dtype(name: str) -> Any:
    from .. import dtypes

    return getattr(dtypes, name)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Device and dtype of ``to``'s arguments."""
    from ..dtypes import DType

    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    args = (*args, kwargs["tensor"]) if "tensor" in kwargs else args
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, DType):
            dtype = arg
        elif arg is not None and not isinstance(arg, bool):
            device = arg
    return device, dtype
