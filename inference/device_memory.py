"""Buffers on the device that runs the decoder: in main memory, or on a CUDA device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clinical import Permanent
from inference.elements import Element

Shape = tuple[int, int, int, int]
# cudaMemcpyKind
_HOST_TO_DEVICE, _DEVICE_TO_HOST, _DEVICE_TO_DEVICE = 1, 2, 3


class DeviceMemory(Protocol):
    """Buffers (rows, kv heads, capacity, head size), one per graph input that holds keys or values."""

    rows: int
    capacity: int

    def address(self, buffer: int, row: int) -> int:
        """Where a row of a buffer begins."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row to another, in every buffer."""

    def exchange(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two rows, in every buffer."""


class DeviceBuffer(Protocol):
    """Bytes at one address for as long as it lives, filled and read from this process between steps."""

    @property
    def address(self) -> int:
        """Where it begins."""

    def write(self, values: NDArray[Any]) -> None:
        """Fill it with as many bytes as it has."""

    def read(self, into: NDArray[Any]) -> None:
        """Copy it into a contiguous array of its size."""


class HostBuffer:
    """Bytes in main memory."""

    def __init__(self, size_bytes: int) -> None:
        self._bytes = np.zeros(size_bytes, dtype=np.uint8)

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self._bytes.ctypes.data)

    def write(self, values: NDArray[Any]) -> None:
        """Fill it."""
        self._bytes[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    def read(self, into: NDArray[Any]) -> None:
        """Copy it into a contiguous array of its size."""
        into.reshape(-1).view(np.uint8)[:] = self._bytes


class CudaBuffer:
    """Bytes on a CUDA device."""

    def __init__(self, size_bytes: int, device_id: int = 0) -> None:
        import onnxruntime as ort

        self._size = size_bytes
        self._runtime = _cuda_runtime()
        zeros = np.zeros(size_bytes, dtype=np.uint8)
        self._value = ort.OrtValue.ortvalue_from_numpy(zeros, "cuda", device_id)

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self._value.data_ptr())

    def write(self, values: NDArray[Any]) -> None:
        """Fill it; done when this returns."""
        whole = np.ascontiguousarray(values)
        self._copy(self.address, whole.ctypes.data, _HOST_TO_DEVICE)
        # From pageable memory the call may return before the last bytes have arrived.
        _checked(self._runtime.cudaDeviceSynchronize())

    def read(self, into: NDArray[Any]) -> None:
        """Copy it into a contiguous array of its size."""
        self._copy(into.ctypes.data, self.address, _DEVICE_TO_HOST)

    def _copy(self, target: int, source: int, kind: int) -> None:
        _checked(self._runtime.cudaMemcpy2D(target, self._size, source, self._size, self._size, 1, kind))


class HostMemory:
    """Buffers in main memory; pages that were never written cost nothing."""

    def __init__(self, buffers: int, shape: Shape, element: Element) -> None:
        self.rows, _, self.capacity, _ = shape
        self._buffers = [np.zeros(shape, dtype=element.storage) for _ in range(buffers)]

    def address(self, buffer: int, row: int) -> int:
        """Where a row of a buffer begins."""
        array = self._buffers[buffer]
        return int(array.ctypes.data) + row * array.strides[0]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row to another."""
        for array in self._buffers:
            array[target, :, :length] = array[source, :, :length]

    def exchange(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two rows."""
        for array in self._buffers:
            kept: NDArray[Any] = array[one, :, :length].copy()
            array[one, :, :length] = array[other, :, :length]
            array[other, :, :length] = kept


class CudaMemory:
    """Buffers on a CUDA device, moved by the CUDA runtime that ONNX Runtime has loaded.

    Between steps only: ONNX Runtime waits for the device at the end of a run whose outputs go to the host.
    """

    def __init__(self, buffers: int, shape: Shape, element: Element, device_id: int = 0) -> None:
        import onnxruntime as ort

        self.rows, self._heads, self.capacity, head_size = shape
        self._position = head_size * element.storage.itemsize
        self._row = self._heads * self.capacity * self._position
        self._runtime = _cuda_runtime()
        zeros = np.zeros(shape, dtype=element.storage)
        make = ort.OrtValue.ortvalue_from_numpy
        self._buffers: Sequence[Any] = [make(zeros, "cuda", device_id) for _ in range(buffers)]
        self._spare = make(zeros[:1], "cuda", device_id)

    def address(self, buffer: int, row: int) -> int:
        """Where a row of a buffer begins."""
        return int(self._buffers[buffer].data_ptr()) + row * self._row

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row to another."""
        for buffer in range(len(self._buffers)):
            self._copy(self.address(buffer, source), self.address(buffer, target), length)
        self._finish()

    def exchange(self, one: int, other: int, length: int) -> None:
        """Exchange the first `length` positions of two rows."""
        spare = int(self._spare.data_ptr())
        for buffer in range(len(self._buffers)):
            first, second = self.address(buffer, one), self.address(buffer, other)
            self._copy(first, spare, length)
            self._copy(second, first, length)
            self._copy(spare, second, length)
        self._finish()

    def _finish(self) -> None:
        # Copies within the device are asynchronous, and ONNX Runtime's stream does not wait for theirs.
        _checked(self._runtime.cudaDeviceSynchronize())

    def _copy(self, source: int, target: int, length: int) -> None:
        pitch = self.capacity * self._position
        arguments = (target, pitch, source, pitch, length * self._position, self._heads, _DEVICE_TO_DEVICE)
        _checked(self._runtime.cudaMemcpy2D(*arguments))


def free_and_total_bytes() -> tuple[int, int]:
    """Memory of the present CUDA device: free, and all.

    Raises
    ------
    Permanent
        ``no-cuda-runtime`` or ``cuda-copy-failed``.
    """
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _checked(_cuda_runtime().cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)))
    return free.value, total.value


def _checked(status: int) -> None:
    if status != 0:
        raise Permanent("cuda-copy-failed", f"the CUDA runtime could not copy the cache (error {status})")


def _cuda_runtime() -> ctypes.CDLL:
    for name in ("libcudart.so.13", "libcudart.so.12", "libcudart.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        size = ctypes.c_size_t
        pointer = ctypes.c_void_p
        library.cudaMemcpy2D.argtypes = [pointer, size, pointer, size, size, size, ctypes.c_int]
        return library
    raise Permanent(
        "no-cuda-runtime", "the CUDA runtime library is missing; install raddraft with the extra 'gpu'"
    )
