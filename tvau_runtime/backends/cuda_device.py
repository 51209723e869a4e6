"""One CUDA device through cuda-python: memory, a stream with its copies, and captured graphs. Knows no TensorRT and no model."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import BackendError

__all__ = ["Buffer", "CudaDevice", "Stream"]


class CudaDevice:
    """The device with this number. Raises `BackendError` where cuda-python, the driver or the device is missing."""

    def __init__(self, index: int = 0) -> None:
        try:
            from cuda.bindings import runtime  # type: ignore[attr-defined]
        except ImportError as error:
            raise BackendError(f"a CUDA device needs cuda-python ({error}): pip install 'tvau[gpu]'") from error
        self.runtime: Any = runtime
        self.index = index
        try:
            (count,) = self.call("cudaGetDeviceCount")
        except (BackendError, RuntimeError) as error:  # RuntimeError: cuda-python does not find the driver
            raise BackendError(f"no CUDA device can be used here: {error}") from error
        if index >= count:
            raise BackendError(f"device cuda:{index} was asked for, but there are {count}, numbered from 0")
        self.use()
        attributes = runtime.cudaDeviceAttr
        (major,) = self.call("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, index)
        (minor,) = self.call("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, index)
        self.compute_capability = f"{major}.{minor}"
        (properties,) = self.call("cudaGetDeviceProperties", index)
        self.name: str = properties.name.rstrip(b"\0").decode(errors="replace")

    def call(self, function: str, *arguments: Any) -> tuple:
        """What a function of CUDA's runtime returns behind its status. Raises `BackendError` with CUDA's own words."""
        status, *values = getattr(self.runtime, function)(*arguments)
        if status != self.runtime.cudaError_t.cudaSuccess:
            _, text = self.runtime.cudaGetErrorString(status)
            raise BackendError(f"{function}: {text.decode(errors='replace')} ({status.name})")
        return tuple(values)

    def use(self) -> None:
        """Makes it the calling thread's device. CUDA keeps one per thread."""
        self.call("cudaSetDevice", self.index)


class Buffer:
    """Memory on the device that grows and never shrinks; freed with this object. Not for two threads at once."""

    def __init__(self, device: CudaDevice) -> None:
        self._device, self._free = device, None
        self.address, self.size = 0, 0
        self.reserve(1)

    def reserve(self, size: int) -> None:
        """At least `size` bytes, and one at least: an address is never null. Growing loses the content.

        It at least doubles, so that what grows by a little every time is seldom allocated.
        """
        if size <= self.size:
            return
        size = max(size, 2 * self.size)
        if self._free:
            self._free()
            self.address, self.size = 0, 0
        (self.address,) = self._device.call("cudaMalloc", size)
        self.size = size
        self._free = weakref.finalize(self, self._device.runtime.cudaFree, self.address)


class Stream:
    """What is queued here runs in order, beside other streams. Its calls are for one thread at a time."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        flags = device.runtime.cudaStreamNonBlocking
        (self._stream,) = device.call("cudaStreamCreateWithFlags", flags)
        self.handle = int(self._stream)
        weakref.finalize(self, device.runtime.cudaStreamDestroy, self._stream)

    def upload(self, buffer: Buffer, array: np.ndarray) -> None:
        """array: contiguous; the buffer grows to it."""
        buffer.reserve(array.nbytes)
        if array.nbytes:
            kind = self._device.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._device.call("cudaMemcpyAsync", buffer.address, array.ctypes.data, array.nbytes, kind, self._stream)

    def download(self, array: np.ndarray, buffer: Buffer) -> None:
        """Fills a contiguous array, once the stream has been waited for."""
        if array.nbytes:
            kind = self._device.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._device.call("cudaMemcpyAsync", array.ctypes.data, buffer.address, array.nbytes, kind, self._stream)

    def copy_rows(self, target: Buffer, source: Buffer, rows: int, width: int, pitch: int) -> None:
        """The first `width` bytes of each of `rows` rows that lie `pitch` bytes apart, packed into the target."""
        target.reserve(rows * width)
        if rows * width:
            kind = self._device.runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            self._device.call(
                "cudaMemcpy2DAsync", target.address, width, source.address, pitch, width, rows, kind, self._stream
            )

    def wait(self) -> None:
        """Until all that was queued is done. Raises `BackendError` for what failed on the device."""
        self._device.call("cudaStreamSynchronize", self._stream)

    def capture(self, queue: Callable[[], bool]) -> Callable[[], object] | None:
        """What `queue` puts on this stream, as one call that puts all of it there again; None where it can't be captured.

        Nothing runs meanwhile. Addresses and shapes are those of the capture, always.
        """
        runtime, call = self._device.runtime, self._device.call
        # Thread-local: another thread may allocate memory meanwhile.
        call("cudaStreamBeginCapture", self._stream, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        queued = queue()
        status, graph = runtime.cudaStreamEndCapture(self._stream)
        if not queued or status != runtime.cudaError_t.cudaSuccess:
            runtime.cudaGetLastError()  # the failure is dealt with; the next call must not report it
            return None
        (ready,) = call("cudaGraphInstantiate", graph, 0)
        call("cudaGraphDestroy", graph)
        weakref.finalize(self, runtime.cudaGraphExecDestroy, ready)
        return lambda: call("cudaGraphLaunch", ready, self._stream)
