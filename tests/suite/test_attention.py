"""Attention on every device: the kernel against the composition, and what masks mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tabgrad as torch
from compare import flat
from tabgrad import nn
from tabgrad.nn import functional as F
from tabgrad.nn.functional._attention import _composed
from test_plan import counted

SIZES = [(0, 3, 4, 4), (3, 0, 4, 4), (1, 1, 1, 1), (1, 65, 16, 16), (5, 7, 3, 9), (64, 64, 8, 8),
         (130, 70, 5, 6), (6, 40, 128, 20)]  # fmt: skip


def normal(rng: Any, *shape: int) -> Any:
    return torch.tensor(rng.standard_normal(shape).astype("float32").tolist()).reshape(shape)


def close(got: Any, want: Any, tol: float = 1e-5) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    a, b = (np.array(flat(x.detach().tolist()), "float64") for x in (got, want))
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


def both(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False, **options: Any) -> Any:
    """What the function gives without gradients, and the composition."""
    with torch.no_grad():
        got = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, **options)
    scale = options.get("scale") or 1 / math.sqrt(q.shape[-1])
    return got, _composed(q, k, v, mask, 0.0, causal, scale)


@pytest.mark.parametrize("t, s, d, e", SIZES)
def test_sizes_and_masks(rng: Any, t: int, s: int, d: int, e: int) -> None:
    q, k, v = normal(rng, 2, 3, t, d), normal(rng, 2, 3, s, d), normal(rng, 2, 3, s, e)
    seen = normal(rng, 2, 1, 1, s) > 0
    close(*both(q, k, v))
    close(*both(q, k, v, causal=True))
    close(*both(q, k, v, scale=0.7))
    close(*both(q, k, v, seen))
    close(*both(q, k, v, normal(rng, t, s)))
    close(*both(q, k, v, normal(rng, s)))
    close(*both(q[0, 0], k[0, 0], v[0, 0], normal(rng, 3, t, 1)))  # the mask has more dimensions


@pytest.fixture
def kernel(monkeypatch: Any) -> None:
    """The kernel of the gradients, wherever there is one, for few scores too."""
    device = torch.zeros(()).storage.device
    monkeypatch.setattr(device, "caps", device.caps._replace(scores=0))


def gradients(f: Any, xs: Any) -> Any:
    """The result, and the gradients of a sum of it in which each element counts otherwise."""
    xs = [x.detach().clone().requires_grad_() for x in xs]
    y = f(*xs)
    factors = torch.arange(y.numel(), dtype=torch.float32).reshape(y.shape).cos()
    return [y, *torch.autograd.grad((y.float() * factors).sum(), xs)]


def same_gradients(xs: Any, mask: Any = None, causal: bool = False, tol: float = 2e-5) -> None:
    scale = 1 / math.sqrt(xs[0].shape[-1])
    found = gradients(lambda *x: F.scaled_dot_product_attention(*x, mask, is_causal=causal), xs)
    least = xs[0].storage.device.caps.attention  # 0: there is no kernel
    assert found[0]._grad_fn.name().startswith("ScaledDot") == (0 < least <= xs[0].shape[-2])
    wide = [x.float() for x in xs]
    want = gradients(lambda *x: _composed(*x, mask, 0.0, causal, scale), wide)
    for a, b in zip(found, want, strict=True):
        assert a.dtype == xs[0].dtype
        close(a.float(), b, tol)


@pytest.mark.parametrize("t, s, d, e", [(1, 1, 1, 1), (37, 33, 3, 9), (6, 40, 70, 20)])
def test_gradients(rng: Any, kernel: None, t: int, s: int, d: int, e: int) -> None:
    q, k, v = normal(rng, 2, 3, t, d), normal(rng, 2, 3, s, d), normal(rng, 2, 3, s, e)
    same_gradients((q, k, v), causal=True)
    same_gradients((q, k[:, :1], v[:1]), normal(rng, t, s))
    same_gradients((q[0, 0], k[0, 0], v[0, 0]), normal(rng, s) > 0)


def test_gradients_of_views(rng: Any, kernel: None) -> None:
    """Queries, keys and values of one projection, read where they lie; a gradient of stride 0."""
    x = normal(rng, 2, 9, 3, 4, 6)

    def heads(attend: Any) -> Any:
        return lambda x: attend(*x.permute(2, 0, 3, 1, 4).unbind(0)).transpose(1, 2)

    composed = heads(lambda *x: _composed(*x, None, 0.0, True, 6**-0.5))
    fused = heads(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True))
    for a, b in zip(gradients(fused, [x]), gradients(composed, [x]), strict=True):
        close(a, b)
    x = x.requires_grad_()
    close(*(torch.autograd.grad(f(x).sum(), x)[0] for f in (fused, composed)))


def test_gradients_of_some(rng: Any, kernel: None) -> None:
    """Of what wants one only; again with the graph kept; and none of a key that nobody sees."""
    q, k, v = (normal(rng, 6, 4) for _ in range(3))
    k.requires_grad_()
    y = F.scaled_dot_product_attention(q, k, v, torch.arange(6) < 4)
    (once,) = torch.autograd.grad(y.sum(), k, retain_graph=True)
    y.sum().backward()
    close(once, k.grad)
    assert once[4:].tolist() == [[0] * 4] * 2 and once[:4].abs().min() > 0
    assert q.grad is None and v.grad is None
    q.requires_grad_()
    y = F.scaled_dot_product_attention(q, k, v)
    v[0] = 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gradients_in_half_precision(rng: Any, kernel: None) -> None:
    xs = [normal(rng, 2, 7, 4) for _ in range(3)]
    for dtype, tol in ((torch.float16, 5e-3), (torch.bfloat16, 5e-2)):
        same_gradients([x.to(dtype) for x in xs], None, True, tol)


def test_gradients_of_nan_and_infinite_scores(rng: Any, kernel: None) -> None:
    q, k, v = (normal(rng, 6, 2) for _ in range(3))
    q[1, 0] = math.nan
    _, dq, dk, dv = gradients(
        lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), (q, k, v)
    )
    assert dq[1].isnan().all() and not dq[[0, 2, 3, 4, 5]].isnan().any()
    assert dk[:2].isnan().all() and dv[:2].isnan().all()  # as of a softmax of nan, perhaps of all


def test_gradients_of_gradients(rng: Any, kernel: None) -> None:
    def found(f: Any) -> Any:
        xs = [x.clone().requires_grad_() for x in (q, k, v)]
        grads = torch.autograd.grad(f(*xs).sin().sum(), xs, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in grads), xs)

    q, k, v = normal(rng, 2, 6, 3), normal(rng, 2, 7, 3), normal(rng, 2, 7, 4)
    kernels = found(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True))
    composed = found(lambda *x: _composed(*x, None, 0.0, True, 3**-0.5))
    for a, b in zip(kernels, composed, strict=True):
        close(a, b, 1e-4)


def test_a_compiled_step(rng: Any, kernel: None) -> None:
    x, layer = normal(rng, 2, 12, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def step(x: Any) -> Any:
        layer.zero_grad()
        layer(x, x, x, need_weights=False)[0].square().sum().backward()
        return [p.grad.clone() for p in layer.parameters()]

    compiled, want = torch.compile(step), step(x)
    for _ in range(4):
        for a, b in zip(compiled(x), want, strict=True):
            close(a, b)


def test_views(rng: Any) -> None:
    x = normal(rng, 2, 9, 3, 4, 6)  # (B, T, 3, H, D)
    q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
    close(*both(q, k, v, causal=True))
    close(*both(q.mT, k.mT, v.mT))
    close(*both(q.flip(-1), k[..., ::2, :], v[..., ::2, :]))
    close(*both(q, k[:, :1], v[:1]))
    close(*both(q[:, :, 2:5], k, v, normal(rng, 9, 3).mT > 0))
    close(*both(q[:, :, 2:], k, v, normal(rng, 9, 7).mT > 0))


def test_grouped_heads(rng: Any) -> None:
    q, k, v = normal(rng, 2, 6, 5, 4), normal(rng, 2, 2, 7, 4), normal(rng, 2, 2, 7, 3)
    wide = [x.repeat_interleave(3, 1) for x in (k, v)]
    for mask in (None, normal(rng, 5, 7), normal(rng, 2, 6, 5, 7), normal(rng, 2, 1, 5, 7) > 0):
        want = _composed(q, *wide, mask, 0.0, False, 0.5)
        for wanted in (False, True):
            x = q.clone().requires_grad_(wanted)
            close(F.scaled_dot_product_attention(x, k, v, mask, enable_gqa=True), want)


@pytest.mark.parametrize("bools", [False, True])
def test_a_query_that_sees_nothing_gives_zeros_and_no_gradient(bools: bool) -> None:
    mask = torch.tensor([[0.0, -math.inf], [-math.inf, -math.inf]])
    mask = mask == 0 if bools else mask
    q, k, v = (torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True) for _ in range(3))
    with torch.no_grad():
        assert F.scaled_dot_product_attention(q, k, v, mask).tolist() == [[1, 2], [0, 0]]
        many = F.scaled_dot_product_attention(q.repeat(3, 1), k, v, mask.repeat(3, 1))
        assert many.tolist() == [[1, 2], [0, 0]] * 3
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert y.tolist() == [[1, 2], [0, 0]]
    y.sum().backward()
    assert q.grad.tolist() == k.grad.tolist() == [[0, 0], [0, 0]]
    assert v.grad.tolist() == [[1, 1], [0, 0]]


def test_nan_and_infinite_scores() -> None:
    k = torch.tensor([[1.0], [2.0]])
    for rows in (1, 3):  # executors may compose attention of few queries
        q = torch.tensor([[1.0], [math.nan], [math.inf]]).repeat(rows, 1)
        with torch.no_grad():
            y = F.scaled_dot_product_attention(q, k, k)
        y = y.reshape(rows, 3)
        assert ((y[:, 0] > 1) & (y[:, 0] < 2)).all() and y[:, 1:].isnan().all()


def test_other_dtypes(rng: Any, device: str) -> None:
    q, k, v = (normal(rng, 2, 6, 4) for _ in range(3))
    want = both(q, k, v, causal=True)[1]
    wide = () if device == "webgpu" else (torch.float64,)
    for dtype in (torch.float16, torch.bfloat16, *wide):
        got = both(*(x.to(dtype) for x in (q, k, v)), causal=True)[0]
        assert got.dtype == dtype
        close(got.float(), want, 1e-5 if dtype in wide else 5e-2)


def test_shapes_that_do_not_fit() -> None:
    x = torch.ones(2, 3, 4)
    for q, k, v, mask in (
        (x, x[..., :3], x, None), (x, x, x[:, :2], None), (x, x[:1].expand(3, 3, 4), x, None),
        (x, x, x, torch.ones(2, 3)),
    ):  # fmt: skip
        with torch.no_grad(), pytest.raises(RuntimeError, match=r"size|shape|dimension"):
            F.scaled_dot_product_attention(q, k, v, mask)


def test_second_derivatives(rng: Any, device: str) -> None:
    if device == "webgpu":
        return  # no float64 there
    q, k, v = (normal(rng, 2, 3, 2).double().requires_grad_() for _ in range(3))
    f = lambda *x: F.scaled_dot_product_attention(*x, is_causal=True)  # noqa: E731
    assert torch.autograd.gradgradcheck(f, (q, k, v))


def test_no_scores_are_stored(rng: Any) -> None:
    """Neither scores nor copies: the kernel reads queries, keys and values where they lie."""
    x, layer = normal(rng, 2, 40, 12), nn.Linear(12, 36)

    def run() -> Any:
        q, k, v = (y.unflatten(-1, (3, 4)).transpose(1, 2) for y in layer(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    x.tolist(), layer.weight.tolist(), layer.bias.tolist()
    with torch.no_grad():
        y, compiled = run(), torch.compile(run)
        done = counted(y.tolist)
        assert not x.storage.device.caps.attention or done["dispatches"] == 2
        for _ in range(4):
            close(compiled(), y)
    close(run(), y)


def test_memory_grows_with_the_length(rng: Any) -> None:
    q = normal(rng, 512, 8)
    q.tolist()
    torch.reset_peak_memory_stats()
    before = torch.max_memory_allocated()
    with torch.no_grad():
        F.scaled_dot_product_attention(q, q, q).tolist()
    scores = 4 * 512**2
    more = torch.max_memory_allocated() - before
    assert more < scores / 4 or not q.storage.device.caps.attention


def test_memory_of_training_grows_with_the_length(rng: Any, kernel: None) -> None:
    q = normal(rng, 512, 8).requires_grad_()
    q.tolist()
    torch.reset_peak_memory_stats()
    before = torch.max_memory_allocated()
    F.scaled_dot_product_attention(q, q, q).sum().backward()
    q.grad.tolist()
    scores = 4 * 512**2
    more = torch.max_memory_allocated() - before
    assert more < scores / 4 or not q.storage.device.caps.attention


def test_multihead_attention_with_and_without_weights(rng: Any) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x, padding = normal(rng, 3, 5, 8), torch.arange(5).expand(3, 5) > 3
    causal = {"attn_mask": torch.ones(5, 5).triu(1) > 0, "is_causal": True}
    for options in ({}, {"key_padding_mask": padding}, {"attn_mask": normal(rng, 6, 5, 5)}, causal):
        want = layer(x, x, x, **options)[0]
        got, weights = layer(x, x, x, need_weights=False, **options)
        assert weights is None
        close(got, want)
        with torch.no_grad():
            close(layer(x, x, x, need_weights=False, **options)[0], want)
            close(layer(x, x.clone(), x, need_weights=False, **options)[0], want)
