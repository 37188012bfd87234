"""Values of the device ``"auto"``: on the host until a run needs them, then where they are needed.

A value may lie in several places. What was copied from one side to the other stays on both while
there is room, so that weights which both sides read are not carried back and forth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from sys import getrefcount
from typing import Any

from .. import bridge, runtime
from ..dtypes import DType, float64, int64
from ..errors import DeviceLostError
from ..plan import IN_A_LIST
from ..runtime import Buffer, Device

WASM, WEBGPU, HOST = 0, 1, 2
_SPARE = 64 << 20  # bytes of values that are kept in two places, in all
_CUTS = 4  # windows cut out of a value on the other side before it is brought here


class Place:
    """Where a value lies: ``at`` holds its buffer on each side, or its bytes on the host."""

    __slots__ = ("at", "cuts", "dtype", "maker", "nelems", "spare")

    def __init__(self, dtype: DType, nelems: int) -> None:
        self.dtype, self.nelems = dtype, nelems
        self.at: list[Any] = [None, None, None]
        self.spare = 0  # bytes of a second copy
        self.cuts = 0  # windows cut out of it on the other side
        self.maker: Any = None  # counts in ``reads`` whether what it computed is read

    @property
    def nbytes(self) -> int:
        """On the host."""
        return self.dtype.itemsize * self.nelems

    @property
    def far(self) -> bool:
        """Only on the GPU."""
        return self.at[WASM] is None and self.at[HOST] is None


class Places(Device):
    """Two devices as one, as far as values go. ``most``: bytes of the GPU's largest buffer."""

    def __init__(self, wasm: Device, webgpu: Device, most: float = inf) -> None:
        self.sides = (wasm, webgpu)
        self.most = most
        self._kind = webgpu.kind
        super().__init__("auto")
        self.at = WASM  # where the last run was
        self.room = _SPARE
        self.overflowed = False  # int64 on the GPU left its 32 bits: it is not used for it again
        self.can_wait: Callable[[], bool] = bridge.can_wait if runtime.IN_PAGE else lambda: True

    def gone(self) -> bool:
        """Whether the GPU was lost and the WASM kernels stand in for it."""
        return self.sides[WEBGPU].kind != self._kind

    def stuck(self) -> bool:
        """Whether values cannot be had from the GPU now."""
        return not self.can_wait()

    # --- in -------------------------------------------------------------------------------------

    def send(self, data: Any, dtype: DType, nelems: int) -> Place:
        place = Place(dtype, nelems)
        place.at[HOST] = data if isinstance(data, bytes) else memoryview(data).tobytes()
        return place

    def adopt(self, buffer: Buffer, dtype: DType, nelems: int) -> Buffer:
        place = Place(dtype, nelems)
        place.at[self.sides.index(buffer.device)] = buffer
        return Buffer(self, place, place.nbytes)

    def release(self, handle: Place) -> None:
        self.room += handle.spare

    def bring(self, place: Place, side: int) -> None:
        """Makes a value be on a side."""
        data = place.at[HOST]
        if data is None:
            found = place.at[1 - side]
            with self._noting_overflow():
                data = found.device.fetch(found, place.dtype, 0, place.nelems)
        self.put(place, side, data)

    def put(self, place: Place, side: int, data: Any) -> None:
        """Another copy of a value, on a side that has none; the first stays while there is room."""
        device = self.sides[side]
        handle = device.send(data, place.dtype, place.nelems)
        place.at[side] = Buffer(device, handle, device.bytes_of(place.dtype, place.nelems))
        if side == WASM:
            place.at[HOST] = None
        if place.spare or place.far or place.at[WEBGPU] is None:
            return
        if place.nbytes <= self.room:
            place.spare = place.nbytes
            self.room -= place.nbytes
        else:
            place.at = [b if k == side else None for k, b in enumerate(place.at)]

    def own(self, place: Place, side: int) -> None:
        """Makes a value that is about to be written over share no buffer with another: a leaf of a
        run may be its result as well."""
        if [*map(getrefcount, place.at)][side] > IN_A_LIST:
            device, shared = self.sides[side], place.at[side]
            place.at[side] = device.window(shared, place.dtype, 0, place.nelems)

    # --- out ------------------------------------------------------------------------------------

    @contextmanager
    def _noting_overflow(self) -> Iterator[None]:
        try:
            yield
        except OverflowError:
            self.overflowed = True
            raise

    def _found(self, place: Place, start: int, count: int) -> Any:
        """What is read of a value: host bytes, or the buffer they are in."""
        if place.at[HOST] is not None:
            size = place.dtype.itemsize
            return memoryview(place.at[HOST])[size * start : size * (start + count)]
        if place.maker is not None:
            place.maker.reads += 1
            place.maker = None
        return place.at[WASM] or place.at[WEBGPU]

    def fetch(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        found = self._found(buffer.handle, start, count)
        if isinstance(found, memoryview):
            return found
        with self._noting_overflow():
            return found.device.fetch(found, dtype, start, count)

    async def fetch_async(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Any:
        found = self._found(buffer.handle, start, count)
        if isinstance(found, memoryview):
            return found
        with self._noting_overflow():
            return await found.device.fetch_async(found, dtype, start, count)

    def window(self, buffer: Buffer, dtype: DType, start: int, count: int) -> Buffer | None:
        place, side = buffer.handle, self.at
        if place.at[side] is None and self._often_cut(place, side):
            self.bring(place, side)
        if place.at[side] is None:
            side = 1 - side if place.at[HOST] is None else HOST
        part = Place(dtype, count)
        if side == HOST:
            size = dtype.itemsize
            part.at[HOST] = place.at[HOST][size * start : size * (start + count)]
        else:
            try:
                part.at[side] = self.sides[side].window(place.at[side], dtype, start, count)
            except DeviceLostError:
                if place.far:
                    raise
                place.at[WEBGPU] = None  # there is another copy
                return self.window(buffer, dtype, start, count)
            if part.at[side] is None:
                return None
        return Buffer(self, part, part.nbytes)

    def _often_cut(self, place: Place, side: int) -> bool:
        """Whether the whole is worth bringing to where parts of it are needed."""
        place.cuts += 1
        if side == WEBGPU and (
            place.dtype in (float64, int64) or 4 * place.nelems > self.most or self.gone()
        ):
            return False
        return place.cuts > _CUTS and not (place.far and self.stuck())
