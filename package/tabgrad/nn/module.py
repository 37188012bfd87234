"""Module: a tree of parameters, buffers and submodules with a ``forward``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from . import _hooks, _loading
from ._changing import Changing
from ._hooks import Hook, RemovableHandle


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


class Module(Changing):
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
    _compiled_call_impl: Any = None
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
        object.__setattr__(self, "training", True)
        self._make_tables()
        for name in _HOOKS:
            object.__setattr__(self, name, OrderedDict())

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
            or self._compiled_call_impl is not None
        ):
            call = self._compiled_call_impl or self._call_impl
            return call(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        return _hooks.call(self, args, kwargs)

    def compile(self, **options: Any) -> None:
        """Compiles this module's calls in place; the options are those of ``torch.compile``."""
        from ..compiler import compile as compiled

        self.__dict__["_compiled_call_impl"] = compiled(self._call_impl, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_compiled_call_impl"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())

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


_HOOKS = tuple(name for name in Module.__annotations__ if name.endswith("_hooks"))
