"""Optimizer: parameter groups, state, hooks, and the walk over parameters that a step is.

A rule is one method, ``_update``, for one parameter. Numbers that change from step to step
(learning rate, bias corrections) are Python numbers there: they ride in the plan's scalar slots,
so that the second step runs the first one's plan.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from ..autograd import enable_grad, no_grad
from ..graph import capture
from ..nn._hooks import RemovableHandle, add
from ..nn._members import typename
from ..tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]
# Python numbers here, 0-d float32 tensors in a state dict, as PyTorch's files have them
NUMBERS = ("step", "mu_product")
_HOOKS = (
    "_step_pre_hooks", "_step_post_hooks", "_state_dict_pre_hooks", "_state_dict_post_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


class _Required:
    """Marks a hyperparameter that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def number(x: Any) -> float:
    """A hyperparameter as a Python number."""
    return x.item() if isinstance(x, Tensor) else x


def checked(defaults: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters, none of which is out of its range."""
    for name, value in defaults.items():
        if name in _NOT_NEGATIVE:
            check(not value < 0.0, _NOT_NEGATIVE[name], value)
    for i, beta in enumerate(defaults.get("betas", ())):
        check(0.0 <= beta < 1.0, f"beta parameter at index {i}", beta)
    return defaults


def check(ok: bool, what: str, value: Any) -> None:
    """PyTorch's complaint about a hyperparameter."""
    if not ok:
        raise ValueError(f"Invalid {what}: {value}")


_NOT_NEGATIVE = {
    "lr": "learning rate", "eps": "epsilon value", "weight_decay": "weight_decay value",
    "momentum": "momentum value", "momentum_decay": "momentum_decay value", "alpha": "alpha value",
    "lr_decay": "lr_decay value",
    "initial_accumulator_value": "initial_accumulator_value value",
}  # fmt: skip


def count(state: State) -> float:
    """The number of this step, from 1."""
    state["step"] = step = state.get("step", 0.0) + 1
    return step


def zeros(state: State, p: Tensor, *names: str) -> list[Tensor]:
    """Entries of a parameter's state, tensors like it, 0 when first asked for."""
    for name in names:
        if name not in state:
            state[name] = p.detach().clone().zero_()
    return [state[name] for name in names]


def ascent(g: Tensor, p: Tensor, group: Group) -> Tensor:
    """The gradient to go against: turned round to maximize, with the pull of weight decay."""
    if group["maximize"]:
        g = -g
    decay = number(group["weight_decay"])
    return g.add(p, alpha=decay) if decay and not group.get("decoupled_weight_decay") else g


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Runs an optimizer's step between its hooks, and sends the pending work off after it."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        from .. import runtime

        if self._stepping:  # an overridden step that calls its base class
            return step(self, *args, **kwargs)
        for hook in self._step_pre_hooks.values():
            new = hook(self, (self, *args), kwargs)
            if new is not None:
                if not (isinstance(new, tuple) and len(new) == 2):
                    raise RuntimeError(
                        f"{step.__qualname__} must return None or a tuple of (new_args, "
                        f"new_kwargs), but got {new}."
                    )
                args, kwargs = tuple(new[0])[1:], new[1]
        self._opt_called = self._stepping = True
        try:
            recorder = capture.recorder
            if recorder is None:
                out = step(self, *args, **kwargs)
            else:
                out = recorder.optimizer_step(self, step, args, kwargs)
        finally:
            self._stepping = False
        for hook in self._step_post_hooks.values():
            hook(self, (self, *args), kwargs)
        runtime.step_done()
        return out

    return wrapped


class Optimizer:
    """The base class of all optimizers.

    Args:
        params: parameters, or (name, parameter) pairs, or dicts with the key ``"params"`` and
            hyperparameters of their own.
        defaults: the hyperparameters that a group does not give.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.SGD([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> opt.step()
        >>> w.tolist()
        [0.0]
        >>> opt.zero_grad()
        >>> w.grad is None
        True
    """

    _step_pre_hooks: OrderedDict[int, Callable[..., Any]]
    _step_post_hooks: OrderedDict[int, Callable[..., Any]]
    _opt_called = False
    _stepping = False

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if defaults.get("differentiable"):
            raise NotImplementedError(
                "differentiable=True: write the update with Tensor operators instead, "
                "autograd follows those"
            )
        self.defaults = defaults
        for name in _HOOKS:
            setattr(self, name, OrderedDict())
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {typename(params)}"
            )
        self.state: dict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def add_param_group(self, param_group: Group) -> None:
        """Adds a group: a dict with ``"params"`` and the hyperparameters that differ."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = param_group
        group["params"] = _param_list(group["params"])
        _split_names(group)
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {typename(p)}"
                )
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            group.setdefault(name, default)
        self._check_duplicates(group["params"])
        capture.changes += 1
        self.param_groups.append(group)

    def _check_duplicates(self, params: list[Tensor]) -> None:
        ids = {id(p) for p in params}
        if len(ids) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                "information",
                stacklevel=4,
            )
        if any(id(p) in ids for group in self.param_groups for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for p in self._params():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = p.grad.detach().zero_()

    def _params(self) -> Iterable[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes every parameter that has a gradient.

        Args:
            closure: evaluates the model anew and returns the loss, which step returns.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state.get(p, {})
                    self._update(p, p.grad, state, group)
                    if state:
                        self.state[p] = state
        return loss

    step = _with_hooks(step)

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        """The rule: changes ``p`` and its state by its gradient."""
        raise NotImplementedError

    # --- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, with numbers in place of the parameters."""
        for hook in self._state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            hook(self)
        numbers = {id(p): i for i, p in reversed([*enumerate(self._params())])}
        groups = [
            {**{k: v for k, v in group.items() if k != "params"},
             "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]  # fmt: skip
        state = {numbers[id(p)]: _packed(s) for p, s in self.state.items() if id(p) in numbers}
        out = {"state": state, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():  # type: ignore[attr-defined]
            new = hook(self, out)
            out = out if new is None else new
        return out

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state and hyperparameters of a state dict, PyTorch's included."""
        for hook in self._load_state_dict_pre_hooks.values():  # type: ignore[attr-defined]
            new = hook(self, state_dict)
            state_dict = state_dict if new is None else new
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
        keys = chain.from_iterable(group["params"] for group in saved)
        params = dict(zip(keys, self._params(), strict=True))
        self.state = defaultdict(dict)
        for key, entry in state_dict["state"].items():
            if key in params:
                self.state[params[key]] = _unpacked(entry, params[key])
            else:
                self.state[key] = entry
        self.param_groups = [
            {**{k: deepcopy(v) for k, v in theirs.items() if k != "params"},
             "params": mine["params"]}
            for mine, theirs in zip(self.param_groups, saved, strict=True)
        ]  # fmt: skip
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
        for hook in self._load_state_dict_post_hooks.values():  # type: ignore[attr-defined]
            hook(self)

    # --- hooks, printing ------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step."""
        return add(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return add(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before state_dict()."""
        return add(self._state_dict_pre_hooks, hook, prepend)  # type: ignore[attr-defined]

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after state_dict(); what it returns replaces it."""
        return add(self._state_dict_post_hooks, hook, prepend)  # type: ignore[attr-defined]

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before load_state_dict()."""
        return add(self._load_state_dict_pre_hooks, hook, prepend)  # type: ignore[attr-defined]

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after load_state_dict()."""
        return add(self._load_state_dict_post_hooks, hook, prepend)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            lines = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            text += f"\nParameter Group {i}\n" + "".join(lines)
        return text + ")"


def _param_list(params: Any) -> list[Any]:
    if isinstance(params, Tensor):
        return [params]
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of "
            "tensors in sets will change between runs. Please use a list instead."
        )
    return list(params)


def _split_names(group: Group) -> None:
    """(name, parameter) pairs become parameters, and names beside them."""
    named = [isinstance(p, tuple) for p in group["params"]]
    if not any(named):
        return
    if not all(named):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    group["param_names"] = [name for name, _ in group["params"]]
    group["params"] = [p for _, p in group["params"]]


def _packed(state: State) -> State:
    """A parameter's state with its numbers as tensors."""
    from .. import creation

    return {
        k: creation.tensor(float(v), device="cpu") if k in NUMBERS and v is not None else v
        for k, v in state.items()
    }


def _unpacked(state: State, p: Tensor) -> State:
    """A copy of a saved state for this parameter's device and dtype."""
    out: State = {}
    for key, value in state.items():
        if key in NUMBERS:
            out[key] = number(value)
        elif isinstance(value, Tensor):
            value = value.detach()
            moved = value.to(device=p.device)
            if p.is_floating_point() and value.is_floating_point():
                moved = moved.to(dtype=p.dtype)
            out[key] = moved.clone() if moved is value else moved
        else:
            out[key] = deepcopy(value)
    return out
