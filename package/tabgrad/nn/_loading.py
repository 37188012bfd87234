"""Module.state_dict and load_state_dict: PyTorch's keys, order, metadata and error texts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..autograd import no_grad
from ..tensor import Tensor
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

EXTRA_STATE = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class _IncompatibleKeys(_Keys):
    """What ``load_state_dict`` returns."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


def gather(module: Module, destination: Any, prefix: str, keep_vars: bool) -> Any:
    """``module.state_dict()``: own entries, then those of the children."""
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()
    local: dict[str, Any] = {"version": module._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = local
    for hook in module._state_dict_pre_hooks.values():
        hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(
                destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
            )
    for hook in module._state_dict_hooks.values():
        new = hook(module, destination, prefix, local)
        destination = destination if new is None else new
    return destination


def save_own(module: Module, destination: Any, prefix: str, keep_vars: bool) -> None:
    """A module's own parameters, persistent buffers and extra state."""
    tensors = {**module._parameters, **persistent_buffers(module)}
    for name, x in tensors.items():
        if x is not None:
            destination[prefix + name] = x if keep_vars else x.detach()
    if has_extra_state(module):
        destination[prefix + EXTRA_STATE] = module.get_extra_state()


def persistent_buffers(module: Module) -> dict[str, Tensor | None]:
    """The buffers that a state dict holds."""
    skip = module._non_persistent_buffers_set
    return {name: x for name, x in module._buffers.items() if name not in skip}


def has_extra_state(module: Module) -> bool:
    """Whether the class defines ``get_extra_state`` itself."""
    from .module import Module

    return type(module).get_extra_state is not Module.get_extra_state


def load(module: Module, state_dict: Any, strict: bool, assign: bool) -> _IncompatibleKeys:
    """``module.load_state_dict(mapping)``."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    metadata = getattr(state_dict, "_metadata", None)
    state: Any = OrderedDict(state_dict)
    if metadata is not None:
        state._metadata = metadata
    _load_tree(module, state, "", metadata, strict, assign, missing, unexpected, errors)
    if strict and unexpected:
        errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
    if strict and missing:
        errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    if errors:
        name, lines = type(module).__name__, "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {name}:\n\t{lines}")
    return _IncompatibleKeys(missing, unexpected)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


def _load_tree(
    module: Module,
    state: Any,
    prefix: str,
    metadata: Any,
    strict: bool,
    assign: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    local = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
    if assign:
        local["assign_to_params_buffers"] = True
    module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
    for name, child in module._modules.items():
        if child is not None:
            inner = f"{prefix}{name}."
            own = OrderedDict((k, v) for k, v in state.items() if k.startswith(inner))
            _load_tree(child, own, inner, metadata, strict, assign, missing, unexpected, errors)
    result = _IncompatibleKeys(missing, unexpected)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, result) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                "return new values, if incompatible_keys need to be modified, it should be done "
                "inplace."
            )


def load_own(
    module: Module,
    state: Any,
    prefix: str,
    local: dict[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Copies a module's own entries in, and notes what is missing, unexpected or of wrong shape."""
    for hook in module._load_state_dict_pre_hooks.values():
        hook(module, state, prefix, local, strict, missing, unexpected, errors)
    tensors = {**module._parameters, **persistent_buffers(module)}
    own = {name: x for name, x in tensors.items() if x is not None}
    assign = local.get("assign_to_params_buffers", False)
    for name, x in own.items():
        if prefix + name in state:
            _load_tensor(module, name, x, prefix + name, state[prefix + name], assign, errors)
        elif strict:
            missing.append(prefix + name)
    if has_extra_state(module):
        if prefix + EXTRA_STATE in state:
            module.set_extra_state(state[prefix + EXTRA_STATE])
        elif strict:
            missing.append(prefix + EXTRA_STATE)
    elif strict and prefix + EXTRA_STATE in state:
        unexpected.append(prefix + EXTRA_STATE)
    if strict:
        unexpected += [k for k in state if _is_unexpected(module, own, k, prefix)]


def _is_unexpected(module: Module, own: dict[str, Any], key: str, prefix: str) -> bool:
    if not key.startswith(prefix) or key == prefix + EXTRA_STATE:
        return False
    first, dot, _ = key[len(prefix) :].partition(".")
    return first not in (module._modules if dot else own)


def _load_tensor(
    module: Module, name: str, x: Tensor, key: str, value: Any, assign: bool, errors: list[str]
) -> None:
    if not isinstance(value, Tensor):
        errors.append(
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
            f"object from checkpoint but received {type(value)}"
        )
        return
    if x.ndim == 0 and value.ndim == 1 and len(value) == 1:
        value = value[0]  # files written before there were 0-d tensors
    if x.shape != value.shape:
        errors.append(
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
            f"the shape in current model is {x.shape}."
        )
        return
    try:
        if assign:
            _assign(module, name, x, value)
        else:
            with no_grad():
                x.copy_(value)
    except Exception as error:
        errors.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are '
            f"{x.size()} and whose dimensions in the checkpoint are {value.size()}, "
            f"an exception occurred : {error.args}."
        )


def _assign(module: Module, name: str, x: Tensor, value: Tensor) -> None:
    """Puts the checkpoint's tensor itself in place."""
    if isinstance(x, Parameter):
        if not isinstance(value, Parameter):
            value = Parameter(value, requires_grad=x.requires_grad)
        else:
            value.requires_grad_(x.requires_grad)
    setattr(module, name, value)
