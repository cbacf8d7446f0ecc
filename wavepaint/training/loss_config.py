"""Settings of a training run: losses and the discriminator."""

from dataclasses import dataclass
from typing import Literal

from wavepaint.errors import ConfigError
from wavepaint.training.settings import check_settings, setting

LpipsNetwork = Literal["alexnet", "vgg16"]
AdversarialKind = Literal["none", "non-saturating", "wasserstein"]

_PIXELS = ("ssim", "mae", "mse", "hole_l1", "known_l1")
_PERCEPTUAL = ("lpips", "lpips_hole", "perceptual")
_ADVERSARIAL = ("adversarial", "feature_matching", "r1", "gradient_penalty")
_GENERATOR = (*_PIXELS, *_PERCEPTUAL, "adversarial", "feature_matching")


def _weight(loss: str, heading: str = "") -> float:
    return setting(0.0, f"Weight of {loss}", least=0, suffix="-weight", heading=heading, placeholder="WEIGHT")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses, and their options. A loss of weight 0 is not computed.

    ``perceptual`` compares feature maps of the LPIPS trunk, without LPIPS's learned weights. LaMa's released models
    use a dilated ResNet-50 trained to segment ADE20K; its code also offers this kind, with VGG19.

    ``penalty_every`` follows T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), section
    3.1. A penalty costs about a quarter of a step.

    A strided trunk is less sensitive to some phases of a lattice than to others, and a strided network learns to hide
    its lattice in them. ``jitter`` prevents that.
    """

    hole_l1: float = _weight(
        "the mean absolute error inside the hole. It gives faithful colours and soft detail.", "Pixel losses"
    )
    known_l1: float = _weight(
        "the absolute error of the prediction at known pixels, averaged over all pixels. "
        "Filled images never show these predictions."
    )
    mae: float = _weight("the mean absolute error over the whole image.")
    mse: float = _weight("the mean squared error over the whole image.")
    ssim: float = _weight("1 - SSIM (structural similarity) over the whole image.")
    lpips_hole: float = _weight(
        "LPIPS (visible difference, as a trained network sees it) in the hole and 16 pixels around it. It gives "
        "sharper texture.",
        "Feature losses",
    )
    lpips: float = _weight("LPIPS over the whole image.")
    perceptual: float = _weight(
        "the perceptual loss: the mean squared difference of the feature maps of LPIPS's network, over the whole image."
    )
    lpips_network: LpipsNetwork = setting(
        "alexnet",
        "Network whose features LPIPS and the perceptual loss compare. alexnet costs little on a CPU; vgg16 is that of "
        "LaMa's recipes.",
    )
    jitter: int = setting(
        0,
        "Largest random shift of the images that perceptual and adversarial losses compare. It prevents lattice "
        "patterns in fills; 0 shifts none.",
        least=0,
        placeholder="PIXELS",
    )
    adversarial_kind: AdversarialKind = setting(
        "none",
        "Train a discriminator, which tells fills from photos, against the network: non-saturating (LaMa's loss), "
        "wasserstein (with a gradient penalty), or none.",
        heading="Adversarial losses",
    )
    adversarial: float = _weight(
        "the network's adversarial loss, which rewards fills that the discriminator takes for photos."
    )
    feature_matching: float = _weight("the mean squared difference of the discriminator's feature maps, fill to photo.")
    r1: float = _weight(
        "the R1 penalty, the discriminator's squared gradient norm at photos. It belongs to --adversarial-kind "
        "non-saturating."
    )
    gradient_penalty: float = _weight(
        "the gradient penalty of --adversarial-kind wasserstein, which needs it. Its authors use 10."
    )
    penalty_every: int = setting(
        1,
        "Steps from one R1 or gradient penalty to the next. A penalty costs about a quarter of a step, and counts for "
        "all the steps it stands for.",
        least=1,
        placeholder="STEPS",
    )
    discriminator_channels: int = setting(64, "Channels of the discriminator's first layer.", least=1)
    discriminator_layers: int = setting(
        4,
        "Discriminator layers of stride 2. It judges patches of 70x70 pixels with 3, of 142x142 with 4 (LaMa's).",
        least=1,
    )
    discriminator_sees_mask: bool = setting(False, "Show the discriminator the mask as a fourth channel.")

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_adversarial()
        if not any(getattr(self, name) for name in _GENERATOR):
            flags = ", ".join(map(_flag, _GENERATOR))
            raise ConfigError(f"every loss weight is 0: set one or more of {flags}.")

    def _check_adversarial(self) -> None:
        kind = self.adversarial_kind
        if kind == "none":
            for name in _ADVERSARIAL:
                if getattr(self, name):
                    raise ConfigError(
                        f"{_flag(name)} is {getattr(self, name)}, but there is no discriminator: set "
                        f"--adversarial-kind non-saturating or wasserstein, or {_flag(name)} 0."
                    )
            return
        if not self.adversarial:
            raise ConfigError(
                f"--adversarial-kind is {kind}, but {_flag('adversarial')} is 0: set it above 0, or "
                "--adversarial-kind none."
            )
        foreign = "gradient_penalty" if kind == "non-saturating" else "r1"
        if getattr(self, foreign):
            raise ConfigError(
                f"{_flag(foreign)} is {getattr(self, foreign)}, but --adversarial-kind {kind} has no such penalty: set "
                f"it to 0{' and --r1-weight above 0' if kind == 'non-saturating' else ''}."
            )
        if kind == "wasserstein" and not self.gradient_penalty:
            raise ConfigError(
                f"{_flag('gradient_penalty')} is 0, but --adversarial-kind wasserstein needs the penalty: set it above "
                "0 (its authors use 10)."
            )

    @property
    def needs_lpips(self) -> bool:
        """Whether the losses need a trained LPIPS trunk."""
        return any(getattr(self, name) for name in _PERCEPTUAL)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}-weight"
