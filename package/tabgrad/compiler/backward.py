"""The way back through a compiled forward: a second plan, between results and what they depend on.

While the forward is recorded its tape is walked once with stand-ins for the gradients to come.
Values of the forward that this needs become further results of the forward's plan.
"""

from __future__ import annotations

from typing import Any

from .. import plan as plans
from ..autograd import tape
from ..graph import Node, leaf
from ..runtime import Buffer
from ..shape import numel
from ..tensor import Tensor
from .watch import Refused

_FREE = ("view", "const", "iota", "number", "buffer")  # nothing is saved by keeping their results
_TWICE = "torch.compile does not support double backward: call the function itself, uncompiled"


class Traced:
    """The graph of a backward, before it is planned."""

    def __init__(self, edges: list[int], grads: list[Any], holders: list[Any], names: str) -> None:
        self.edges = edges  # objects the gradients belong to
        self.grads = grads  # tensors or None
        self.holders = holders  # buffers in the place of the results' gradients
        self.name = names

    def planned(self, recorder: Any, device: Any) -> Backward:
        """The plan of it; the values that it needs are computed by now."""
        origin = {id(b): ("grad", k) for k, b in enumerate(self.holders)}
        roots: list[Node] = []
        results: list[Any] = []
        sources: list[Any] = []
        needs: set[int] = set()

        def source(buffer: Any) -> int:
            found = origin.get(id(buffer)) or recorder.origin.get(id(buffer))
            if found is None:
                raise Refused("its gradient needs a tensor that cannot be watched")
            if found[0] == "storage":
                needs.add(recorder.owner[found[1]])
            if found[0] in ("storage", "draw"):
                found = ("source", recorder._source(buffer))
            sources.append(found)
            return len(sources) - 1

        for g in self.grads:
            if g is None:
                results.append(None)
                continue
            node = g.node()
            form = (node.shape, node.dtype)
            if not numel(node.shape):
                empty = Buffer(device, device.send(b"", node.dtype, 0), 0)
                sources.append(("constant", empty))
                results.append(("source", len(sources) - 1, *form))
            elif node.op == "buffer":
                results.append(("source", source(node.buffer), *form))
            else:
                results.append(("root", len(roots), *form))
                roots.append(node)
        plan, leaves, cells = None, [], None
        if roots:
            graph = plans.linearize(roots)
            leaves = [source(n.buffer) for n in graph.leaves]
            plan = device.planned(graph, roots)
            cells = device.cells(plan.compiled, [n.arg for n in graph.numbers])
        made = Backward(device, plan, leaves, cells, sources, results, self.edges, self.name)
        made.needs = sorted(needs)
        return made


class Backward:
    """A planned backward: what ``Entry`` runs."""

    needs: list[int]  # objects whose values it reads

    def __init__(self, device: Any, plan: Any, leaves: list[int], cells: Any, sources: list[Any],
                 results: list[Any], edges: list[int], name: str) -> None:  # fmt: skip
        self.device, self.plan, self.leaves, self.cells = device, plan, leaves, cells
        self.sources, self.results, self.edges, self.name = sources, results, edges, name

    def entry(self, objects: list[Any], buffers: list[Buffer], made: list[Buffer],
              outputs: list[Tensor]) -> Entry:  # fmt: skip
        """A tape entry for one call: ``buffers`` its sources, ``made`` the roots it computed."""
        edges = tuple(tape.edge(objects[i]) for i in self.edges)
        metas = tuple((objects[i]._shape, objects[i].dtype) for i in self.edges)
        out = Entry(None, edges, metas)
        out.plan, out.label = self, self.name
        out.n_outputs = len(outputs)
        out.forms = [(t._shape, t.dtype) for t in outputs]
        held: list[Any] = []
        for kind, k in self.sources:
            held.append(k if kind == "grad" else made[k] if kind == "root"
                        else k if kind == "constant" else buffers[k])  # fmt: skip
        out.saved = {"buffers": held}
        watched = [objects[i] for i in self.needs]
        out.versions = [(x, (x._counter or x.storage).version) for x in watched]
        return out


class Freed:
    """The history of a result that was differentiated within the call."""

    edges: list[int] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def entry(self, objects: Any, buffers: Any, made: Any, outputs: list[Tensor]) -> Any:
        out = Entry(None, (), ())
        out.label, out.n_outputs, out.saved = self.name, len(outputs), None
        return out

    def planned(self, recorder: Any, device: Any) -> Freed:
        return self


class Entry(tape.Entry):
    """All of a compiled forward on the tape."""

    plan: Backward
    forms: list[Any]
    versions: list[Any]

    def release(self) -> None:
        self.saved = None

    def backward(self, grads: list[Any]) -> list[Any]:
        if self.saved is None:
            raise RuntimeError(tape._FREED)
        if tape.mode.grad:
            raise RuntimeError(_TWICE)
        for x, version in self.versions:
            tape.unpack((x, version, False), self)
        plan = self.plan
        values = [self._contiguous(k, g) for k, g in enumerate(grads)]
        held = [values[b] if type(b) is int else b for b in self.saved["buffers"]]
        made = []
        if plan.plan is not None:
            made = plan.device.launch(plan.plan, [held[k] for k in plan.leaves], plan.cells)
        out: list[Any] = []
        for r in plan.results:
            if r is None:
                out.append(None)
            else:
                kind, k, shape, dtype = r
                buffer = made[k] if kind == "root" else held[k]
                out.append(Tensor._wrap(leaf(buffer, shape, dtype), plan.device))
        return out

    def _contiguous(self, k: int, g: Any) -> Any:
        """The buffer of a result's gradient; zeros where there is none."""
        shape, dtype = self.forms[k]
        device = self.plan.device
        if g is None:
            from ..creation import zeros

            g = zeros(shape, dtype=dtype, device=device)
        node = g.node() if g.dtype is dtype else g.to(dtype).node()
        device.flush(node)
        if node.op != "buffer":  # a view of what is computed
            node = Node("copy", (node,), node.shape, node.dtype)
            device.flush(node)
        return node.buffer


def trace(recorder: Any, attached: list[Tensor]) -> Any:
    """Walks the tape of the results back to what the call was given; saves what that needs."""
    frontier: dict[Any, int] = {}
    edges: list[int] = []
    for i, x in enumerate(recorder.everything):
        if x is not None and recorder.index[id(x)] == i and x.requires_grad:
            e = tape.edge(x)
            key = (e[0].seq, e[1]) if isinstance(e[0], tape.Entry) else id(x)
            if key not in frontier:
                frontier[key] = len(edges)
                edges.append(i)
    _check_hooks([t._grad_fn for t in attached], frontier)
    forward = _forward(recorder)
    device = attached[0].storage.device
    holders = [object() for _ in attached]
    starts: list[Any] = []
    for t, holder in zip(attached, holders, strict=True):
        g = Tensor._wrap(leaf(holder, t._shape, t.dtype), device)
        starts.append((t.grad_fn, t._output_nr, g))
    label = attached[0].grad_fn.name()  # type: ignore[union-attr]
    try:
        with tape.no_grad():
            found = tape._run(starts, True, False, None, lambda *_: None, frontier)
    except RuntimeError as error:
        if str(error) != tape._FREED or len(attached) > 1:
            raise Refused(f"its gradient cannot be planned: {error}") from None
        return Freed(label)
    grads = [found.get(k) for k in range(len(edges))]
    for k, i in enumerate(edges):
        grads[k] = _fitted(grads[k], recorder.everything[i])
    _save(recorder, [g.node() for g in grads if g is not None], forward)
    return Traced(edges, grads, holders, "CompiledFunctionBackward")


def _fitted(g: Any, x: Tensor) -> Any:
    if g is None:
        return None
    g = g if g._shape == x._shape else tape._sum_to(g, x._shape)
    return g if g.dtype is x.dtype else g.to(x.dtype)


def _check_hooks(entries: list[Any], frontier: dict[Any, int]) -> None:
    seen: set[int] = set()
    stop = {key[0] for key in frontier if isinstance(key, tuple)}
    while entries:
        e = entries.pop()
        if not isinstance(e, tape.Entry) or e.seq in seen or e.seq in stop:
            continue
        seen.add(e.seq)
        if e.hooks or e.prehooks or e.retain:
            raise Refused("it registers a backward hook")
        entries += [edge[0] for edge in e.edges if edge is not None]


def _forward(recorder: Any) -> dict[int, Node]:
    """All values of the forward that somebody holds, and what they are made of."""
    from .. import runtime

    cells = [c() for made in runtime._open.values() for c in made.pending]
    stack = [s.node for s in cells if s is not None] + list(recorder.roots)
    found: dict[int, Node] = {}
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            stack += node.srcs
    return found


def _save(recorder: Any, roots: list[Node], forward: dict[int, Node]) -> None:
    """Makes results of the forward's values that the backward begins with."""
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in forward and node.op not in _FREE:
            recorder._value(node)
        else:
            stack += node.srcs
