"""A machine with a simulated GPU and TensorRT."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import tensorrt
from tests.fakes.gpu import SimulatedDevice, SimulatedGpu
from wavepaint.runtime import doctor
from wavepaint.runtime.engines import gpus, ort, registry
from wavepaint.runtime.engines.cuda import open as cuda_open
from wavepaint.runtime.engines.gpus import Gpu
from wavepaint.runtime.engines.tensorrt import build, engine, libraries, plan_cache, session
from wavepaint.runtime.engines.tensorrt.libraries import TensorRtLibrary


@dataclass
class Machine:
    """The parts that a test can inspect and change.

    Attributes:
        gpu: The GPU.
        trt: The module of both TensorRT and TensorRT-RTX.
        devices: Every device that was opened.
        builds: Arguments of every build of a plan.
        build: The function that builds a plan.
        supports_graphs: Whether devices capture graphs.
    """

    gpu: SimulatedGpu = field(default_factory=SimulatedGpu)
    trt: Any = None
    devices: list[SimulatedDevice] = field(default_factory=list)
    builds: list[tuple[Any, ...]] = field(default_factory=list)
    build: Any = tensorrt.build_plan
    supports_graphs: bool = True

    def open_device(self) -> SimulatedDevice:
        self.devices.append(SimulatedDevice(self.gpu, supports_graphs=self.supports_graphs))
        return self.devices[-1]

    def build_plan(self, *arguments: Any, **callbacks: Any) -> dict[str, Any]:
        self.builds.append(arguments)
        details: dict[str, Any] = self.build(*arguments, **callbacks)
        return details

    def require_all_freed(self) -> None:
        """Raise unless every device is closed and nothing is left on the GPU."""
        assert all(one.is_closed for one in self.devices)
        assert not self.gpu.blocks
        assert not self.gpu.pinned
        assert not self.gpu.streams
        assert not self.gpu.graphs
        assert not self.trt.contexts


def install(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Let the runtime use a simulated GPU and TensorRT."""
    machine = Machine()
    machine.trt = tensorrt.SimulatedTensorRt(machine.gpu)
    monkeypatch.setattr(TensorRtLibrary, "load", lambda self: machine.trt)
    set_gpus(monkeypatch, Gpu("Simulated GPU", "sm120", 80_000))
    monkeypatch.setattr(session, "open_device", machine.open_device)
    monkeypatch.setattr(cuda_open, "open_device", machine.open_device)
    monkeypatch.setattr(plan_cache, "build_plan", machine.build_plan)
    return machine


def set_gpus(monkeypatch: pytest.MonkeyPatch, *found: Gpu) -> None:
    """Let the engines find these GPUs."""
    for module in (build, doctor, engine, gpus, libraries, ort, registry):
        monkeypatch.setattr(module, "find_gpus", lambda: [*found])
