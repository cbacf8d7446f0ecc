"""The training loop: steps, validation, checkpoints and what they leave behind.

A run's folder holds ``last.pt`` (with everything needed to go on), ``best.pt`` (the best validation PSNR inside the
hole, fit for ``wp export``), ``log.jsonl`` (a line an epoch) and ``samples/epoch_NNNN.png``.
"""

import hashlib
import json
import math
import platform
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from wavepaint import __version__, metrics
from wavepaint.atomic import write_file
from wavepaint.errors import CheckpointError, ConfigError, OutputError, TrainingError
from wavepaint.grid import make_grid, mark_hole
from wavepaint.models.checkpoint import load_strictly, read_checkpoint, save_checkpoint
from wavepaint.models.registry import build_model, get_architecture
from wavepaint.models.wavepaint import WavePaint
from wavepaint.training.config import TrainConfig
from wavepaint.training.data import RandomCrops, find_photos, load_validation, split_photos, to_tensor
from wavepaint.training.losses import training_loss

LAST, BEST = "last.pt", "best.pt"
NUM_SAMPLE_ROWS = 6
VAL_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch came to.

    Attributes:
        epoch: Counted from 1.
        step: Steps so far.
        loss: Mean training loss of the epoch.
        val_psnr_db: Mean PSNR inside the hole of the validation images.
        val_ssim: Mean SSIM inside the hole.
        images_per_s: Training throughput, loading included, validation not.
        best: Whether this is the best epoch so far.
    """

    epoch: int
    step: int
    loss: float
    val_psnr_db: float
    val_ssim: float
    images_per_s: float
    best: bool


class Reporter(Protocol):
    """Who watches a run."""

    def on_start(
        self, config: TrainConfig, *, num_train: int, num_val: int, device: str, precision: str, step: int
    ) -> None: ...
    def on_step(self, step: int, loss: float) -> None: ...
    def on_epoch(self, report: EpochReport) -> None: ...


def _pick_precision(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """Return the autocast type, or None for plain float32."""
    if config.precision == "float32":
        return None
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return torch.bfloat16 if fast or config.precision == "bf16" else None


def _learning_rate_factor(config: TrainConfig) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    return factor


def _pick_device(name: str | None) -> torch.device:
    """Return the device of that name, or a GPU if there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name} is not usable here ({str(error).splitlines()[0]}). Expected cpu, or cuda with a GPU."
        ) from error
    return device


def _check_sizes(config: TrainConfig) -> None:
    """Raise a ConfigError unless crops and validation images fit the network's size multiple."""
    multiple = get_architecture(config.architecture).size_multiple(config.hyper_parameters)
    for flag, size in (("--crop-size", config.crop_size), ("--val-size", config.val_size)):
        if size % multiple:
            raise ConfigError(f"{flag} is {size}: this network needs a multiple of {multiple}.")


def _describe_data(photos: list[Path], root: Path) -> dict[str, Any]:
    """Return the number of photos and a hash of their names and sizes (contents would take hours on a large set)."""
    listing = "".join(f"{p.relative_to(root).as_posix()} {p.stat().st_size}\n" for p in photos)
    return {"num_photos": len(photos), "listing_sha256": hashlib.sha256(listing.encode()).hexdigest()}


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C, which a terminal sends to every process of a run, to the training process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Trainer:
    """One training run.

    Args:
        config: The resolved configuration.
        data: Folder of training photos.
        val_data: Folder of validation photos; None holds out a share of ``data``.
        out: The run's folder.
        resume: Go on from ``out/last.pt``; the configuration must be the same.
        device: Where to train; None takes the GPU if there is one.

    Raises:
        TrainingError: No or too few photos, a broken validation photo, or a network for another task.
        CheckpointError: Nothing to resume, or a checkpoint of another configuration.
        ConfigError: Sizes that do not fit the network, or a device that is not there.
        OutputError: A run is there already, or its folder cannot be written.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Path,
        out: Path,
        *,
        val_data: Path | None = None,
        resume: bool = False,
        device: str | None = None,
    ) -> None:
        if get_architecture(config.architecture).task != "inpainting":
            raise TrainingError(f"{config.architecture} is not an inpainting network; wp train trains only those.")
        _check_sizes(config)
        self.config = config
        self.out = out
        self.device = _pick_device(device)
        self.autocast_dtype = _pick_precision(config, self.device)
        photos = find_photos(data)
        if val_data is None:
            self.train_photos, val_photos = split_photos(photos, data, config.val_fraction)
        else:
            self.train_photos, val_photos = photos, find_photos(val_data)
        self.validation = load_validation(val_photos, config)
        last = out / LAST
        if last.exists() and not resume:
            raise OutputError(f"{out} holds a run already. Pass --resume to go on with it, or choose another folder.")
        if resume and not last.exists():
            raise CheckpointError(f"{last} does not exist, so there is nothing to resume. Leave --resume out.")

        torch.manual_seed(config.seed)
        self.model = build_model(config.architecture, config.hyper_parameters)
        if isinstance(self.model, WavePaint) and self.model.prefill_levels:
            self.model.start_from_prefill()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, _learning_rate_factor(config))
        self.step = 0
        self.best_psnr_db = -math.inf
        self.seconds = 0.0
        self._data_record = {
            "train": _describe_data(self.train_photos, data),
            "val": _describe_data(val_photos, val_data or data),
        }
        if resume:
            self._restore(last)
        try:
            (out / "samples").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write the run's folder {out}: {error.strerror or error}.") from error

    def _restore(self, last: Path) -> None:
        checkpoint = read_checkpoint(last)
        if not checkpoint.resume:
            raise CheckpointError(f"{last} holds weights only and cannot be resumed.")
        saved = TrainConfig.from_dict(checkpoint.training["config"])
        differing = [k for k, v in saved.to_dict().items() if v != self.config.to_dict()[k] and k != "workers"]
        if differing:
            raise CheckpointError(
                f"{last} was trained with other settings ({', '.join(differing)}). Resume with the same ones."
            )
        load_strictly(self.model, checkpoint.state, last)
        self.optimizer.load_state_dict(checkpoint.resume["optimizer"])
        self.schedule.load_state_dict(checkpoint.resume["schedule"])
        torch.set_rng_state(checkpoint.resume["torch_rng"])
        self.step = int(checkpoint.resume["step"])
        self.best_psnr_db = float(checkpoint.resume["best_psnr_db"])
        self.seconds = float(checkpoint.resume["seconds"])

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        crops = RandomCrops(self.train_photos, self.config)
        done = self.step * self.config.batch_size
        loader = DataLoader(
            Subset(crops, range(done, len(crops))),
            batch_size=self.config.batch_size,
            num_workers=self.config.workers,
            # A generator of its own: drawing a loader's seed must not shift the state that is saved for resuming.
            generator=torch.Generator(),
            prefetch_factor=4 if self.config.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_interrupts,
        )
        for image, mask in loader:
            yield (
                image.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last),
                mask.to(self.device, non_blocking=True),
            )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.autocast_dtype, enabled=self.autocast_dtype is not None)

    def _train_step(self, image: Tensor, mask: Tensor) -> float:
        self.model.train()
        with self._autocast():
            output = self.model(image, mask)
        loss = training_loss(self.config, output, image, mask)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"the loss or its gradient is not finite at step {self.step + 1}. The last good state is in "
                f"{self.out / LAST}, if an epoch was finished; try a lower --learning-rate or --precision float32."
            )
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def run(self, reporter: Reporter, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or until ``should_stop`` returns true after a step.

        Returns:
            Whether the run reached its last step; otherwise it is saved and can be resumed.
        """
        config = self.config
        reporter.on_start(
            config,
            num_train=len(self.train_photos),
            num_val=len(self.validation),
            device=str(self.device),
            precision="bf16" if self.autocast_dtype else "float32",
            step=self.step,
        )
        losses: list[float] = []
        started = time.perf_counter()
        for image, mask in self._batches():
            losses.append(self._train_step(image, mask))
            self.step += 1
            reporter.on_step(self.step, losses[-1])
            if self.step % config.steps_per_epoch == 0 or self.step == config.steps:
                self.seconds += (elapsed := time.perf_counter() - started)
                reporter.on_epoch(self._finish_epoch(losses, elapsed))
                losses, started = [], time.perf_counter()
            if self.step < config.steps and should_stop():
                self.seconds += time.perf_counter() - started
                self._save(LAST, resumable=True)
                return False
        return True

    def _finish_epoch(self, losses: list[float], elapsed: float) -> EpochReport:
        outputs = self._fill_validation()
        truth = [image / 255 for image, _ in self.validation]
        masks = [mask for _, mask in self.validation]
        psnr_db = float(np.mean([metrics.psnr(o, t, m) for o, t, m in zip(outputs, truth, masks, strict=True)]))
        ssim = float(np.mean([metrics.ssim(o, t, m) for o, t, m in zip(outputs, truth, masks, strict=True)]))
        epoch = math.ceil(self.step / self.config.steps_per_epoch)
        best = psnr_db > self.best_psnr_db
        report = EpochReport(
            epoch=epoch,
            step=self.step,
            loss=float(np.mean(losses)),
            val_psnr_db=psnr_db,
            val_ssim=ssim,
            images_per_s=len(losses) * self.config.batch_size / elapsed,
            best=best,
        )
        if best:
            self.best_psnr_db = psnr_db
            self._save(BEST, resumable=False, metrics={"psnr_hole_db": psnr_db, "ssim_hole": ssim})
        self._save(LAST, resumable=True)
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(report.__dict__) + "\n")
        self._draw_samples(outputs, epoch)
        return report

    @torch.inference_mode()
    def _fill_validation(self) -> list[NDArray[np.float32]]:
        """Return the filled validation images, (S, S, 3) in [0, 1], computed in float32."""
        self.model.eval()
        outputs: list[NDArray[np.float32]] = []
        for first in range(0, len(self.validation), VAL_BATCH):
            batch = self.validation[first : first + VAL_BATCH]
            image = torch.stack([to_tensor(image) for image, _ in batch]).to(self.device)
            mask = torch.stack([torch.from_numpy(mask)[None].float() for _, mask in batch]).to(self.device)
            filled = self.model(image.contiguous(memory_format=torch.channels_last), mask).clamp(0, 1)
            outputs.extend(filled.permute(0, 2, 3, 1).cpu().numpy())
        return outputs

    def _draw_samples(self, outputs: list[NDArray[np.float32]], epoch: int) -> None:
        rows = [
            (mark_hole(image, mask), np.round(output * 255).astype(np.uint8), image)
            for (image, mask), output in zip(self.validation[:NUM_SAMPLE_ROWS], outputs, strict=False)
        ]
        with write_file(self.out / "samples" / f"epoch_{epoch:04d}.png", overwrite=True) as temporary:
            make_grid(rows, ("hole", "filled", "original")).save(temporary)

    def _save(self, name: str, *, resumable: bool, metrics: dict[str, float] | None = None) -> None:
        resume = {
            "step": self.step,
            "best_psnr_db": self.best_psnr_db,
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        training = {
            "config": self.config.to_dict(),
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "data": self._data_record,
            "validation": metrics,
            "device": self.device.type,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "versions": {"wavepaint": __version__, "torch": str(torch.__version__)},
        }
        save_checkpoint(
            self.out / name,
            self.model,
            architecture=self.config.architecture,
            parameters=self.config.hyper_parameters,
            training=training,
            resume=resume if resumable else None,
        )
