"""Several processes of one run: torchrun on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tests.unit.processes import CONTEXT
from tests.unit.test_training import photos  # noqa: F401
from tests.unit.test_update import assert_same_step, make_from_recipe, make_uneven_batch, take_step
from wavepaint.errors import ConfigError
from wavepaint.training import distributed
from wavepaint.training.distributed import (
    DistributedContext,
    SyncedBatchNorm,
    join_distributed,
    leave_distributed,
    synchronise_batch_norm,
)
from wavepaint.weights.checkpoint import read_checkpoint

FLAGS = ["--steps", "6", "--steps-per-epoch", "3", "--batch-size", "4", "--crop-size", "32", "--val-size", "64",
         "--workers", "0", "--precision", "float32", "--threads", "1", "--device", "cpu",
         "--ssim-weight", "3", "--warmup-steps", "0", "--seed", "5",
         "--hyper-parameter", "final_dim=8", "--hyper-parameter", "ff_channel=8",
         "--hyper-parameter", "blocks_per_module=1", "--hyper-parameter", "num_modules=2",
         "--val-fraction", "0.4"]  # fmt: skip


def train(photos: Path, out: Path, *flags: str, processes: int = 1) -> list[dict[str, float]]:  # noqa: F811
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "wavepaint", "train", str(photos), "-o", str(out), *FLAGS, *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("done: export it with") == 1, "one process speaks for all"
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def both(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:  # noqa: F811
    folder = tmp_path_factory.mktemp("runs")
    train(photos, folder / "one")
    train(photos, folder / "two", processes=2)
    return folder / "one", folder / "two"


def test_two_processes_train_as_one(both: tuple[Path, Path]) -> None:
    """The same crops, the same batch statistics, averaged gradients: what is left is the order of sums in float32."""
    one, two = ([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in both)
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["loss_gradient"] == pytest.approx(a["loss_gradient"], rel=1e-2)
        assert b["val_psnr_db"] == pytest.approx(a["val_psnr_db"], abs=1e-2)
        assert b["val_ssim"] == pytest.approx(a["val_ssim"], abs=1e-3)
    assert read_checkpoint(both[1] / "last.pt").training["processes"] == 2


def take_shared_steps(rank: int, folder: Path) -> None:
    """Take a step of each recipe as one of two processes that share a batch, and write the means of both down."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    world = DistributedContext(rank=rank, size=2)
    image, mask = (tensor.chunk(2)[rank] for tensor in make_uneven_batch())
    for recipe in ("default", "default-textures"):
        step = take_step(make_from_recipe(recipe, world), [(image, mask)])
        torch.save({name: world.add_up(value) / 2 for name, value in step.items()}, folder / f"{recipe}-{rank}.pt")
    leave_distributed()


def test_two_processes_take_the_step_of_one_with_all_losses_of_the_default_recipes(tmp_path: Path) -> None:
    """Holes are spread unevenly over them; R1 is a gradient of a gradient through batch statistics of both."""
    processes = [CONTEXT.Process(target=take_shared_steps, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    torch.set_default_dtype(torch.float64)
    try:
        for recipe in ("default", "default-textures"):
            expected = take_step(make_from_recipe(recipe, DistributedContext()), [make_uneven_batch()])
            for rank in range(2):
                assert_same_step(torch.load(tmp_path / f"{recipe}-{rank}.pt"), expected, 1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_run_of_one_process_goes_on_with_two(both: tuple[Path, Path], photos: Path, tmp_path: Path) -> None:  # noqa: F811
    from tests.unit.test_training import Silent
    from wavepaint.training.config import TrainConfig
    from wavepaint.training.loop import Trainer

    config = TrainConfig.from_dict(read_checkpoint(both[0] / "last.pt").training["config"])
    reporter = Silent()
    assert not Trainer(config, photos, tmp_path, device="cpu").run(reporter, lambda: len(reporter.losses) == 4)
    log = train(photos, tmp_path, "--resume", processes=2)
    whole = [json.loads(line) for line in (both[0] / "log.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in whole], rel=1e-4)


def test_batch_sizes_that_processes_cannot_share(photos: Path, tmp_path: Path) -> None:  # noqa: F811
    from tests.unit.test_training import CONFIG
    from wavepaint.training.loop import Trainer

    with pytest.raises(ConfigError, match=r"--batch-size is 4: expected a multiple of 3 .3 processes"):
        Trainer(CONFIG, photos, tmp_path / "run", world=DistributedContext(rank=0, size=3))


def test_one_process_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    world = join_distributed("cpu")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert (world.rank, world.size, world.is_first) == (0, 1, True)
    assert world.mean([1.0, 2.0]) == [1.0, 2.0]
    assert world.gather("x") == ["x"]
    assert world.any(True)
    assert world.wrap(model, torch.device("cpu")) is model
    assert synchronise_batch_norm(model, world, fused=False) is model
    assert world.add_up(torch.ones(2)).tolist() == [1, 1]
    world.wait()


def test_synced_batch_norm_is_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one process's statistics it must give PyTorch's outputs, gradients and running means."""
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
