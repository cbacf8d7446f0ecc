"""The real packages for CUDA, cuda-bindings and (if installed) pycuda, with a simulated driver.

The driver is a small C library with the name of the real one. The packages load and call it as on a GPU.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.parity.conftest import require_in_ci

_PROGRAM = """
import sys, threading
import numpy as np
from wavepaint.errors import EngineError, EngineMemoryError
from wavepaint.runtime.engines.cuda.open import open_device
from wavepaint.runtime.engines.gpus import find_driver_version, find_gpus

assert [vars(gpu) for gpu in find_gpus()] == [
    {"name": "Simulated GPU", "compute_capability": "sm86", "memory_mb": 64}
]
assert find_driver_version() == "13.0"


def catch(kind, call):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")


device = open_device(sys.argv[1])
assert device.package.startswith(sys.argv[1]), device.package
assert device.memory() == (64 << 20, 64 << 20)
stream = device.create_stream()


def use():
    address, source, target = device.allocate(1000), device.allocate_pinned(1000), device.allocate_pinned(1000)
    assert address % 256 == 0
    assert device.memory()[0] == (64 << 20) - 1000
    assert (source.shape, source.dtype) == ((1000,), np.uint8)
    source[:] = np.arange(1000) % 251
    device.copy_to_device(address, source, stream)
    device.copy_to_host(target, address, stream)
    device.synchronize(stream)
    np.testing.assert_array_equal(target, source)
    target[:] = 0
    # The simulated clock counts the events that were recorded.
    assert device.time_ms(stream, lambda: device.copy_to_host(target, address, stream)) == 1
    np.testing.assert_array_equal(target, source)
    catch(ZeroDivisionError, lambda: device.time_ms(stream, lambda: 1 / 0))
    if device.supports_graphs:
        target[:] = 0
        graph = device.capture(stream, lambda: device.copy_to_host(target, address, stream))
        assert not target.any()
        device.launch(graph, stream)
        device.synchronize(stream)
        np.testing.assert_array_equal(target, source)
        device.free_graph(graph)
        broken = catch(EngineError, lambda: device.capture(stream, lambda: device.synchronize(stream)))
        assert "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in broken
        catch(ZeroDivisionError, lambda: device.capture(stream, lambda: 1 / 0))
        device.copy_to_host(target, address, stream)  # no capture is left open
    else:
        assert "no stream capture" in catch(EngineError, lambda: device.capture(stream, lambda: None))
    assert "out of memory" in catch(EngineMemoryError, lambda: device.allocate(1 << 30))
    device.free(address)
    device.free_pinned(source)
    device.free_pinned(target)


use()
failures = []
def work():
    try:
        use()
    except BaseException as error:
        failures.append(repr(error))
for _ in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert failures == [], failures
assert device.memory() == (64 << 20, 64 << 20)
device.destroy_stream(stream)
device.close()
device.close()
assert "closed" in catch(EngineError, device.memory)
print("all was freed")
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with a simulated CUDA driver."""
    if sys.platform != "linux":
        pytest.skip("the simulated driver is built as a Linux library")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        require_in_ci("there is no C compiler for the simulated driver")
        raise AssertionError
    folder = tmp_path_factory.mktemp("driver")
    source = (REPOSITORY / "tests" / "fakes" / "driver.c").read_text()
    (folder / "driver.c").write_text(source + _unused_functions(source))
    command = [compiler, "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", "libcuda.so.1", "driver.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "libnvidia-ml.so.1").symlink_to("libcuda.so.1")
    return folder


def run_with(driver: Path, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program with the simulated driver."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(driver), **environment},
        check=False,
    )


def _unused_functions(source: str) -> str:
    """Return stand-ins for functions that pycuda is linked to and does not call here."""
    found = find_spec("pycuda")
    if found is None or not found.submodule_search_locations:
        return ""
    (extension,) = Path(found.submodule_search_locations[0]).glob("_driver*.so")
    names = {name.decode() for name in re.findall(rb"\0(cu[A-Z]\w+)(?=\0)", extension.read_bytes())}
    return "\n".join(f"int {name}(void) {{ return 801; }}" for name in sorted(names) if f" {name}(" not in source)


def require_package(package: str) -> None:
    if find_spec({"cuda-bindings": "cuda", "pycuda": "pycuda"}[package]) is None:
        pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_every_method_works_and_everything_is_freed(driver: Path, package: str) -> None:
    require_package(package)
    result = run_with(driver, _PROGRAM, package)
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"
    assert result.stdout.strip() == "all was freed"


_FORKING = """
import os, sys
from wavepaint.runtime.engines.cuda.open import open_device
from wavepaint.runtime.engines.gpus import count_used_memory_mb, find_driver_version, find_gpus

assert len(find_gpus()) == 1 and find_driver_version() == "13.0" and count_used_memory_mb() == 0
child = os.fork()
if not child:
    with open_device(sys.argv[1]):
        # A process that uses CUDA asks CUDA, even if NVML would answer differently.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        assert len(find_gpus()) == 1
    sys.exit()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_a_forked_child_can_use_cuda_after_the_parent_listed_the_gpus(driver: Path, package: str) -> None:
    require_package(package)
    result = run_with(driver, _FORKING, package)
    assert result.returncode == 0, result.stderr


_FAILING = """
import sys
from wavepaint.errors import EngineError
from wavepaint.runtime.engines.cuda.open import open_device

try:
    open_device(sys.argv[1])
except EngineError as error:
    print(error)
"""


def test_a_device_that_fails_to_open_releases_its_context(driver: Path) -> None:
    require_package("cuda-bindings")
    result = run_with(driver, _FAILING, "cuda-bindings", SIMULATED_FAILURE="cuMemGetInfo")
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"
    assert "out of memory" in result.stdout


def test_a_missing_driver_is_reported() -> None:
    pytest.importorskip("cuda.bindings")
    from wavepaint.errors import EngineError
    from wavepaint.runtime.engines.cuda.open import open_device
    from wavepaint.runtime.engines.gpus import find_gpus

    if find_gpus():
        pytest.skip("this machine has a driver")
    with pytest.raises(EngineError, match=r"cuda-bindings .* finds no NVIDIA driver \(.*Install the GPU's driver"):
        open_device("cuda-bindings")
