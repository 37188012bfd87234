"""The tape: what backward gives, when it refuses, and everything that listens to it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import tabgrad as torch
from compare import assert_same, assert_values


def leaf(*values: float) -> Any:
    return torch.tensor([float(v) for v in values], requires_grad=True)


SECOND = (
    r"Trying to backward through the graph a second time \(or directly access saved tensors after "
    r"they have already been freed\). Saved intermediate values of the graph are "
    r"freed when you call "
    r".backward\(\) or autograd.grad\(\). Specify retain_graph=True if you need to "
    r"backward through "
    r"the graph a second time or if you need to access saved tensors after calling backward."
)


def test_gradients_accumulate() -> None:
    x = leaf(1, 2)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert x.grad is first
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1] and not x.grad.requires_grad


def test_backward_with_gradient() -> None:
    x = leaf(1, 2, 3)
    y = x * 2
    with pytest.raises(
        RuntimeError, match="grad can be implicitly created only for scalar outputs"
    ):
        y.backward()
    y.backward(torch.tensor([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [2, 20, 200]
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of "
                       r"torch.Size\(\[2\]\) and output\[0\] has a shape of "
                       r"torch.Size\(\[3\]\)."):  # fmt: skip
        (x * 2).backward(torch.ones(2))


def test_second_backward_raises() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=SECOND):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    with pytest.raises(RuntimeError, match=SECOND):
        torch.autograd.grad(z, x)
    assert x.grad.tolist() == [6, 12]


def test_nothing_to_differentiate() -> None:
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require "
                                           "grad and does not "
                       "have a grad_fn"):  # fmt: skip
        torch.ones(()).backward()
    x, y = leaf(1), leaf(2)
    with pytest.raises(RuntimeError, match=r"The differentiated Tensor at index 1 "
                                           r"appears to not have "
                       "been used in the graph. Set allow_unused=True"):  # fmt: skip
        torch.autograd.grad((x * 2).sum(), [x, y])
    a, b = torch.autograd.grad((x * 2).sum(), [x, y], allow_unused=True)
    assert a.tolist() == [2] and b is None
    a, b = torch.autograd.grad((x * 2).sum(), [x, y], materialize_grads=True)
    assert b.tolist() == [0]
    with pytest.raises(
        RuntimeError, match="One of the differentiated Tensors does not require grad"
    ):
        torch.autograd.grad((x * 2).sum(), torch.ones(1))


def test_grad_leaves_dot_grad_alone() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    y = x * w
    gx, gy = torch.autograd.grad(y, [x, y], torch.tensor([1.0, 10.0]))
    assert gx.tolist() == [3, 40] and gy.tolist() == [1, 10]
    assert x.grad is None and w.grad is None


def test_backward_of_some_inputs() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    (x * w).sum().backward(inputs=[x])
    assert x.grad.tolist() == [3, 4] and w.grad is None


def test_several_roots() -> None:
    x = leaf(1, 2)
    a, b = (x * 2).sum(), (x * x).sum()
    torch.autograd.backward([a, b])
    assert x.grad.tolist() == [4, 6]
    g = torch.autograd.grad([(x * 2).sum(), (x * 3).sum()], x)[0]
    assert g.tolist() == [5, 5]


def test_diamond_and_reuse() -> None:
    x = leaf(2)
    y = x * x
    z = y * y + y * x + x
    z.sum().backward()
    assert x.grad.tolist() == [4 * 8 + 3 * 4 + 1]


def test_broadcast_gradients_are_summed() -> None:
    a = torch.ones(3, 1, requires_grad=True)
    b = torch.ones(4, requires_grad=True)
    c = torch.tensor(2.0, requires_grad=True)
    (a * b * c).sum().backward()
    assert_values(a.grad, [[8.0]] * 3)
    assert b.grad.tolist() == [6.0] * 4
    assert c.grad.item() == 12 and c.grad.shape == ()


def test_mixed_dtypes() -> None:
    a = torch.ones(2, dtype=torch.float16, requires_grad=True)
    b = torch.ones(2, requires_grad=True)
    y = a * b
    assert y.dtype is torch.float32
    y.sum().backward()
    assert a.grad.dtype is torch.float16 and b.grad.dtype is torch.float32
    x = leaf(1, 2)
    x.to(torch.bfloat16).sum().backward()
    assert x.grad.dtype is torch.float32


def test_no_grad_as_context_and_decorator() -> None:
    x = leaf(1)
    with torch.no_grad():
        assert not torch.is_grad_enabled()
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert torch.is_grad_enabled()

    @torch.no_grad()
    def f(y: Any, *, k: int) -> Any:
        "doc"
        return y * k

    @torch.no_grad
    def g(y: Any) -> Any:
        return y * 2

    @torch.enable_grad()
    def h(y: Any) -> Any:
        return y * 2

    assert not f(x, k=2).requires_grad and not g(x).requires_grad
    assert (f.__name__, f.__doc__) == ("f", "doc")
    with torch.no_grad():
        assert h(x).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        raise ZeroDivisionError
    assert torch.is_grad_enabled()


def test_set_grad_enabled() -> None:
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    with torch.set_grad_enabled(True):
        assert torch.is_grad_enabled()


def test_inference_mode() -> None:
    x = leaf(1, 2)

    @torch.inference_mode()
    def f(y: Any) -> Any:
        return y * 2

    with torch.inference_mode():
        y = x * 2
        assert torch.is_inference_mode_enabled() and y.is_inference()
    assert not y.requires_grad and not f(x).requires_grad
    assert not torch.is_inference_mode_enabled()
    with torch.inference_mode(False):
        assert (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        (x * y).sum().backward()


def test_detach_cuts() -> None:
    x = leaf(1, 2)
    y = x * 2
    z = y.detach()
    assert not z.requires_grad and z.is_leaf and z.grad_fn is None
    (z * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_leaf_and_grad_fn() -> None:
    x = leaf(1, 2)
    y = x * 2 + 1
    assert x.is_leaf and x.grad_fn is None
    assert not y.is_leaf and y.grad_fn.name() == "AddBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "MulBackward0"
    assert not torch.ones(2).requires_grad and torch.ones(2).is_leaf
    assert (torch.ones(2) * 2).is_leaf


def test_integers_have_no_gradient() -> None:
    x = leaf(1.5, 2.5)
    assert not x.long().requires_grad
    assert not (x > 2).requires_grad
    assert not x.argmax().requires_grad
    values, where = x.sort()
    assert values.requires_grad and not where.requires_grad


def test_retain_grad() -> None:
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    assert y.retains_grad
    z = (y * y).sum()
    z.backward()
    assert y.grad.tolist() == [6, 12] and x.grad.tolist() == [18, 36]
    with pytest.raises(
        RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"
    ):
        torch.ones(2).retain_grad()
    w = x * 1
    w.retain_grad()
    w.mul_(2)
    w.sum().backward()
    assert w.grad.tolist() == [1, 1]


def test_tensor_hooks() -> None:
    x = leaf(1, 2)
    seen: list[Any] = []
    y = x * 2
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: g * 10)
    y.sum().backward(retain_graph=True)
    assert seen == [[1, 1]] and x.grad.tolist() == [20, 20]
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1 and x.grad.tolist() == [40, 40]
    with pytest.raises(
        RuntimeError, match="cannot register a hook on a tensor that doesn't require"
    ):
        torch.ones(1).register_hook(print)


def test_hooks_run_in_order_on_the_summed_gradient() -> None:
    x = leaf(1)
    y = x * 1
    seen: list[float] = []
    y.register_hook(lambda g: seen.append(g.item()) or g * 2)
    y.register_hook(lambda g: seen.append(g.item()) or g + 1)
    (y * 3 + y * 4).sum().backward()
    assert seen == [7, 14] and x.grad.tolist() == [15]


def test_post_accumulate_hook() -> None:
    x = leaf(1, 2)
    seen: list[Any] = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.tolist())))
    (x * 2).sum().backward()
    assert seen == [(True, [2, 2])]


def test_node_hook() -> None:
    x = leaf(1, 2)
    y = (x * 5).sum()
    seen: list[Any] = []
    y.grad_fn.register_hook(lambda gin, gout: seen.append((len(gin), gout[0].item())))
    y.backward()
    assert seen == [(1, 1.0)]


def test_double_backward() -> None:
    x = leaf(2, 3)
    y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    assert g.requires_grad and g.tolist() == [12, 27]
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    assert h.tolist() == [12, 18]
    (t,) = torch.autograd.grad(h.sum(), x)
    assert t.tolist() == [6, 6]


def test_backward_create_graph() -> None:
    x = leaf(2)
    (x * x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    x.grad.sum().backward()
    assert x.grad.tolist() == [12 + 12]


def test_gradient_penalty_through_matmul() -> None:
    w = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x = torch.tensor([[1.0, -1.0]], requires_grad=True)
    out = (x @ w).tanh().sum()
    (g,) = torch.autograd.grad(out, x, create_graph=True)
    (g * g).sum().backward()
    assert w.grad.abs().sum().item() > 0
    assert w.grad.shape == (2, 2)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.save_for_backward(x)
        ctx.factor = factor
        assert not torch.is_grad_enabled()
        return x * x * x * factor

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * 3 * x * x * ctx.factor, None


def test_function() -> None:
    x = leaf(1, 2)
    y = Cube.apply(x, 2.0)
    assert y.tolist() == [2, 16] and y.grad_fn.name() == "CubeBackward"
    y.sum().backward()
    assert x.grad.tolist() == [6, 24]
    assert not Cube.apply(torch.ones(2), 1.0).requires_grad
    with torch.no_grad():
        assert not Cube.apply(x, 1.0).requires_grad


def test_function_twice_differentiable() -> None:
    x = leaf(2)
    (g,) = torch.autograd.grad(Cube.apply(x, 1.0).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert h.tolist() == [12]


class TwoResults(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.save_for_backward(x, y)
        n = (x > 0).sum()
        ctx.mark_non_differentiable(n)
        return x * y, x + y, n

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any, _: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * y + h, g * x + h


def test_function_of_several() -> None:
    x, y = leaf(1, 2), leaf(3, 4)
    p, s, n = TwoResults.apply(x, y)
    assert n.item() == 2 and not n.requires_grad
    (p + 10 * s).sum().backward()
    assert x.grad.tolist() == [13, 14] and y.grad.tolist() == [11, 12]
    x.grad = None
    TwoResults.apply(x, y)[1].sum().backward()
    assert x.grad.tolist() == [1, 1]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2


def test_function_in_place() -> None:
    x = leaf(1, 2)
    y = x * 1
    z = Doubled.apply(y)
    assert z is y and y.tolist() == [2, 4]
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g, g


def test_function_with_wrong_number_of_gradients() -> None:
    with pytest.raises(RuntimeError, match=r"WrongBackward returned an incorrect "
                                           r"number of gradients "
                       r"\(expected 1, got 2\)"):  # fmt: skip
        Wrong.apply(leaf(1)).sum().backward()


def test_a_check_is_not_hidden_by_its_module_whichever_comes_first(monkeypatch: Any) -> None:
    package = torch.autograd
    monkeypatch.delitem(sys.modules, "tabgrad.autograd.gradcheck", raising=False)
    for name in ("gradcheck", "gradgradcheck", "GradcheckError"):
        monkeypatch.delitem(vars(package), name, raising=False)
    assert callable(package.gradgradcheck) and callable(package.gradcheck)


def test_gradcheck() -> None:
    def make(*shape: int) -> Any:
        x = torch.arange(float(torch.Size(shape).numel()), device="cpu", dtype=torch.float64)
        return (x / 7 - 0.4).reshape(shape).requires_grad_()

    a, b = make(2, 3), make(3, 2)
    assert torch.autograd.gradcheck(lambda x, y: (x @ y).tanh(), (a, b))
    assert torch.autograd.gradcheck(torch.sin, (a,))
    assert torch.autograd.gradgradcheck(lambda x: x.exp() * x, (a,))
    assert not torch.autograd.gradcheck(lambda x: Lie.apply(x), (a,), raise_exception=False)
    with pytest.raises(
        RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"
    ):
        torch.autograd.gradcheck(lambda x: Lie.apply(x), (a,))


class Lie(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 3


def test_functional_jacobian_and_hessian() -> None:
    x = torch.tensor([1.0, 2.0])
    jacobian = torch.autograd.functional.jacobian(lambda v: v * v.sum(), x)
    assert_values(jacobian, [[4.0, 1.0], [2.0, 5.0]])
    hessian = torch.autograd.functional.hessian(lambda v: (v**3).sum(), x)
    assert_values(hessian, [[6.0, 0.0], [0.0, 12.0]])


def test_gradients_do_not_alias() -> None:
    a, b = leaf(1, 2), leaf(3, 4)
    (a + b).sum().backward()
    a.grad.zero_()
    assert b.grad.tolist() == [1, 1]


def test_grad_of_a_view_of_a_leaf() -> None:
    x = torch.arange(6.0, requires_grad=True)
    x.view(2, 3)[1].sum().backward()
    assert x.grad.tolist() == [0, 0, 0, 1, 1, 1]


def test_zero_sized() -> None:
    x = torch.zeros(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad.shape == (0, 3)


def test_training_by_hand() -> None:
    torch.manual_seed(1)
    x = torch.randn(32, 3)
    target = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.25
    w = torch.zeros(3, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(100):
        loss = ((x @ w + b - target) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            for p in (w, b):
                p -= 0.1 * p.grad
                p.grad = None
    assert loss.item() < 1e-4
    assert_same(b.detach(), torch.tensor([0.25]), 2e-2)


def test_a_leaf_used_twice_gets_one_sum() -> None:
    """Contributions are added up before hooks see them and before they join what .grad holds."""
    w = torch.tensor([0.1], requires_grad=True)
    w.grad = torch.tensor([1e8])
    seen: list[float] = []
    w.register_hook(lambda g: seen.append(g.item()))
    (w * 3 + w * 4 + w * 5).sum().backward()
    assert seen == [12.0]
    assert w.grad.item() == 1e8 + 16  # 1e8 + 3 would be 1e8
