"""Plans: real TensorRT-RTX engines built ahead of time without a GPU, and every way in which a build is refused."""

import _thread
import importlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import onnx
import pytest

from tests.fakes.bundle import make_model, write_bundle
from tests.fakes.gpu import SimulatedGpu
from tests.fakes.tensorrt import SimulatedTensorRt
from wavepaint.cache import cache_folder
from wavepaint.contract import Bundle, default_bundle_folder, hash_file, read_bundle
from wavepaint.errors import ConfigError, EngineError, OutputError
from wavepaint.export.plans import EngineRequest, add_engines, choose_models, find_builders
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.tensorrt import build as build_module
from wavepaint.runtime.engines.tensorrt.build import build_plan, serves
from wavepaint.runtime.engines.tensorrt.callbacks import get_logger
from wavepaint.runtime.engines.tensorrt.library import get_library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

RTX = get_library("tensorrt-rtx")

SMALL = PlanOptions(profiles=(Profile(max=(2, 512, 512)),))


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (Linux x86-64 and Windows only)")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"min": (1, 128, 64), "opt": (1, 64, 64)}, r"height is 128, 64, 1024: expected min <= opt <= max"),
        ({"max": (1, 256, 256)}, "height is 64, 512, 256"),
        ({"min": (0, 64, 64)}, "batch is 0, 1, 4"),
        ({"max": (1, 99_999, 1024)}, "reaches 99999 pixels"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(profile: dict[str, tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Profile(**profile)


def test_a_profile_fits_the_size_multiple() -> None:
    Profile().require_multiple(32)
    with pytest.raises(ConfigError, match="side is 100, and this model takes multiples of 16, such as 96 or 112"):
        Profile(min=(1, 100, 100)).require_multiple(16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profiles": ()}, "at least one profile"),
        ({"targets": ("sm86", "sm86")}, "name one twice"),
        ({"workspace_mb": 0}, "workspace is 0 MiB"),
        ({"optimization_level": 6}, "optimization level is 6: expected 0 to 5"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PlanOptions(**options)  # type: ignore[arg-type]


def test_targets_are_chosen_by_library_and_gpu(rtx: None) -> None:
    assert get_library("tensorrt").choose_targets((), ["sm90"]) == ()
    assert RTX.choose_targets((), ["sm89"]) == ("current",)
    assert RTX.choose_targets((), ["sm90"]) == ("any",)  # Hopper has no name there
    assert RTX.choose_targets((), []) == ("any",)
    assert RTX.choose_targets(("any",), ["sm89"]) == ("any",)
    assert RTX.choose_targets(("sm120",), ["sm89"]) == ("sm120",)
    with pytest.raises(EngineError, match="needs the NVIDIA GPU it builds for.*--engine tensorrt-rtx"):
        get_library("tensorrt").choose_targets((), [])
    with pytest.raises(ConfigError, match="only for the GPU of this machine"):
        get_library("tensorrt").choose_targets(("sm90",), ["sm90"])
    with pytest.raises(ConfigError, match="unknown target 'sm61'.*75, 80, 86, 89, 120"):
        RTX.choose_targets(("sm61",), [])
    with pytest.raises(ConfigError, match="unknown target 'any'.* or for any by itself"):
        RTX.choose_targets(("sm86", "any"), [])


def test_a_plan_for_any_gpu_serves_all_and_others_those_they_name() -> None:
    assert serves({"compute_capabilities": ["any"]}, "sm90")
    assert serves({"compute_capabilities": ["sm86", "sm89"]}, "sm89")
    assert not serves({"compute_capabilities": ["sm86", "sm89"]}, "sm90")
    assert not serves({}, "sm90")


def test_tensorrt_rtx_builds_for_what_the_manifest_says(
    rtx: None, full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself it builds for all GPUs from Ampere on; for the one at hand alone it has to see it."""
    chosen: list[tuple[str, int]] = []
    tensorrt_rtx = importlib.import_module("tensorrt_rtx")
    config_type = tensorrt_rtx.IBuilderConfig
    set_one = config_type.set_compute_capability
    monkeypatch.setattr(
        config_type,
        "set_compute_capability",
        lambda config, capability, index: chosen.append((capability.name, index)) or set_one(config, capability, index),
    )
    artifact = full_bundle.find_artifact("onnx", "float32")

    def build(targets: tuple[str, ...]) -> dict[str, object]:
        options = PlanOptions(profiles=SMALL.profiles, targets=targets)
        return build_plan(full_bundle.get_model(artifact), tmp_path / "p", RTX, options)

    assert build(("sm86", "sm89"))["compute_capabilities"] == ["sm86", "sm89"]
    assert chosen == [("SM86", 0), ("SM89", 1)]
    chosen.clear()
    assert build(("any",))["compute_capabilities"] == ["any"]
    assert chosen == []
    monkeypatch.setattr(build_module, "find_gpus", lambda: [Gpu("GPU", "sm89", 80_000)])
    if find_gpus() == []:
        with pytest.raises(EngineError, match="TensorRT-RTX .* cannot build model.onnx"):
            build(())
    else:
        assert build(())["compute_capabilities"] == ["sm89"]
    assert chosen == [("CURRENT", 0)]


def test_an_error_is_told_in_the_thread_it_happened_in() -> None:
    """There is one logger for all; the library's own threads work for whoever asks."""
    trt = SimulatedTensorRt(SimulatedGpu())
    logger = get_logger(trt)
    assert get_logger(SimulatedTensorRt(SimulatedGpu())) is logger
    logger.pop_last_error()
    logger.log("error", "mine, the first")
    logger.log("error", "mine")
    logger.log("info", "no error")
    told: list[str] = []

    def other() -> None:
        logger.log("error", "another's")
        told.append(logger.pop_last_error())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert told == ["another's"]
    assert logger.pop_last_error() == "mine"
    assert logger.pop_last_error() == ""
    _thread.start_new_thread(lambda: logger.log("error", "of a thread Python did not start"), ())
    while not logger.errors:
        time.sleep(0.001)
    assert logger.pop_last_error() == "of a thread Python did not start"


@pytest.mark.skipif(find_gpus() != [], reason="needs a machine without an NVIDIA GPU")
@pytest.mark.parametrize("targets", [("sm80",), ("sm86", "sm89"), ("any",)], ids="-".join)
def test_engines_of_the_default_model_are_built_ahead_of_time(
    rtx: None, targets: tuple[str, ...], tmp_path: Path
) -> None:
    bundle = read_bundle(default_bundle_folder())
    request = EngineRequest(libraries=("tensorrt-rtx",), required=True, target_groups=(targets,))
    shares: list[float] = []
    built = add_engines(bundle, tmp_path / "engines", request, on_progress=lambda phase, share: shares.append(share))
    engines = [artifact for artifact in read_bundle(built.folder).manifest.artifacts if artifact.kind == "tensorrt-rtx"]
    assert {artifact.io_dtype for artifact in engines} == {"float32", "uint8"}
    for engine in engines:
        assert engine.precision == "float16"
        source = engine.details["onnx"]
        assert engine.path == f"{source.removesuffix('.onnx')}.tensorrt-rtx.{'-'.join(targets)}.plan"
        assert engine.details["compute_capabilities"] == list(targets)
        assert engine.details["profiles"] == [{"min": [1, 64, 64], "opt": [1, 512, 512], "max": [4, 1024, 1024]}]
        assert engine.details["onnx_sha256"] == hash_file(built.folder / source)
        assert (built.folder / engine.path).stat().st_size > 500_000
        assert built.manifest.verification[engine.path] == []
    assert shares[0] == 0
    assert max(shares) == pytest.approx(1)


@pytest.mark.parametrize("name", ["model.onnx", "model.uint8.onnx", "model.fp16.onnx", "model.bf16.onnx"])
def test_every_precision_and_edge_builds(rtx: None, half_bundle: Bundle, name: str, tmp_path: Path) -> None:
    (artifact,) = [artifact for artifact in half_bundle.manifest.artifacts if artifact.path == name]
    options = PlanOptions(
        profiles=(Profile(max=(2, 512, 512)), Profile(min=(1, 512, 512), opt=(1, 512, 768), max=(1, 1024, 1024))),
        targets=("sm86",),
        workspace_mb=512,
        optimization_level=2,
    )
    details = build_plan(half_bundle.get_model(artifact), tmp_path / "p", RTX, options)
    assert (tmp_path / "p").stat().st_size > 10_000
    assert len(details["profiles"]) == 2
    assert details["optimization_level"] == 2


def test_the_parsers_complaint_names_the_node(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(full_bundle.folder / "model.onnx")
    (first, *_) = [node for node in model.graph.node if node.op_type == "Conv"]
    first.op_type, first.domain = "Teleport", "example.org"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(EngineError, match=rf"cannot read odd.onnx: node '{first.name}' \(Teleport\)"):
        build_plan(make_model(tmp_path / "odd.onnx"), tmp_path / "p", RTX, SMALL)
    assert not (tmp_path / "p").exists()


def test_an_interrupted_build_leaves_nothing(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    def interrupt(phase: str, share: float) -> None:
        if share > 0.1:
            raise KeyboardInterrupt

    request = EngineRequest(libraries=("tensorrt-rtx",), required=True, options=SMALL)
    with pytest.raises(KeyboardInterrupt):
        add_engines(full_bundle, tmp_path / "out", request, on_progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_targets_mean_tensorrt_rtx_unless_tensorrt_alone_is_asked_for() -> None:
    groups = (("sm86",),)
    assert EngineRequest(target_groups=groups).get_targets("tensorrt") == ((),)
    both = EngineRequest(required=True, target_groups=groups)
    assert (both.get_targets("tensorrt"), both.get_targets("tensorrt-rtx")) == (((),), groups)
    assert EngineRequest(libraries=("tensorrt",), required=True, target_groups=groups).get_targets("tensorrt") == groups


def test_engines_come_from_the_best_precision_or_the_named(full_bundle: Bundle) -> None:
    models = [full_bundle.get_model(artifact) for artifact in full_bundle.manifest.artifacts]
    assert [model.artifact.path for model in choose_models(models)] == ["model.fp16.onnx", "model.fp16.uint8.onnx"]
    assert {model.artifact.precision for model in choose_models(models, ("bfloat16", "float16"))} == {
        "bfloat16",
        "float16",
    }
    assert [model.artifact.path for model in choose_models(models[:1])] == ["model.onnx"]


def test_a_precision_the_bundle_lacks_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", precisions=("float32",))
    with pytest.raises(ConfigError, match="holds float32 models, none of float16"):
        add_engines(bundle, tmp_path / "out", EngineRequest(precisions=("float16",)))


def test_what_cannot_be_built_is_told_or_refused(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    told: dict[str, str] = {}
    assert find_builders(EngineRequest(), 8, told.__setitem__) == []
    assert 'pip install "wavepaint[tensorrt]"' in told["tensorrt"]
    assert 'pip install "wavepaint[tensorrt-rtx]"' in told["tensorrt-rtx"]
    with pytest.raises(EngineError, match="tensorrt is not installed"):
        find_builders(EngineRequest(libraries=("tensorrt",), required=True), 8, told.__setitem__)


def test_nothing_is_written_where_no_engine_can_be_built(
    full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="no engine could be built.*nothing was written"):
        add_engines(full_bundle, tmp_path / "out", EngineRequest())
    assert not list(tmp_path.iterdir())


def test_engines_are_not_put_into_a_former_bundle_without_permission(rtx: None, full_bundle: Bundle) -> None:
    with pytest.raises(OutputError, match="exists already"):
        add_engines(full_bundle, full_bundle.folder, EngineRequest(libraries=("tensorrt-rtx",), options=SMALL))


def test_adding_engines_needs_neither_torch_nor_onnx() -> None:
    script = (
        "import sys; import wavepaint.export.plans, wavepaint.export.verify, wavepaint.cli.verify; "
        "import wavepaint.cli.export; "
        "print(sorted(name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WAVEPAINT_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "wavepaint"


def test_the_manifest_of_an_engine_survives_reading(rtx: None, full_bundle: Bundle, tmp_path: Path) -> None:
    request = EngineRequest(libraries=("tensorrt-rtx",), target_groups=(("sm80",), ("sm120",)), options=SMALL)
    built = add_engines(full_bundle, tmp_path / "out", request)
    again = add_engines(built, tmp_path / "out", request, overwrite=True)
    assert read_bundle(tmp_path / "out").manifest == again.manifest
    plans = [artifact.path for artifact in again.manifest.artifacts if artifact.kind == "tensorrt-rtx"]
    assert len(plans) == len(set(plans)) == 4  # two kinds of edges, two targets; built again, not twice there
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["files"].keys() >= set(plans)
