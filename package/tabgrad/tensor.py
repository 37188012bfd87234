"""class Tensor: a window on a storage, its gradient, and how it is read.

The ops live in ``functions/`` and become methods in ``methods.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from . import autograd, runtime
from .autograd.tape import mode
from .dtypes import DType, float32
from .graph import Node, Storage, capture, cast, leaf, view
from .shape import (
    Shape,
    contiguous_strides,
    extent,
    is_contiguous,
    numel,
    overlaps_itself,
)

if TYPE_CHECKING:
    from .attached import Attached as _Base  # the methods of methods.py
else:
    _Base = object


class Size(tuple[int, ...]):
    """A shape, printed as PyTorch prints it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def numel(self) -> int:
        """Number of elements."""
        return numel(tuple(self))

    def __getitem__(self, i: Any) -> Any:
        got = tuple.__getitem__(self, i)
        return Size(got) if isinstance(i, slice) else got

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, tuple(other)))


class Counter:
    """Counts the writes through ``x.data``, which the history of ``x`` does not see."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


class Tensor(_Base):
    """A multi-dimensional array on a device, as ``torch.Tensor``."""

    storage: Storage
    _shape: Shape
    _strides: Shape
    _offset: int
    dtype: DType
    # defaults live on the class, so that making a tensor sets only what differs
    _node: Node | None = None  # the value of this window while the storage holds _seen
    _seen: Node | None = None
    _counter: Counter | None = None  # counts writes if the storage's own does not
    _inference = False
    # of a view that a tracked write refuses: "no_grad", "Output 0 of Unbind", and "Output" for a
    # view of such a one
    _origin = ""
    _born = 0  # the storage's version when such a view was made
    _requires_grad = False
    _grad_fn: autograd.Entry | None = None
    _output_nr = 0
    _hooks: list[Any] | None = None
    _base: Tensor | None = None  # the tensor this is a view of
    _generation = 0  # of the storage, when _grad_fn was made
    _retains = False
    grad: Tensor | None = None
    is_sparse = False
    is_quantized = False
    is_meta = False
    is_cuda = False
    is_mps = False
    is_nested = False
    is_complex = lambda self: False  # noqa: E731
    layout = "torch.strided"

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:
            return object.__new__(cls)
        from . import creation

        return creation.legacy_tensor(cls, float32, *args, **kwargs)

    # --- making -------------------------------------------------------------------------------

    @classmethod
    def _wrap(cls, node: Node, device: Any) -> Tensor:
        """A new tensor that holds a value."""
        x = object.__new__(cls)
        x._shape = shape = node.shape
        x._strides = contiguous_strides(shape)
        x._offset = 0
        x.dtype = node.dtype
        x.storage = Storage(node, numel(shape), device)
        x._node = x._seen = node
        if mode.inference:
            x._inference = True
        return x

    def _window(self, shape: Shape, strides: Shape, offset: int) -> Tensor:
        """Another view of the same storage, not yet on the tape."""
        x = object.__new__(Tensor)
        x.storage = self.storage
        x._shape, x._strides, x._offset = shape, strides, offset
        x.dtype = self.dtype
        x._base = self if self._base is None or self._own_leaf() else self._base
        x._generation = self.storage.generation
        if self._origin:
            x._origin = "no_grad" if self._origin == "no_grad" else "Output"
            x._born = self.storage.version
        if not mode.grad:
            x._origin = "no_grad"
        x._inherit(self)
        return x

    def _alias(self) -> Tensor:
        """The same window, without history."""
        x = object.__new__(Tensor)
        x.storage = self.storage
        x._shape, x._strides, x._offset = self._shape, self._strides, self._offset
        x.dtype = self.dtype
        x._node, x._seen = self._node, self._seen
        x._inherit(self)
        return x

    def _own_leaf(self) -> bool:
        """A view that was made a leaf: its history begins here, not at its base."""
        return self._requires_grad and self._grad_fn is None

    def _inherit(self, source: Tensor) -> None:
        """What every window on a storage shares with the one it was made of."""
        if source._counter is not None:
            self._counter = source._counter
        if source._inference:
            self._inference = True

    @staticmethod
    def _like(other: Tensor) -> Tensor:
        """The same value in a storage of its own (copied when either is written)."""
        return Tensor._wrap(other.node(), other.storage.device)

    def node(self) -> Node:
        """The value of this window now."""
        node = self.storage.node
        if self._seen is node:
            return self._node  # type: ignore[return-value]
        self._seen = node
        if self._base is not None and not self._origin:
            self._look_up()
        whole = self._offset == 0 and self.storage.nelems == numel(self._shape)
        if not (whole and node.shape == self._shape and is_contiguous(self._shape, self._strides)):
            node = view(node, self._shape, self._strides, self._offset)
        self._node = node
        return node

    # --- writing --------------------------------------------------------------------------------

    def _check_writable(self, tracked: bool = False, repeats: bool = False) -> None:
        """Raises where PyTorch refuses an in-place op; ``tracked``: what is written has history;
        ``repeats``: elements that share memory may be written to."""
        if mode.grad and (tracked or self.requires_grad):
            self._check_history()
        if self._inference and not mode.inference:
            raise RuntimeError(_NOT_INFERENCE)
        if (
            0 in self._strides
            and not repeats
            and 0 not in self._shape
            and any(s == 0 and n > 1 for s, n in zip(self._strides, self._shape, strict=True))
        ):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to "
                "a single memory location. Please clone() the tensor before performing the "
                "operation."
            )

    def _check_history(self) -> None:
        base = self._base
        if base is None:
            if self._requires_grad and self._grad_fn is None:
                raise RuntimeError(
                    "a leaf Variable that requires grad is being used in an in-place operation."
                )
        elif self._origin:
            if self._origin == "no_grad":
                raise RuntimeError(_NO_GRAD_VIEW)
            if self._grad_fn is None:
                raise RuntimeError(_ONE_OF_MANY_PLAIN)
            raise RuntimeError(_ONE_OF_MANY.format(self._output_of()))
        elif self._own_leaf() or (self.requires_grad and base.is_leaf):
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )

    def _check_overlap(self, x: Any) -> None:
        """Raises if what is read shares part of the memory that is written, but not all of it."""
        if x._origin and mode.grad:
            _ = x.grad_fn  # raises for one of many views that was overwritten
        if x.storage is not self.storage or x is self:
            return
        same = (self._shape, self._strides, self._offset) == (x._shape, x._strides, x._offset)
        if not same and _dense(self) and _dense(x):
            (low, high), (first, last) = _extent(self), _extent(x)
            if first <= high and low <= last:
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to "
                    "tensor refer to a single memory location. Please clone() the tensor before "
                    "performing the operation."
                )

    def _before_write(self) -> Tensor:
        """This tensor's value and history now, safe from the write that follows."""
        x = Tensor._like(self)
        if mode.grad:
            row = self.grad_fn and self.grad_fn.row
            if row and self._base is not None and row.name == "as_strided":
                from .ops.functional import WINDOW

                if row is not WINDOW:
                    self._regenerate()  # it may see more of its base than what it was taken of
            x._grad_fn, x._requires_grad = self._grad_fn, self._requires_grad
            x._output_nr = self._output_nr
        return x

    def _write(self, value: Tensor, repeats: bool = False) -> Tensor:
        """Puts the result of an op of this shape into this window: every in-place op ends here."""
        tracked = value._requires_grad and mode.grad
        self._check_writable(tracked, repeats)
        if value._shape != self._shape:
            raise RuntimeError(
                f"output with shape {list(self._shape)} doesn't match the broadcast shape "
                f"{list(value._shape)}"
            )
        if tracked or (mode.grad and self.requires_grad):
            self._write_tracked(value)
        else:
            self._put(value.node())
        return self

    def _put(self, node: Node) -> None:
        """Changes the storage, outside of autograd."""
        storage = self.storage
        if node.dtype is not self.dtype:
            node = cast(node, self.dtype)
        if storage.nelems != numel(self._shape) or not is_contiguous(self._shape, self._strides):
            old = storage.node
            if numel(self._shape):
                arg = (self._strides, self._offset)
                node = Node("store", (old, node), old.shape, self.dtype, arg)
            else:
                node = old
        storage.set(node)
        self._node = self._seen = None  # nobody needs the old value any more
        if self._counter is not None:
            self._counter.version += 1
            storage.version -= 1  # whoever reads the storage by its own name is not told

    def _write_tracked(self, value: Tensor) -> None:
        if value.dtype is not self.dtype:
            value = value.to(self.dtype)
        base = self._base
        if base is None:
            if not value._requires_grad:
                value = self._forgotten(value)
            self._put(value.node())
            self._rebind(value)
            self._own_saved_output(value)
            return
        from .ops.functional import store

        old = base._before_write()
        flat = old if is_contiguous(base._shape, base._strides) else old.contiguous()
        geometry = self._geometry_in(base)
        new = store(flat, value, geometry)
        base._put(new.node())
        base._rebind(new)

    def _forgotten(self, value: Tensor) -> Tensor:
        """A value without history over one that has some: it stays on the tape, with gradient 0."""
        from .ops.functional import FILL

        out = Tensor._like(value)
        autograd.record(FILL, (self._before_write(),), out, {})
        return out

    def _rebind(self, value: Tensor) -> None:
        """Takes over the history of what was written; views look their own up again."""
        old = self._grad_fn
        if self._retains and old is not None:
            old.retain.pop(self._output_nr, None)  # type: ignore[union-attr]
        self._grad_fn, self._requires_grad = value._grad_fn, value._requires_grad
        self._output_nr = value._output_nr
        self.storage.generation += 1
        if self._retains:
            self._retains = False
            self.retain_grad()

    def _geometry_in(self, base: Tensor) -> tuple[Shape, Shape, int]:
        """This window over the linear numbering of its base."""
        if is_contiguous(base._shape, base._strides):
            return self._shape, self._strides, self._offset - base._offset
        from .indexing import relative_geometry

        return relative_geometry(self, base)

    def _own_saved_output(self, value: Tensor) -> None:
        """What the op saved of its result is now what this tensor holds: later writes count."""
        entry = value._grad_fn
        if entry is None or not entry.saved:
            return
        for key, saved in entry.saved.items():
            if isinstance(saved, tuple) and saved[2] and saved[0].storage is value.storage:
                entry.saved[key] = autograd.save(self, True)

    # --- autograd -------------------------------------------------------------------------------

    @property
    def grad_fn(self) -> autograd.Entry | None:
        """The tape entry that made this tensor; None for a leaf."""
        if self._base is not None:
            if self._origin and self._origin != "no_grad":
                self._check_born(self._base)
            if self._generation != self.storage.generation:
                self._regenerate()
        return self._grad_fn

    def _check_born(self, base: Tensor) -> None:
        """One of many views loses its history at a write to the storage."""
        if self._born != self.storage.version and (self._grad_fn or base._requires_grad):
            raise RuntimeError(_BASE_WRITTEN.format(self._output_of()))

    def _output_of(self) -> str:
        """``Output 0 of Split``, as PyTorch's messages call a view."""
        if self._origin != "Output" or self._grad_fn is None:
            return self._origin
        return f"Output {self._output_nr} of {self._grad_fn.op_name()}"

    def _look_up(self) -> None:
        if self._generation != self.storage.generation:
            self._regenerate()

    def _regenerate(self) -> None:
        """The base was written in place: this view's history is now a window on the new base."""
        from .ops.functional import WINDOW

        base: Any = self._base
        self._generation = self.storage.generation
        if not base._requires_grad:
            return
        geometry = self._geometry_in(base)
        autograd.record(WINDOW, (base,), self, {"geometry": geometry})

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for this tensor."""
        if self._base is not None and self._generation != self.storage.generation:
            return self._requires_grad or self._base.requires_grad
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Asks for gradients of this leaf, in place."""
        if requires_grad and not self.dtype.is_floating_point:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if not self.is_leaf:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self._inference and not mode.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                "allowed."
            )
        capture.writes += 1
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """True if no recorded op made it."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which output of ``grad_fn`` this is."""
        return self._output_nr

    @property
    def _version(self) -> int:
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return (self._counter or self.storage).version

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds the gradient of this tensor with respect to every leaf to the leaf's ``.grad``."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same storage, cut off from the tape."""
        return self._alias()

    def detach_(self) -> Tensor:
        """Cuts this tensor off from the tape."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using "
                "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                "these gradients. To fix this error, please refer to the Optimizer.zero_grad() "
                "function in torch/optim/optimizer.py as the solution."
            )
        capture.writes += 1
        self._grad_fn, self._requires_grad, self._output_nr = None, False, 0
        return self

    @property
    def data(self) -> Any:
        """The same storage without history; awaiting ``t.data()`` reads the bytes."""
        from .reading import Data

        return Data._of(self)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value.dtype is not self.dtype and not value.dtype.is_floating_point:
            raise RuntimeError(
                "attempting to assign a tensor of an incompatible type to the data of a tensor"
            )
        self._set_data(value)

    def _set_data(self, value: Tensor) -> None:
        capture.changes += 1
        self.storage = value.storage
        self._shape, self._strides, self._offset = value._shape, value._strides, value._offset
        self.dtype = value.dtype
        self._node = self._seen = None

    def retain_grad(self) -> None:
        """Keeps the gradient of this non-leaf in ``.grad`` too."""
        if not self._requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        entry = self.grad_fn
        if entry is None or self._retains:
            return
        if entry.retain is None:
            entry.retain = {}
        entry.retain[self._output_nr] = ref(self)
        self._retains = True

    @property
    def retains_grad(self) -> bool:
        """True if ``retain_grad`` was called on this non-leaf."""
        return self._retains

    def register_hook(self, hook: Any) -> autograd.Handle:
        """Calls ``hook(grad)`` with this tensor's gradient; what it returns replaces it."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        entry = self.grad_fn
        if entry is None:
            capture.changes += 1
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        else:
            if entry.prehooks is None:
                entry.prehooks = {}
            hooks = entry.prehooks.setdefault(self._output_nr, [])
        hooks.append(hook)
        return autograd.Handle(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> autograd.Handle:
        """Calls ``hook(tensor)`` after ``.grad`` of this leaf has been added to."""
        if not self.is_leaf:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        capture.changes += 1
        hooks = self.__dict__.setdefault("_post_hooks", [])
        hooks.append(hook)
        return autograd.Handle(hooks, hook)

    # --- facts ----------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return Size(self._shape)

    def size(self, dim: int | None = None) -> Any:
        """All sizes, or that of one dimension."""
        if dim is None:
            return Size(self._shape)
        from .shape import wrap_dim

        if not self._shape:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        return self._shape[wrap_dim(dim, len(self._shape))]

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements between neighbours along each dimension."""
        from .shape import wrap_dim

        return self._strides if dim is None else self._strides[wrap_dim(dim, len(self._shape))]

    def storage_offset(self) -> int:
        """Where in the storage this window begins, in elements."""
        return self._offset

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._shape)

    ndimension = dim

    def numel(self) -> int:
        """Number of elements."""
        return numel(self._shape)

    nelement = numel

    @property
    def device(self) -> Any:
        """Where the values live."""
        return self.storage.device.public

    def get_device(self) -> int:
        """-1 on the host, else the device's number."""
        return -1 if self.device.type in ("cpu", "wasm", "numpy") else 0

    @property
    def is_cpu(self) -> bool:
        """True on the host's executor."""
        return self.device.type in ("cpu", "wasm", "numpy")

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.dtype.itemsize * numel(self._shape)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """True if the elements lie in row-major order without gaps."""
        return is_contiguous(self._shape, self._strides)

    def is_floating_point(self) -> bool:
        """True for float16, bfloat16, float32 and float64."""
        return self.dtype.is_floating_point

    def is_signed(self) -> bool:
        """False for bool and uint8."""
        return self.dtype.is_signed

    def is_inference(self) -> bool:
        """True for a tensor made in inference mode."""
        return self._inference

    def is_set_to(self, other: Tensor) -> bool:
        """True if both are the same window on the same storage."""
        mine = (self._shape, self._strides, self._offset)
        theirs = (other._shape, other._strides, other._offset)
        return self.storage is other.storage and mine == theirs

    def data_ptr(self) -> int:
        """A number that is equal for tensors that begin at the same element of one storage."""
        return self.untyped_storage().data_ptr() + self._offset * self.dtype.itemsize

    def untyped_storage(self) -> UntypedStorage:
        """The memory behind this tensor."""
        return UntypedStorage(getattr(self.storage, "source", self.storage))

    def as_subclass(self, cls: Any) -> Any:
        """The same tensor as an object of a subclass."""
        out = self.view_as(self)
        out.__class__ = cls
        return out

    def _is_view(self) -> bool:
        return self._base is not None

    def type_name(self) -> str:
        """The legacy type, ``torch.FloatTensor``."""
        return f"torch.{_LEGACY[self.dtype.name]}"

    # --- reading --------------------------------------------------------------------------------

    def _bytes(self) -> Any:
        """The elements in row-major order as host bytes; waits for the device."""
        return runtime.read(self.node(), self.storage.device)

    def tolist(self) -> Any:
        """Nested Python lists, or a number for a 0-d tensor."""
        from .reading import nested, unpack_bytes

        flat = unpack_bytes(self._bytes(), self.dtype) if numel(self._shape) else []
        return nested(flat, self._shape)

    def item(self) -> Any:
        """The one element as a Python number."""
        from .reading import unpack_bytes

        if numel(self._shape) != 1:
            raise RuntimeError(
                f"a Tensor with {numel(self._shape)} elements cannot be converted to Scalar"
            )
        return unpack_bytes(self._bytes(), self.dtype)[0]

    def numpy(self, *, force: bool = False) -> Any:
        """A numpy array of the values (a copy, unless the executor is numpy itself)."""
        if self._requires_grad and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        from .reading import to_numpy

        return to_numpy(self._bytes(), self.dtype, self._shape)

    async def numpy_async(self) -> Any:
        """As ``numpy``, where the page cannot wait."""
        from .reading import to_numpy

        data = await runtime.read_async(self.node(), self.storage.device)
        return to_numpy(data, self.dtype, self._shape)

    async def item_async(self) -> Any:
        """As ``item``, where the page cannot wait."""
        from .reading import unpack_bytes

        data = await runtime.read_async(self.node(), self.storage.device)
        return unpack_bytes(data, self.dtype)[0]

    async def tolist_async(self) -> Any:
        """As ``tolist``, where the page cannot wait."""
        from .reading import nested, unpack_bytes

        data = await runtime.read_async(self.node(), self.storage.device)
        return nested(unpack_bytes(data, self.dtype), self._shape)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        out = self.numpy()
        return out if dtype is None else out.astype(dtype)

    def __bool__(self) -> bool:
        n = numel(self._shape)
        if n > 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point or numel(self._shape) != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        if not self._shape and type(self) is Tensor:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from .printing import tensor_repr

        return tensor_repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        out = type(self)._wrap(self.node(), self.storage.device)
        out._requires_grad = self._requires_grad
        memo[id(self)] = out
        if self.grad is not None:
            out.grad = self.grad.__deepcopy__(memo)
        return out

    def __reduce_ex__(self, protocol: Any) -> Any:
        data = bytes(self._bytes()) if numel(self._shape) else b""
        return _rebuild, (type(self), data, self._shape, self.dtype, self._requires_grad)


def _rebuild(cls: type, data: bytes, shape: Shape, dtype: DType, requires_grad: bool) -> Tensor:
    device = runtime.default_device()
    out: Tensor = cls._wrap(upload(data, shape, dtype, device), device)  # type: ignore[attr-defined]
    out._requires_grad = requires_grad
    return out


def upload(data: Any, shape: Shape, dtype: DType, device: Any) -> Node:
    """Host bytes in row-major order as a value on a device."""
    return leaf(device.upload(data, dtype, numel(shape)), shape, dtype)


class UntypedStorage:
    """What PyTorch calls the untyped storage: size and identity."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def nbytes(self) -> int:
        """Bytes of the whole storage."""
        return self._storage.nelems * self._storage.dtype.itemsize

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """A number that is equal for the same storage."""
        return id(self._storage) << 4

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._storage is other._storage

    def __hash__(self) -> int:
        return id(self._storage)


_NOT_INFERENCE = (
    "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone "
    "to get a normal tensor before doing inplace update.See "
    "https://github.com/pytorch/rfcs/pull/17 for more details."
)
_NO_GRAD_VIEW = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
    "Given "
    "that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code "
    "by "
    "moving both the view and the inplace either both inside the no_grad block (if you don't want "
    "the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
)
_BASE_WRITTEN = (
    "{} is a view and its base or another view of its base has been modified inplace. This view is "
    "the output of a function that returns multiple views. Such functions do not allow the output "
    "views to be modified inplace. You should replace the inplace operation by an out-of-place one."
)
_ONE_OF_MANY_PLAIN = (
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled. This "
    "view is the output of a function that returns multiple views. Such functions do not allow the "
    "output views to be modified inplace. You should replace the inplace operation by an "
    "out-of-place one."
)
_ONE_OF_MANY = (
    "{} is a view and is being modified inplace. This view is the output of a "
    "function that returns multiple views. Such functions do not allow the output views to be "
    "modified inplace. You should replace the inplace operation by an out-of-place one."
)


def _extent(x: Tensor) -> tuple[int, int]:
    return extent(x._shape, x._strides, x._offset)


def _dense(x: Tensor) -> bool:
    """True if the elements fill their stretch of memory without gaps or repeats, in any order."""
    low, high = _extent(x)
    return high - low + 1 == numel(x._shape) and not overlaps_itself(x._shape, x._strides)


_LEGACY = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor", "uint8": "ByteTensor", "int8": "CharTensor",
    "int16": "ShortTensor", "int32": "IntTensor", "int64": "LongTensor", "bool": "BoolTensor",
}  # fmt: skip
LEGACY_TYPES = {v: k for k, v in _LEGACY.items()}


def check_dims(dims: Sequence[int]) -> None:
    """Sizes must not be negative."""
    for n in dims:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(dims)}")
