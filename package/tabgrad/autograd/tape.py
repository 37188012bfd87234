"""The tape: what ran, what it saved, and the walk back."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..graph import capture, empty_trash, trash

if TYPE_CHECKING:
    from ..ops.row import Row
    from ..tensor import Tensor

_MODIFIED = (
    "one of the variables needed for gradient computation has been modified by an inplace "
    "operation: [{kind} {shape}]{out} is at version {now}; expected version {then} instead. "
    "Hint: enable anomaly detection to find the operation that failed to compute its gradient, "
    "with torch.autograd.set_detect_anomaly(True, check_nan=False)."
)
_FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you call "
    ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
    "graph a second time or if you need to access saved tensors after calling backward."
)
_INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in "
    "inference "
    "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
    "normal tensor and use it in autograd, or use `torch.no_grad()` instead of "
    "`torch.inference_mode()`."
)


class _Mode:
    """Whether ops are recorded; one per process, as there is one thread."""

    grad = True
    inference = False


mode = _Mode()
_sequence = 0


def is_grad_enabled() -> bool:
    """True where ops are recorded for backward."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """True inside ``inference_mode``."""
    return mode.inference


class set_grad_enabled:
    """Turns recording on or off: a context manager, a decorator, or a plain call."""

    def __init__(self, enabled: bool) -> None:
        self.previous = mode.grad
        self.enabled = bool(enabled)
        mode.grad = self.enabled

    def __enter__(self) -> None:
        mode.grad = self.enabled

    def __exit__(self, *_: Any) -> None:
        mode.grad = self.previous

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad = self.previous
        return _decorate(lambda: set_grad_enabled(self.enabled), fn)


class _GradMode:
    enabled = False

    def __init__(self, fn: Callable[..., Any] | None = None) -> None:
        self.stack: list[tuple[bool, bool]] = []

    def __new__(cls, fn: Any = None) -> Any:
        if callable(fn):
            return _decorate(cls, fn)
        return super().__new__(cls)

    def __enter__(self) -> None:
        self.stack.append((mode.grad, mode.inference))
        mode.grad = self.enabled

    def __exit__(self, *_: Any) -> None:
        mode.grad, mode.inference = self.stack.pop()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return _decorate(type(self), fn)


class no_grad(_GradMode):
    """Ops inside are not recorded: a context manager or a decorator."""


class enable_grad(_GradMode):
    """Ops inside are recorded again, within ``no_grad``."""

    enabled = True


class inference_mode(_GradMode):
    """As ``no_grad``; ``inference_mode(False)`` does nothing."""

    def __init__(self, mode: bool | Callable[..., Any] = True) -> None:
        super().__init__()
        self.on = bool(mode)

    def __enter__(self) -> None:
        self.stack.append((mode.grad, mode.inference))
        mode.inference = self.on
        if self.on:
            mode.grad = False

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return _decorate(lambda: inference_mode(self.on), fn)


def _decorate(make: Callable[[], Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with make():
            return fn(*args, **kwargs)

    return wrapped


class Entry:
    """One op on the tape (PyTorch's ``grad_fn``): where gradients go, and what their rules need."""

    # defaults live on the class, so that recording sets only what differs
    label = ""
    n_outputs = 1
    saved: dict[str, Any] | None = None
    kwargs: dict[str, Any] = {}
    hooks: list[Any] | None = None  # on the gradients that leave
    prehooks: dict[int, list[Any]] | None = None  # on the gradient of an output
    retain: dict[int, Any] | None = None  # outputs that keep their .grad

    def __init__(self, row: Row | None, edges: tuple[Any, ...], metas: tuple[Any, ...]) -> None:
        global _sequence
        _sequence += 1
        self.row = row
        self.edges = edges  # per input: None, or (Entry | leaf Tensor, output number)
        self.metas = metas  # per input: (shape, dtype)
        self.seq = _sequence

    def __del__(self) -> None:
        if self.edges:
            trash.append((self.edges, self.saved))
            self.edges, self.saved = (), None
            empty_trash()

    def name(self) -> str:
        """The name PyTorch prints, ``MulBackward0``."""
        if self.label:
            return self.label
        return "".join(p.title() for p in self.row.name.split("_")) + "Backward0"  # type: ignore[union-attr]

    def op_name(self) -> str:
        """The name in PyTorch's error messages, ``Mul``."""
        return self.name().partition("Backward")[0]

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """What feeds this entry, as PyTorch shows it."""
        return tuple((None, 0) if e is None else e for e in self.edges)

    def register_hook(self, hook: Callable[..., Any]) -> Any:
        """Calls ``hook(grad_inputs, grad_outputs)`` after this entry ran."""
        if self.hooks is None:
            self.hooks = []
        self.hooks.append(hook)
        return Handle(self.hooks, hook)

    def backward(self, grads: list[Any]) -> Sequence[Any]:
        """Gradients of the inputs from those of the outputs."""
        if self.saved is None:
            raise RuntimeError(_FREED)
        env: dict[str, Any] = {"g": grads[0], **self.kwargs}
        for key, saved in self.saved.items():
            env[key] = unpack(saved, self)
        row: Any = self.row
        out: list[Any] = []
        for edge, fn, names in zip(self.edges, row.grads, row.saves, strict=True):
            out.append(None if edge is None or fn is None else fn(*[env[n] for n in names]))
        return out

    def release(self) -> None:
        """Drops what was saved: a second walk raises, unless nothing was."""
        if self.saved:
            self.saved = None


class Handle:
    """Removes a hook again."""

    def __init__(self, hooks: Any, hook: Any) -> None:
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        """Takes the hook off; a second call does nothing."""
        if self.hook in self.hooks:
            capture.changes += 1
            self.hooks.remove(self.hook)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


def save(x: Tensor, is_output: bool) -> Any:
    """A value a rule will need, with its version; an output is kept without its own entry."""
    if x._inference:
        raise RuntimeError(_INFERENCE)
    if is_output:
        x = x._alias()
    return x, (x._counter or x.storage).version, is_output


def unpack(saved: Any, entry: Entry) -> Any:
    """The saved value again; raises if it was overwritten meanwhile."""
    if not isinstance(saved, tuple):
        return saved
    x, version, is_output = saved
    now = (x._counter or x.storage).version
    if now != version:
        maker = entry if is_output else x.grad_fn  # by now the op that wrote over it
        out = f", which is output {x._output_nr} of {maker.op_name()}," if maker else ""
        raise RuntimeError(
            _MODIFIED.format(
                kind=x.type_name(), shape=list(x._shape), out=out, now=now, then=version
            )
        )
    if is_output:
        x = x._alias()
        x._grad_fn, x._requires_grad = entry, True
    return x


def edge(x: Any) -> Any:
    """Where the gradient of an input goes."""
    if x._base is not None:
        x.grad_fn  # noqa: B018 (a view whose base was written looks its history up again)
    if not x._requires_grad:
        return None
    fn = x._grad_fn
    return (x, 0) if fn is None else (fn, x._output_nr)


def record(row: Row, xs: Sequence[Any], out: Tensor, kwargs: dict[str, Any]) -> None:
    """Writes an op on the tape; ``xs`` are its inputs, tensors or numbers."""
    edges: list[Any] = []
    metas: list[Any] = []
    saved: dict[str, Any] = {}
    for x, names in zip(xs, row.saves, strict=True):
        e = None if names is None or not hasattr(x, "_requires_grad") else edge(x)
        edges.append(e)
        if e is None:
            metas.append(None)
            continue
        metas.append((x._shape, x.dtype))
        for name in names:  # type: ignore[union-attr]
            if name == "g" or name in saved or name in kwargs:
                continue
            if name == "x_shape":  # for rules that need no more of their input
                kwargs = {**kwargs, name: x._shape}
            else:
                saved[name] = _kept(row, xs, out, name)
    entry = Entry(row, tuple(edges), tuple(metas))
    entry.saved = saved
    if kwargs:
        entry.kwargs = kwargs
    out._grad_fn = entry
    out._requires_grad = True


def _kept(row: Row, xs: Sequence[Any], out: Tensor, name: str) -> Any:
    if name == "out":
        return save(out, True)
    v = xs[row.inputs.index(name)]
    return save(v, False) if hasattr(v, "_requires_grad") else v


def _sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undoes broadcasting: sums a gradient down to the shape of its input."""
    dims = broadcast_dims(g._shape, shape)
    return (g.sum(dims, keepdim=True) if dims else g).reshape(shape)


@functools.lru_cache(4096)
def broadcast_dims(shape: tuple[int, ...], source: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(shape) - len(source)
    added = range(extra)
    return (*added, *[i + extra for i, n in enumerate(source) if n == 1 != shape[i + extra]])


def _run(
    starts: list[tuple[Entry, int, Any]],
    keep: bool,
    create: bool,
    wanted: dict[Any, int] | None,
    sink: Callable[[Any, Any], None],
    frontier: dict[Any, int] | None = None,
) -> dict[int, Any]:
    """Walks the tape from the newest entry to the oldest.

    ``wanted`` (for ``autograd.grad``) maps a leaf's id or (entry, output) to a result number;
    ``frontier`` does so too, but the walk ends there, before any hooks.
    """
    ready: dict[Entry, list[Any]] = {}
    heap: list[tuple[int, Entry]] = []  # the newest first
    results: dict[int, Any] = {}
    leaves: dict[int, tuple[Any, Any]] = {}  # what has come to each leaf so far

    def push(target: Any, nr: int, g: Any) -> None:
        if frontier is not None:
            k = frontier.get((target.seq, nr) if isinstance(target, Entry) else id(target))
            if k is not None:
                results[k] = g if k not in results else results[k] + g
                return
        if not isinstance(target, Entry):
            old = leaves.get(id(target))
            leaves[id(target)] = target, g if old is None else old[1] + g
            return
        grads = ready.get(target)
        if grads is None:
            grads = ready[target] = [None] * target.n_outputs
            heapq.heappush(heap, (-target.seq, target))
        grads[nr] = g if grads[nr] is None else grads[nr] + g

    for entry, nr, g in starts:
        push(entry, nr, g)
    with set_grad_enabled(create):
        while heap:
            _, entry = heapq.heappop(heap)
            grads = ready.pop(entry)
            if entry.prehooks or entry.retain or wanted:
                _visit_outputs(entry, grads, wanted, results)
            gins = entry.backward(grads)
            if entry.hooks:
                for hook in entry.hooks:
                    new = hook(tuple(gins), tuple(grads))
                    gins = gins if new is None else new
            for e, g, meta in zip(entry.edges, gins, entry.metas, strict=True):
                if e is None or g is None:
                    continue
                if g._shape != meta[0]:
                    g = _sum_to(g, meta[0])
                if g.dtype is not meta[1]:
                    g = g.to(meta[1])
                push(e[0], e[1], g)
            if not keep:
                entry.release()
        for target, g in leaves.values():
            g = _hooked(target._hooks, g)
            if wanted is None:
                sink(target, g)
            elif id(target) in wanted:
                results[wanted[id(target)]] = g
    return results


def _visit_outputs(
    entry: Entry, grads: list[Any], wanted: dict[Any, int] | None, results: dict[int, Any]
) -> None:
    for nr, g in enumerate(grads):
        if g is None:
            continue
        if entry.prehooks and nr in entry.prehooks:
            g = grads[nr] = _hooked(entry.prehooks[nr], g)
        if entry.retain and nr in entry.retain:
            x = entry.retain[nr]()
            if x is not None:
                x.grad = g if x.grad is None else x.grad + g
        if wanted and (entry.seq, nr) in wanted:
            results[wanted[entry.seq, nr]] = g


def _hooked(hooks: list[Any] | None, g: Any) -> Any:
    for hook in hooks or ():
        new = hook(g)
        g = g if new is None else new
    return g


def _accumulate(x: Tensor, g: Any) -> None:
    if not x._requires_grad:
        return  # detached since
    if x.grad is None:
        x.grad = g if g._requires_grad else g._like(g)
    elif mode.grad:
        x.grad = x.grad + g
    else:
        x.grad.add_(g)  # in place, as PyTorch: references to .grad see it
    for hook in x.__dict__.get("_post_hooks", ()):
        hook(x)


def _starts(tensors: Sequence[Any], gradients: Sequence[Any]) -> list[tuple[Any, int, Any]]:
    out = []
    for x, g in zip(tensors, gradients, strict=True):
        if not x.requires_grad:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn"
            )
        if g is None:
            if x.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            g = x.new_ones(x._shape)
        elif g._shape != x._shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[0] has a shape of {g.shape} and output[0] has a "
                f"shape of {x.shape}."
            )
        fn = x.grad_fn
        out.append((x, 0, g) if fn is None else (fn, x._output_nr, g))
    return out


def _tuple(x: Any, n: int = 1) -> tuple[Any, ...]:
    if x is None:
        return (None,) * n
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Adds the gradients of ``tensors`` to the ``.grad`` of the leaves, as
    ``torch.autograd.backward``."""
    xs = _tuple(tensors)
    keep = create_graph if retain_graph is None else retain_graph
    starts = _starts(xs, _tuple(grad_tensors, len(xs)))
    if inputs is None:
        _run(starts, keep, create_graph, None, _accumulate)
        return
    inputs = _tuple(inputs)
    for k, g in _run(starts, keep, create_graph, _wanted(inputs), _accumulate).items():
        _accumulate(inputs[k], g)


def _wanted(inputs: Sequence[Any]) -> dict[Any, int]:
    wanted: dict[Any, int] = {}
    for k, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        wanted[_name(x)] = k
    return wanted


def _name(x: Any) -> Any:
    """What a walk knows a tensor by: a leaf's identity, or an entry and its output."""
    fn = x.grad_fn
    return id(x) if fn is None else (fn.seq, x._output_nr)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, as ``torch.autograd.grad``."""
    if is_grads_batched:
        raise NotImplementedError("grad(is_grads_batched=True): call grad once per row instead")
    xs, ins = _tuple(outputs), _tuple(inputs)
    keep = create_graph if retain_graph is None else retain_graph
    starts = _starts(xs, _tuple(grad_outputs, len(xs)))
    wanted = _wanted(ins)
    results = _run(starts, keep, create_graph, wanted, _accumulate)
    out = []
    for k, x in enumerate(ins):
        g = results.get(wanted[_name(x)])
        if g is None and not (allow_unused or materialize_grads):
            raise RuntimeError(
                f"The differentiated Tensor at index {k} appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior."
            )
        out.append(x.new_zeros(x._shape) if g is None and materialize_grads else g)
    return tuple(out)
