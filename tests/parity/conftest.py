"""Which packages are installed, and environments in which TensorRT's real bindings import without TensorRT itself."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

VERSIONS = ["10.0.1", "10.16.1.11", "11.4.0.106"]

_STAND_INS = """
void *createInferBuilder_INTERNAL(void) {return 0;}
void *createInferRefitter_INTERNAL(void) {return 0;}
void *createInferRuntime_INTERNAL(void) {return 0;}
void *createNvOnnxParserRefitter_INTERNAL(void) {return 0;}
void *createNvOnnxParser_INTERNAL(void) {return 0;}
void *getBuilderPluginRegistry(void) {return 0;}
int getNvOnnxParserVersion(void) {return 0;}
void *getPluginRegistry(void) {return 0;}
int initLibNvInferPlugins(void) {return 0;}
"""


_GPU_MODULES = {
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "cuda-bindings": "cuda.bindings.driver",
    "pycuda": "pycuda.driver",
}


def require_gpu_package(name: str) -> None:
    """Skip the test if a package for GPUs is not installed."""
    pytest.importorskip(_GPU_MODULES[name], reason=f"{name} is not installed", exc_type=ImportError)


def require_in_ci(reason: str) -> None:
    """Skip the test, or in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment variables with which the bindings of a version import."""
    version: str = request.param
    cached = request.config.cache.mkdir(f"tensorrt-{version}")
    package = cached / "tensorrt_bindings"
    if not package.is_dir():
        cuda = "cu12" if version.startswith("10.0") else "cu13"
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cached)]
        result = subprocess.run(
            [*download, f"tensorrt-{cuda}-bindings=={version}"], capture_output=True, text=True, check=False
        )
        wheels = list(cached.glob("*.whl"))
        if not wheels:
            require_in_ci(f"the bindings of TensorRT {version} cannot be downloaded: {result.stderr.strip()[-200:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(cached)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        require_in_ci("there is no C compiler for the stand-ins of TensorRT's libraries")
        raise AssertionError
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "stand_ins.c").write_text(_STAND_INS)
    major = version.split(".")[0]
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        library = f"lib{name}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", library, "stand_ins.c"]
        subprocess.run(command, cwd=folder, check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(cached), "EXPECTED": version}
