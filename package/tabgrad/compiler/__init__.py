"""tabgrad.compile: a call of ordinary code recorded once, and replayed with one run.

``torch.compiler`` in PyTorch's names. The parts: ``tree`` takes arguments apart, ``ran`` notes who
ran, ``watch`` guards the state they read, ``record`` turns a call into a plan, ``backward`` plans
its gradient, ``replay`` runs it again.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from ..debug import debug
from ..errors import DeviceLostError
from ..graph import capture
from ..nn.module import Module
from ..runtime import step_done
from ..tensor import Tensor
from .lent import aliases, is_window
from .record import Recorder, modes
from .replay import Recording, argument_facts
from .tree import flatten
from .watch import Refused, Watch

_MOST = 8  # recordings of a function, as in PyTorch
_PATIENCE = 16  # calls in a row without a replay before a function is given up
_all: weakref.WeakSet[_Compiled] = weakref.WeakSet()


class _Candidate:
    """A call that was seen once: recorded for good if the next one like it does the same."""

    def __init__(self, watch: Watch, windows: tuple[int, ...], signature: Any) -> None:
        self.watch, self.windows, self.signature = watch, windows, signature


class _Case:
    """What arguments and modes look like; recordings and a candidate for it."""

    def __init__(self, spec: Any, others: list[Any], tensors: list[Tensor]) -> None:
        self.spec, self.others = spec, others
        self.fixed_windows: set[int] = set()  # arguments that must be taken where they lie
        self.windows: tuple[int, ...] = ()
        self.facts = self._facts(tensors)
        self.recordings: list[Recording] = []
        self.candidate: _Candidate | None = None

    def _facts(self, tensors: list[Tensor]) -> list[Any]:
        return [argument_facts(t, i in self.windows) for i, t in enumerate(tensors)]

    def fits(self, spec: Any, tensors: list[Tensor]) -> bool:
        """True if a call is of this case."""
        return bool(self.spec == spec and self.facts == self._facts(tensors))


class _Compiled:
    """A function with its recordings."""

    def __init__(self, fn: Callable[..., Any], fullgraph: bool) -> None:
        self.fn, self.fullgraph = fn, fullgraph
        self.cases: list[_Case] = []
        self.fruitless = 0
        self.off = ""
        self.full = False
        _all.add(self)

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(getattr(self.fn, "__qualname__", type(self.fn).__name__))

    def call(self, args: Any, kwargs: Any) -> Any:
        """A call of the function: replayed, or run and recorded."""
        if self.off or capture.recorder is not None:
            return self.fn(*args, **kwargs)
        tensors: list[Tensor] = []
        spec: list[Any] = [*modes()]
        others: list[Any] = []
        if args:
            flatten(args, tensors, spec, others)
        if kwargs:
            flatten(kwargs, tensors, spec, others)
        case = None
        for known in self.cases:
            if known.fits(spec, tensors):
                case = known
                break
        if case is not None:
            for recording in case.recordings:
                found = recording.fits(tensors)
                if found is not None:
                    return self._replay(case, recording, found, args, kwargs)
                debug.say(1, f"compile {self.name}: a recording does not fit: {recording.why}")
        profile = sys.getprofile()
        if self.full or not (profile is None or callable(profile)):  # a profiler of C cannot share
            return self.fn(*args, **kwargs)
        return self._observe(case, spec, others, tensors, args, kwargs)

    def _replay(self, case: _Case, recording: Recording, found: Any, args: Any, kwargs: Any) -> Any:
        self.fruitless = 0
        if case.recordings[0] is not recording:
            case.recordings.remove(recording)
            case.recordings.insert(0, recording)
        try:
            return recording.replay(found)
        except DeviceLostError as error:
            self.cases.clear()
            if recording.events or recording.dropped or not recording.device.reopen(error):
                raise
            return self.fn(*args, **kwargs)

    def _observe(
        self, case: _Case | None, spec: Any, others: Any, tensors: Any, args: Any, kwargs: Any
    ) -> Any:
        if case is None:
            case = _Case(spec, others, tensors)
            if len(self.cases) > 2 * _MOST:
                self.cases.pop(0)
            self.cases.append(case)
        candidate = case.candidate
        if candidate is not None and not candidate.watch.holds():
            debug.say(1, f"compile {self.name}: seen anew: {candidate.watch.why}")
            candidate = None
        watch = candidate.watch if candidate else None
        recorder = Recorder(tensors, watch, case.windows, self.fullgraph)
        out = recorder.call(self.fn, args, kwargs)
        try:
            if recorder.refused:
                self._give_up(recorder.refused, recorder.where)
            else:
                self._learn(case, candidate, recorder, tensors)
        except Refused as error:
            self._give_up(str(error), "")
        finally:
            vars(recorder).clear()  # it is part of circles: its buffers go now, not some time
        step_done()  # as ordinary code does, with nothing held that it does not hold
        if case.candidate is None and case.recordings:
            case.recordings[0].settle(tensors)
        return out

    def _learn(
        self, case: _Case, candidate: _Candidate | None, recorder: Recorder, tensors: Any
    ) -> None:
        """What a recorded call teaches: a recording if the one before did the same."""
        self.fruitless += 1
        why = "its state changes from call to call"
        if recorder.bad_windows:
            case.fixed_windows |= recorder.bad_windows
            case.windows = tuple(i for i in case.windows if i not in case.fixed_windows)
            case.facts = case._facts(tensors)
        elif candidate is not None and candidate.watch.holds():
            new = recorder.tracer.frames.keys() - candidate.watch.ran.keys()
            if not new and candidate.signature == recorder.signature:
                self._keep(case, recorder)
                return
            why = "it does not do the same twice"
            if not new:
                candidate.signature = recorder.signature
                self._lose_patience(why)
                return
        elif candidate is not None:
            why = candidate.watch.why
        self._lose_patience(why)
        watch = Watch(self.fn, recorder.tracer, recorder.optimizers)
        self._open_windows(case, watch, recorder, tensors)
        case.candidate = _Candidate(watch, case.windows, recorder.signature)

    def _open_windows(self, case: _Case, watch: Watch, recorder: Recorder, tensors: Any) -> None:
        """Arguments that are parts of larger storages are cut out from the next call on."""
        shared = aliases([t.storage for t in [*tensors, *watch.fixed]])
        taken = {id(t.storage) for t in recorder.new_tensors}
        case.windows = tuple(
            i for i, t in enumerate(tensors)
            if i not in case.fixed_windows and is_window(t) and shared.count(shared[i]) == 1
            and id(t.storage) not in taken
        )  # fmt: skip
        case.facts = case._facts(tensors)

    def _keep(self, case: _Case, recorder: Recorder) -> None:
        for c in self.cases:  # some may be of a GPU that was lost, or of other kernels
            c.recordings = [r for r in c.recordings if r.plans is r.device.plans]
        if sum(len(c.recordings) for c in self.cases) >= _MOST:
            self.full = True
            self._warn(f"there are {_MOST} recordings already; other calls run uncompiled", "")
            return
        assert recorder.recording is not None
        case.recordings.insert(0, recorder.recording)
        case.candidate = None
        self.fruitless = 0
        debug.say(1, f"compile {self.name}: {recorder.recording}")

    def _lose_patience(self, why: str) -> None:
        if self.fruitless >= _PATIENCE:
            self._give_up(why, "")

    def _give_up(self, why: str, where: str) -> None:
        self.off = why
        if self.fullgraph:
            raise RuntimeError(f"torch.compile with fullgraph=True: {self.name}: {why}")
        self._warn(f"it runs uncompiled from now on: {why}", where)

    def _warn(self, text: str, where: str) -> None:
        if not where:
            code = getattr(self.fn, "__code__", None)
            where = f"{code.co_filename}:{code.co_firstlineno}" if code else ""
        place = f" ({os.path.relpath(where) if os.path.isabs(where) else where})" if where else ""
        warnings.warn(f"torch.compile: {self.name}: {text}{place}", stacklevel=5)


# --- the interface --------------------------------------------------------------------------------

_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Records what a function or module does and replays it with one run, as ``torch.compile``.

    The first two or three calls of each kind run as ordinary code. What they read is compared at
    every later call (shapes, dtypes, modes, globals, closures, attributes, modules, optimizers); a
    call for which something is different is recorded anew. A whole training step may be compiled:
    gradients, optimizer and scheduler, random numbers advance as in ordinary code. A function that
    looks at a tensor's values, prints, or asks a clock runs as ordinary code, after a warning.
    Without gradients (``torch.no_grad``) a value that depends on the function's own tensors alone
    and has fewer bytes than they, such as a batch norm's factors in eval mode, is kept until one of
    them is written (16 MB of such values at most).

    Args:
        model: a function, or a module, of which an :class:`OptimizedModule` is returned.
        fullgraph: raise where it would run as ordinary code.
        dynamic: accepted; other shapes are other recordings.
        backend, mode, options: accepted; there is one backend.
        disable: return the model as it is.

    Examples:
        >>> w = nn.Parameter(torch.ones(2))
        >>> optimizer = optim.SGD([w], lr=0.1)
        >>> @torch.compile
        ... def step(x):
        ...     optimizer.zero_grad()
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss.detach()
        >>> for _ in range(5):
        ...     loss = step(torch.ones(2))
        >>> loss
        tensor(1.2000)
    """
    if mode is not None and options is not None:
        raise RuntimeError(
            "Either mode or options can be specified, but both can't be specified at the same time."
        )
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(_MODES)}")
    if callable(backend):
        raise NotImplementedError("compile(backend=…): there is no graph of PyTorch's to hand over")
    if model is None:
        return lambda m: compile(m, fullgraph=fullgraph, disable=disable)
    if disable or isinstance(model, OptimizedModule):
        return model
    if isinstance(model, Module):
        return OptimizedModule(model, fullgraph)
    if not callable(model):
        raise RuntimeError(f"compile() wants a function or a module, not {type(model).__name__}")
    return _wrapped(model, fullgraph)


def _wrapped(fn: Callable[..., Any], fullgraph: bool) -> Callable[..., Any]:
    compiled = _Compiled(fn, fullgraph)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        return compiled.call(args, kwargs)

    call.__dict__.update(_torchdynamo_orig_callable=fn, _compiled=compiled)
    return call


class OptimizedModule(Module):
    """A compiled module: its parameters, attributes and mode are those of ``_orig_mod``."""

    def __init__(self, mod: Module, fullgraph: bool = False) -> None:
        super().__init__()
        self._modules["_orig_mod"] = mod
        self.__dict__["forward"] = _wrapped(mod.__call__, fullgraph)

    @property
    def training(self) -> bool:
        """The mode of the module itself."""
        return bool(self._orig_mod.training)

    @training.setter
    def training(self, value: bool) -> None:
        if "_orig_mod" in self.__dict__.get("_modules", ()):
            self._orig_mod.training = value

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self.__dict__["_modules"]["_orig_mod"]
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __getitem__(self, key: Any) -> Any:
        return self._orig_mod[key]

    def __reduce__(self) -> Any:
        return OptimizedModule, (self._orig_mod,)

    def __deepcopy__(self, memo: Any) -> OptimizedModule:
        from copy import deepcopy

        return OptimizedModule(deepcopy(self._orig_mod, memo))


def reset() -> None:
    """Forgets all recordings, and tries again what was given up."""
    for compiled in _all:
        compiled.cases.clear()
        compiled.fruitless, compiled.off, compiled.full = 0, "", False


def is_compiling() -> bool:
    """True within a call that is being recorded."""
    return capture.recorder is not None


is_dynamo_compiling = is_compiling


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A function that is never part of a recording: what calls it runs as ordinary code."""
    if fn is None:
        return lambda f: disable(f, recursive, reason=reason)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if capture.recorder is not None:
            capture.recorder.refuse(f"it calls {fn.__qualname__}, for which compiling is disabled")
        return fn(*args, **kwargs)

    return call
