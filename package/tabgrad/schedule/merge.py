"""After grouping: kernels over the same space become one where that saves reading memory.

Two kernels that read one large value (the sums of a norm's gradient), or one that reads what the
other computes for each row (pooling, then relu), are one kernel if no third step lies between them.
"""

from __future__ import annotations

from ..shape import Shape, numel, refine
from .group import Group, Grouper
from .values import PACKED, base_of, peel


def merge(grouper: Grouper, groups: list[Group]) -> list[Group]:
    """The groups, some of them as one."""
    left: list[Group] = []
    for group in groups:
        for other in list(left):
            if _worthwhile(group, other) and _merge(grouper, other, group):
                left.remove(other)
                group = other
        left.append(group)
    return left


def _worthwhile(a: Group, b: Group) -> bool:
    """Does one read what the other reads or computes?"""
    return not (
        a.externals.isdisjoint(b.externals)
        and a.externals.isdisjoint(b.members)
        and b.externals.isdisjoint(a.members)
    )


def _merge(grouper: Grouper, a: Group, b: Group) -> bool:
    """Takes ``b`` into ``a`` if they can be one kernel."""
    space = _space(a, b)
    if space is None or not _fits(grouper, a, b):
        return False
    if not (_plain(grouper, a, b) and _plain(grouper, b, a)):
        return False
    if _apart(grouper, a, b) or _apart(grouper, b, a):
        return False
    a.dims, a.inner = space
    a.rows = numel(a.dims)
    a.members |= b.members
    grouper.group_of |= dict.fromkeys(b.members, a)
    a.externals = (a.externals | b.externals) - a.members.keys()
    a.stores = {k for k in a.stores | b.stores if _needed(grouper, a, k)}
    return True


def _space(a: Group, b: Group) -> tuple[Shape, Shape | None] | None:
    """Rows and inner space of both together."""
    dims = refine(a.dims, b.dims) if numel(a.dims) == numel(b.dims) else None
    if dims is None:
        return None
    dims = tuple(n for n in dims if n != 1)
    if a.inner is None or b.inner is None:
        return dims, a.inner or b.inner
    inner = refine(a.inner, b.inner) if numel(a.inner) == numel(b.inner) else None
    return None if inner is None else (dims, tuple(n for n in inner if n != 1))


def _fits(grouper: Grouper, a: Group, b: Group) -> bool:
    caps = grouper.caps
    members = a.members | b.members
    operands = (a.externals | b.externals) - members.keys()
    nodes = [n for n, _ in members.values()]
    inner = a.inner or b.inner
    return (
        len(members) <= caps.max_instrs
        and len(operands) + len(a.stores | b.stores) <= caps.max_operands - 1
        and not any(n.op == "store" for n in nodes)
        and not (caps.packed and inner and any(n.dtype in PACKED for n in nodes))
        and numel(inner or ()) <= caps.max_inner
    )


def _plain(grouper: Grouper, a: Group, b: Group) -> bool:
    """Does ``b`` read the values of ``a`` where they are computed, if at all?"""
    for node, level in b.members.values():
        for s in node.srcs:
            found = a.members.get(id(base_of(s)))
            if found is None:
                continue
            value, at = found
            wanted = 1 if node.op == "reduce" else level
            if peel(s) is not value or (node.op == "take" and s is node.srcs[0]):
                return False
            same = numel(value.shape) == numel(s.shape) and at == wanted
            whole = numel(grouper.space(node)) if node.op != "reduce" else numel(s.shape)
            if same and numel(value.shape) == whole:
                continue
            spread = at == 0 and wanted == 1 and numel(value.shape) == numel(a.dims)
            if not (spread and grouper.rows_then_inner(s.shape, grouper.space(node))):
                return False
    return True


def _apart(grouper: Grouper, a: Group, b: Group) -> bool:
    """Does a third step need values of ``a`` and feed ``b``?"""
    units = [grouper.unit(c) for k in a.members for c, _ in grouper.consumers.get(k, [])]
    return grouper.reaches([u for u in units if u is not a and u is not b], b, a)


def _needed(grouper: Grouper, group: Group, k: int) -> bool:
    """Is a stored value still read elsewhere?"""
    if k in grouper.roots:
        return True
    return any(grouper.unit(c) is not group for c, _ in grouper.consumers.get(k, []))
