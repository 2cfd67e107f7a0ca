"""How a module runs on a target, and by which clock: one class a backend."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from proxies.kept_memory import kept_memory
from proxies.latency.int8 import int8_graph
from proxies.target import DEVICES, INT8_BACKEND, Target, TargetError
from space.errors import UserError, one_line

Run = Callable[[Any], Any]
"""A prepared module: a value of its backend to the next one."""

Example = Tensor | list[Tensor]
"""What a module takes: a map, or a list of maps."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class BackendError(UserError):
    """A network, or a part of one, that a backend cannot run."""


def backend_of(target: Target) -> Backend:
    """The backend of a target; TargetError where this machine does not have it."""
    if target.is_imported:
        raise TargetError(f"{target}: got an imported device, which this machine cannot measure on, expected {' or '.join(DEVICES)}")
    kinds: dict[str, Callable[[Target], Backend]]
    kinds = {"eager": Eager, "compile": Compiled, "ort": OnnxRuntime, INT8_BACKEND: OnnxRuntimeInt8}
    return kinds[target.backend](target)


class Backend(ABC):
    """Prepares modules for one target. What is prepared runs inside `running`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        if target.device == "cuda" and not torch.cuda.is_available():
            raise TargetError(f"{target}: got no CUDA device on this machine, expected cpu")

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What `prepared` and its runs raise for modules that this backend cannot run; anything else is a bug."""
        return (torch.OutOfMemoryError,)

    @abstractmethod
    def prepared(self, module: nn.Module, example: Example) -> Run:
        """A module ready to run on values shaped as the example. The module may be changed."""

    def tried(self, module: nn.Module, example: Example, name: str) -> Run:
        """A prepared module that has run once; BackendError with its name where the backend cannot run it."""
        try:
            run = self.prepared(module, example)
            run(self.value(example))
        except self.failures as error:
            raise BackendError(f"{self.target}: cannot run {name}: {one_line(error)}") from None
        return run

    def value(self, example: Example) -> Any:
        """A tensor, or every tensor of a list, in the backend's own type, at its place and precision."""
        return [self.converted(tensor) for tensor in example] if isinstance(example, list) else self.converted(example)

    @abstractmethod
    def converted(self, tensor: Tensor) -> Any:
        """A tensor in the backend's own type, at its place and precision."""

    @property
    def clock(self) -> Clock:
        """The clock for runs on the target.

        One thread is timed by the processor time of this process, to which other processes add nothing. Several threads wait
        for each other, so they are timed by the wall clock.
        """
        if self.target.device == "cpu" and self.target.threads == 1:
            return Clock(time.process_time_ns)
        return Clock(time.perf_counter_ns)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, torch has the target's number of threads, computes no gradients, and keeps freed memory."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.target.threads)
        try:
            with torch.inference_mode(), kept_memory():
                yield
        finally:
            torch.set_num_threads(threads)


class Clock:
    """Marks points in time; the nanoseconds between them are read afterwards."""

    def __init__(self, mark: Callable[[], Any]) -> None:
        self.mark = mark

    def between(self, marks: Sequence[Any]) -> list[int]:
        """Nanoseconds from each mark to the next."""
        return [after - before for before, after in pairwise(marks)]


class CudaClock(Clock):
    """Marks on the device's own queue: the processor runs ahead of it."""

    def __init__(self) -> None:
        super().__init__(self._mark)

    def between(self, marks: Sequence[Any]) -> list[int]:
        # This also empties the queue for the next measurement.
        torch.cuda.synchronize()
        return [round(before.elapsed_time(after) * 1e6) for before, after in pairwise(marks)]

    @staticmethod
    def _mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Eager(Backend):
    """PyTorch as it is."""

    def prepared(self, module: nn.Module, example: Example) -> Run:
        return module.to(self.target.device, _DTYPES[self.target.precision])

    def converted(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.target.device, _DTYPES[self.target.precision])

    @property
    def clock(self) -> Clock:
        return CudaClock() if self.target.device == "cuda" else super().clock


class Compiled(Eager):
    """`torch.compile` with its defaults, for one shape."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise TargetError(f"{target}: got no C++ compiler {compiler!r}, which torch.compile needs; expected one, or eager or ort")

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        # Imported here: it takes seconds.
        from torch._dynamo.exc import TorchDynamoException

        return (*super().failures, TorchDynamoException)

    def prepared(self, module: nn.Module, example: Example) -> Run:
        call = super().prepared(module, example)

        def run(x: Example) -> Tensor:
            return call(x)

        # Dynamo keeps what it compiled a code object, checks all of it at every call and gives up after eight, so each has its own.
        run.__code__ = run.__code__.replace(co_name="run")
        compiled = torch.compile(run, dynamic=False, fullgraph=True)
        compiled(self.value(example))
        return compiled


class OnnxRuntime(Backend):
    """ONNX Runtime with its defaults, on a graph exported for one shape."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        try:
            import onnx  # noqa: F401  # torch's exporter needs it
            import onnxruntime
        except ImportError as error:
            raise TargetError(f"{target}: got no {error.name}, expected it installed: pip install 'token-mixer-nas[ort]'") from None
        self.provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[target.device]
        if self.provider not in onnxruntime.get_available_providers():
            raise TargetError(f"{target}: got an onnxruntime without {self.provider}, expected cpu, or onnxruntime-gpu installed")
        if target.precision == "bf16":
            raise TargetError(f"{target}: got bf16, which ONNX Runtime has few operators for; expected fp32, or fp16 on cuda")

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
        from torch.onnx.errors import OnnxExporterError

        # ONNX Runtime's exceptions have no base class of their own.
        of_runtime = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
        return (*super().failures, OnnxExporterError, *of_runtime)

    def prepared(self, module: nn.Module, example: Example) -> Run:
        return self.run_of(self.graph_of(module, example))

    def run_of(self, graph: bytes) -> Run:
        """A graph of one output, ready to run on a value of this backend, or on a list of them, one an input."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.target.threads
        options.inter_op_num_threads = 1
        # Or the threads of the session that ran before would still be spinning while the next one runs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(graph, options, providers=[self.provider])
        binding = session.io_binding()
        inputs, (output,) = ([one.name for one in ends] for ends in (session.get_inputs(), session.get_outputs()))

        def run(x: Any) -> Any:
            for name, value in zip(inputs, x if isinstance(x, list) else [x], strict=True):
                binding.bind_ortvalue_input(name, value)
            binding.bind_output(output, self.target.device)
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0]

        return run

    def converted(self, tensor: Tensor) -> Any:
        import onnxruntime

        array = tensor.to(_DTYPES[self.target.precision]).contiguous().numpy()
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.target.device)

    def graph_of(self, module: nn.Module, example: Example) -> bytes:
        """A module as the graph that runs, for inputs shaped as the example."""
        return onnx_graph(module, example, _DTYPES[self.target.precision])


class OnnxRuntimeInt8(OnnxRuntime):
    """The same on a graph whose convolutions and linear layers are INT8. Its ranges are those of the example, on which no time depends."""

    def graph_of(self, module: nn.Module, example: Example) -> bytes:
        arrays = [tensor.numpy() for tensor in (example if isinstance(example, list) else [example])]
        return int8_graph(super().graph_of(module, example), dict(zip(_names(example), arrays, strict=True)))


def onnx_graph(module: nn.Module, example: Example, dtype: torch.dtype = torch.float32) -> bytes:
    """A module as an ONNX graph for inputs shaped as the example, `x` or `x0`, `x1`, ..., with the output `y`."""
    typed = [tensor.to(dtype) for tensor in example] if isinstance(example, list) else example.to(dtype)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter by tracing is deprecated; it takes a tenth of the other's time, and a table needs two hundred graphs.
        warnings.simplefilter("ignore")
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(module.to(dtype), (typed,), path, input_names=_names(example), output_names=["y"], dynamo=False)
        return path.read_bytes()


def _names(example: Example) -> list[str]:
    """Names of a graph's inputs."""
    return [f"x{i}" for i in range(len(example))] if isinstance(example, list) else ["x"]
