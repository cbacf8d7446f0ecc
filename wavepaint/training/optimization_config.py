"""Settings of a training run: length, batches, optimizers, schedule and precision."""

from dataclasses import dataclass
from typing import Literal

from wavepaint.errors import ConfigError
from wavepaint.training.settings import check_settings, make_error, setting

Precision = Literal["auto", "float32", "bf16", "fp16"]
ScheduleKind = Literal["cosine", "constant", "epochs", "plateau"]
Monitor = Literal["psnr", "ssim", "lpips", "top-1", "top-5", "mean-iou", "pixel-accuracy"]


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """Batches, optimizers, schedule and precision."""

    steps: int = setting(
        0,
        "Length of the run in optimizer steps, each of --batch-size crops. 0 leaves it to --epochs.",
        least=0,
        heading="Length and checkpoints",
    )
    epochs: int = setting(0, "Length of the run in epochs. 0 leaves it to --steps.", least=0)
    steps_per_epoch: int = setting(
        0,
        "Length of an epoch, which ends with a validation, a sample picture and a save. 0 is one pass over the photos.",
        least=0,
        placeholder="STEPS",
    )
    monitor: Monitor = setting(
        "psnr",
        "Validation metric that decides which weights are kept as best.pt: psnr, ssim or lpips inside the holes; top-1 "
        "or top-5 with --task classify; mean-iou or pixel-accuracy with --task segment.",
    )
    save_every: int = setting(
        0,
        "Steps from one save of last.pt to the next. 0 saves only at the end of an epoch.",
        least=0,
        placeholder="STEPS",
    )
    batch_size: int = setting(
        16,
        "Crops in an optimizer step, over all processes. If memory runs out, raise --accumulate or lower this.",
        least=1,
        heading="Speed and memory",
        placeholder="CROPS",
    )
    accumulate: int = setting(
        1,
        "Parts of a batch that a process computes one after the other. More parts need less memory; only the "
        "statistics of batch normalization differ.",
        least=1,
    )
    precision: Precision = setting(
        "auto",
        "Arithmetic precision. bf16 and fp16 are mixed with float32; fp16 needs a GPU. auto: bf16 on hardware with "
        "fast bf16, else float32.",
    )
    compile: bool = setting(
        False, "Compile the network with torch.compile. The first step is slow; later ones may be faster."
    )
    channels_last: bool = setting(True, "Use the channels-last memory layout, the fastest for convolutions.")
    learning_rate: float = setting(
        1e-3, "Highest learning rate of AdamW; see --schedule.", above=0, heading="Optimizer", placeholder="RATE"
    )
    warmup_steps: int = setting(
        0, "Steps at the start in which the learning rate rises to --learning-rate.", least=0, placeholder="STEPS"
    )
    schedule: ScheduleKind = setting(
        "cosine",
        "Course of the learning rate. cosine: it falls to 1% by the end. constant: it stays. epochs: after "
        "--adamw-epochs, SGD continues from the best weights. plateau: SGD does so after --patience epochs without "
        "improvement, and as many more end the run.",
    )
    adamw_epochs: int = setting(
        0, "Epochs before SGD takes over, with --schedule epochs.", least=0, placeholder="EPOCHS"
    )
    patience: int = setting(
        0,
        "Epochs without improvement that end a stage (AdamW, then SGD), with --schedule plateau.",
        least=0,
        placeholder="EPOCHS",
    )
    sgd_learning_rate: float = setting(
        1e-3, "Learning rate of SGD, with --schedule epochs or plateau.", above=0, placeholder="RATE"
    )
    sgd_momentum: float = setting(
        0.9, "Momentum of SGD, with --schedule epochs or plateau.", least=0, below=1, placeholder="SHARE"
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW, which pulls weights towards 0.", least=0)
    beta1: float = setting(
        0.9, "AdamW's beta1: decay of its running mean of gradients.", least=0, below=1, placeholder="DECAY"
    )
    beta2: float = setting(
        0.999, "AdamW's beta2: decay of its running mean of squared gradients.", least=0, below=1, placeholder="DECAY"
    )
    clip_norm: float = setting(
        0.0,
        "Largest norm of the gradient; larger ones are scaled down to it. Try 1 if the loss jumps; 0 never clips.",
        least=0,
        placeholder="NORM",
    )
    ema_decay: float = setting(
        0.0,
        "Decay of a moving average of the weights, such as 0.999. The average is what is validated and exported. "
        "0 uses the weights themselves.",
        least=0,
        below=1,
        placeholder="DECAY",
    )
    discriminator_learning_rate: float = setting(
        1e-4, "Learning rate of the discriminator's AdamW.", above=0, placeholder="RATE", only_inpainting=True
    )
    discriminator_steps: int = setting(
        1,
        "Steps of the discriminator for each step of the network, each on crops of its own.",
        least=1,
        placeholder="STEPS",
        only_inpainting=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if bool(self.steps) == bool(self.epochs):
            raise ConfigError(
                f"--steps is {self.steps} and --epochs {self.epochs}: set exactly one of them to 1 or more; it is the "
                "length of the run."
            )
        if self.batch_size % self.accumulate:
            raise make_error(self, "accumulate", f"a divisor of --batch-size ({self.batch_size})")
        for name, kind in (("adamw_epochs", "epochs"), ("patience", "plateau")):
            value = getattr(self, name)
            if self.schedule == kind and not value:
                raise make_error(self, name, f"1 or more with --schedule {kind}")
            if self.schedule != kind and value:
                raise make_error(self, name, f"0 with --schedule {self.schedule}; it belongs to --schedule {kind}")

    @property
    def crops_per_step(self) -> int:
        """Crops per optimizer step, including those that train only the discriminator."""
        return self.batch_size * self.discriminator_steps
