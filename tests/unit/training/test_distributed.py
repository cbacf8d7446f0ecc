"""Runs of several processes on the CPU."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.unit.training.conftest import Run, finish
from tests.unit.training.processes import CONTEXT
from tests.unit.training.runs import CONFIG, Recorder, read_log
from tests.unit.training.steps import assert_same_step, make_step_of_recipe, make_uneven_batch, take_step
from wavepaint.errors import ConfigError
from wavepaint.training import distributed
from wavepaint.training.config_file import format_toml
from wavepaint.training.distributed import (
    DistributedContext,
    SyncedBatchNorm,
    join_distributed,
    leave_distributed,
    synchronise_batch_norm,
)
from wavepaint.training.loop import Trainer
from wavepaint.weights.checkpoint import read_checkpoint

SHARED = CONFIG.change(
    {
        "recipe": "default",  # the command line knows no recipe "test"
        "hyper_parameters": {"num_modules": 2, "prefill_levels": 0},
        "data": {"val_fraction": 0.4},
        "loss": {"ssim": 3.0},
        "optimization": {"warmup_steps": 0},
    }
)
RECIPES = ("default", "default-textures")


def run_process(rank: int, folder: Path, photos: Path) -> None:
    """As one of two processes, train a run, then take a step of each recipe and save the means over both."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    context = DistributedContext(rank=rank, size=2, local_rank=rank, local_size=2)
    train(context, folder / "run", photos)
    torch.set_default_dtype(torch.float64)
    image, mask = (tensor.chunk(2)[rank] for tensor in make_uneven_batch())
    for recipe in RECIPES:
        step = take_step(make_step_of_recipe(recipe, context), [(image, mask)])
        torch.save({name: context.sum(value) / 2 for name, value in step.items()}, folder / f"{recipe}-{rank}.pt")
    leave_distributed()


def train(context: DistributedContext, out: Path, photos: Path) -> None:
    trainer = Trainer(SHARED, photos, out, device="cpu", context=context)
    assert trainer.run(Recorder())
    trainer.close()


@pytest.fixture(scope="module")
def two_processes(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`run_process`."""
    folder = tmp_path_factory.mktemp("two")
    processes = [CONTEXT.Process(target=run_process, args=(rank, folder, photos)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


@pytest.fixture(scope="module")
def one_process(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finish(SHARED, photos, tmp_path_factory.mktemp("one"))


def test_two_processes_train_like_one(one_process: Run, two_processes: Path) -> None:
    """Crops, batch statistics and gradients agree; only the order of float32 sums differs."""
    for a, b in zip(read_log(one_process[0]), read_log(two_processes / "run"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-2)
        assert b["val_psnr_db"] == pytest.approx(a["val_psnr_db"], abs=1e-2)
        assert b["val_ssim"] == pytest.approx(a["val_ssim"], abs=1e-3)
    assert read_checkpoint(two_processes / "run" / "last.pt").training["processes"] == 2


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("recipe", RECIPES)
def test_step_of_two_processes_equals_that_of_one(recipe: str, two_processes: Path) -> None:
    """The holes are uneven. R1 is a gradient of a gradient through the batch statistics of both processes."""
    expected = take_step(make_step_of_recipe(recipe, DistributedContext()), [make_uneven_batch()])
    for rank in range(2):
        assert_same_step(torch.load(two_processes / f"{recipe}-{rank}.pt"), expected, 1e-10)


def test_torchrun_resumes_a_run_of_one_process(one_process: Run, photos: Path, tmp_path: Path) -> None:
    reporter = Recorder()
    out, settings = tmp_path / "run", tmp_path / "settings.toml"
    assert not Trainer(SHARED, photos, out, device="cpu").run(reporter, lambda: len(reporter.losses) == 4)
    settings.write_text(format_toml(SHARED))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["train", photos, "-o", out, "--config", settings, "--resume", "--threads", 1, "--device", "cpu"]
    command = [*launcher, "-m", "wavepaint", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("done: export it with") == 1, "only one process reports"
    assert "continues with 2" in result.stderr
    losses = [[row["loss"] for row in read_log(folder)] for folder in (out, one_process[0])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_batch_size_must_divide_among_processes(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--batch-size is 4: expected a multiple of 3 .3 processes"):
        Trainer(CONFIG, photos, tmp_path / "run", context=DistributedContext(rank=0, size=3))


def test_one_process_needs_no_communication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    context = join_distributed("cpu")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert (context.rank, context.size, context.is_first) == (0, 1, True)
    assert context.mean([1.0, 2.0]) == [1.0, 2.0]
    assert context.gather("x") == ["x"]
    assert context.any(True)
    assert context.wrap(model, torch.device("cpu")) is model
    assert synchronise_batch_norm(model, context, fused=False) is model
    assert context.sum(torch.ones(2)).tolist() == [1, 1]
    context.wait()


def test_synced_batch_norm_equals_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the statistics of one process it gives PyTorch's outputs, gradients and running means."""
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(distributed, "_sum_over_processes", lambda x: x)
    torch.manual_seed(0)
    ours, reference = SyncedBatchNorm(5).double(), nn.BatchNorm2d(5).double()
    for norm in (ours, reference):
        torch.nn.init.constant_(norm.weight, 1.7)
        torch.nn.init.constant_(norm.bias, -0.3)
    x, direction = torch.randn(4, 5, 6, 7).double() * 3 + 2, torch.randn(4, 5, 6, 7).double()
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [norm(value) for norm, value in zip((ours, reference), inputs, strict=True)]
    for output in outputs:
        (output * direction).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-10, rtol=1e-8)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(ours.eval()(x), reference.eval()(x), atol=1e-12, rtol=1e-10)
