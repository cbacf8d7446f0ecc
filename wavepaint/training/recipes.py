"""The recipes: functions that return a whole configuration.

Where a paper and its authors' released script differ, or neither says a value, the recipe's text tells which was taken.
A photo's whole shorter side is shown where ``max_scale`` is smaller than any photo needs (``WHOLE_PHOTO``).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from wavepaint.errors import ConfigError
from wavepaint.training.config import DataConfig, LossConfig, OptimizationConfig, TrainConfig

WHOLE_PHOTO = 0.001

_MAIN_WAVEPAINT: Mapping[str, Any] = {
    "num_modules": 4,
    "blocks_per_module": 4,
    "final_dim": 128,
    "mult": 2,
    "ff_channel": 128,
    "level": 1,
    "dropout": 0.5,
}

HYBRID = LossConfig(lpips=10.0, mae=5.0, mse=5.0, lpips_network="alexnet")
"""10 (LPIPS + L1 / 2 + L2 / 2), as :func:`~wavepaint.training.losses.terms.hybrid` has it; AlexNet as the authors."""

RESOURCE_EFFICIENT = LossConfig(ssim=3.0, mae=1.0)
"""SSIM and MAE, 3 : 1. Source: D. Kumar et al., "Resource-efficient Image Inpainting" (2023), section 2."""

_STL10_DATA = DataConfig(
    crop_size=96,
    val_size=96,
    min_scale=0.7,
    max_scale=1.3,
    colour=0.2,
    perspective=0.06,
    masks=("lama-training@256",),
    val_masks=("thick@256",),
    val_fraction=0.1,
    test_fraction=0.1,
)

_STL10_OPTIMIZATION = OptimizationConfig(batch_size=40, epochs=100, schedule="epochs", adamw_epochs=50, monitor="ssim")


def default() -> TrainConfig:
    """The first stage of the network that ships with the package: small, prefilled, three wavelet levels.

    Chosen by short runs on a CPU (one module with three levels reached more PSNR in the same time than two with one
    level; the prefill was worth 2 dB). Thick masks are left out: most of what they hide cannot be guessed, and their
    gradients drown what can be learnt from the others in a run this short.
    """
    return TrainConfig(
        recipe="default",
        hyper_parameters={
            "num_modules": 1,
            "blocks_per_module": 4,
            "final_dim": 64,
            "mult": 2,
            "ff_channel": 64,
            "level": 3,
            "prefill_levels": 8,
        },
        data=DataConfig(crop_size=128, masks=("thin", "medium")),
        loss=LossConfig(hole_l1=1.0),
        optimization=OptimizationConfig(
            batch_size=16, steps=5_200, steps_per_epoch=500, learning_rate=1.5e-3, warmup_steps=100, clip_norm=1.0
        ),
    )


def default_textures() -> TrainConfig:
    """Its second stage, from the first one's weights (``--init-from``): textures in place of blur.

    The network gets a fourth wavelet level, which doubles what a block sees for a hundredth of the time, and detail to
    borrow: without that it draws every texture from nothing, with the period of its strides, as a lattice. LPIPS is
    AlexNet's, whose features cost little on a CPU (VGG16's took nine tenths of a step there); by itself it is content
    with a lattice or a cross-hatch. The discriminator sees those, and is shown where the hole is. A second module,
    begun as no change at all, gained nothing in the same time.
    """
    first = default()
    masks = ("thin", "medium", "thick")
    return dataclasses.replace(
        first,
        recipe="default-textures",
        hyper_parameters=first.hyper_parameters | {"level": 4, "borrow": True},
        data=dataclasses.replace(first.data, crop_size=192, masks=masks, val_masks=masks),
        loss=LossConfig(
            hole_l1=1.0,
            lpips_hole=1.0,
            lpips_network="alexnet",
            adversarial_kind="non-saturating",
            adversarial=0.5,
            feature_matching=10.0,
            r1=0.001,
            penalty_every=8,
            jitter=16,
            discriminator_channels=32,
            discriminator_layers=3,
            discriminator_sees_mask=True,
        ),
        optimization=OptimizationConfig(
            batch_size=8,
            steps=4_800,
            steps_per_epoch=200,
            learning_rate=5e-4,
            beta1=0.5,
            beta2=0.99,
            warmup_steps=100,
            clip_norm=1.0,
            discriminator_learning_rate=2e-4,
            ema_decay=0.998,
            monitor="lpips",
            save_every=100,
        ),
    )


def wavepaint_celebahq() -> TrainConfig:
    """WavePaint on CelebA-HQ at 256 pixels (arXiv 2307.00407, section 4).

    The paper's network of 4 modules of 4 blocks; batch size, masks (medium), no augmentation and the validation figure
    (LPIPS) from the authors' script at pranavphoenix/WavePaint@6489c7e.
    """
    return TrainConfig(
        recipe="wavepaint-celebahq",
        hyper_parameters=dict(_MAIN_WAVEPAINT),
        data=DataConfig(crop_size=256, min_scale=WHOLE_PHOTO, max_scale=WHOLE_PHOTO, flip=False, masks=("medium",)),
        loss=HYBRID,
        optimization=OptimizationConfig(batch_size=22, epochs=1_000, schedule="plateau", patience=20, monitor="lpips"),
    )


def wavepaint_imagenet() -> TrainConfig:
    """WavePaint on ImageNet at 224 pixels, with the patience of 10 epochs (arXiv 2307.00407, section 4)."""
    return TrainConfig(
        recipe="wavepaint-imagenet",
        hyper_parameters=dict(_MAIN_WAVEPAINT),
        data=DataConfig(
            crop_size=224,
            val_size=224,
            min_scale=WHOLE_PHOTO,
            max_scale=WHOLE_PHOTO,
            flip=False,
            masks=("medium",),
            workers=4,
        ),
        loss=HYBRID,
        optimization=OptimizationConfig(batch_size=22, epochs=1_000, schedule="plateau", patience=10, monitor="lpips"),
    )


def wavemix_stl10() -> TrainConfig:
    """WaveMix-Inpainting on STL-10's unlabelled images (D. Kumar et al., 2023, section 3 and appendix A).

    SSIM : MAE = 3 : 1, batches of 40, at most 100 epochs of which the last 50 with SGD, 80:10:10. The paper names no
    size for its 14 M parameters: one module of seven blocks of 256 channels with three wavelet levels has 13.88 M;
    benchmarks/table1.py tells how it was found.

    Masks and augmentation are LaMa's, as the paper says. LaMa's masks have their sizes for 256 pixels: as they are,
    two of three thick ones would cover more than half of 96 pixels, so they are drawn at 256 and scaled, as LaMa's
    tools enlarge small photos. The augmentation is that of ``abl-04-256-mh-dist``, as far as it is had here; images of
    96 pixels are never made smaller than the crop.
    """
    return TrainConfig(
        recipe="wavemix-stl10",
        hyper_parameters={
            "num_modules": 1,
            "blocks_per_module": 7,
            "final_dim": 256,
            "mult": 2,
            "ff_channel": 128,
            "level": 3,
        },
        data=_STL10_DATA,
        loss=RESOURCE_EFFICIENT,
        optimization=_STL10_OPTIMIZATION,
    )


def cnn_stl10() -> TrainConfig:
    """The custom CNN of the same paper's table 1, trained alike."""
    return TrainConfig(
        recipe="cnn-stl10",
        architecture="unet",
        data=_STL10_DATA,
        loss=RESOURCE_EFFICIENT,
        optimization=_STL10_OPTIMIZATION,
    )


def _lama(recipe: str, *, loss: LossConfig, optimization: OptimizationConfig, **parameters: Any) -> TrainConfig:
    return TrainConfig(
        recipe=recipe,
        architecture="lama",
        hyper_parameters={"num_blocks": 9, **parameters},
        data=DataConfig(
            crop_size=256,
            min_scale=0.5,
            max_scale=1.0,
            colour=0.2,
            perspective=0.05,
            masks=("lama-training",),
            workers=4,
        ),
        loss=loss,
        optimization=optimization,
    )


LAMA = LossConfig(
    known_l1=10.0,
    perceptual=30.0,
    lpips_network="vgg16",
    adversarial_kind="non-saturating",
    adversarial=10.0,
    feature_matching=100.0,
    r1=0.001,
)
"""LaMa's set and weights, but for the perceptual network; see :class:`LossConfig`. Source: Suvorov et al. 2022, eq. 7,
with the values of the released configuration."""

WASSERSTEIN = dataclasses.replace(LAMA, adversarial_kind="wasserstein", adversarial=1.0, r1=0.0, gradient_penalty=10.0)
"""LaMa's with the critic in place of its discriminator, the generator's term unweighted as in the source of
:func:`lama_wgan`, and the penalty's weight of I. Gulrajani et al. (2017)."""

_LAMA_OPTIMIZATION = OptimizationConfig(
    batch_size=10,
    steps=1_000_000,
    steps_per_epoch=25_000,
    schedule="constant",
    learning_rate=1e-3,
    discriminator_learning_rate=1e-4,
    weight_decay=0.0,
    monitor="lpips",
    save_every=1_000,
)


def lama_places() -> TrainConfig:
    """LaMa on Places at 256 pixels (arXiv 2109.07161, section 3 and appendix).

    Its perceptual loss compares features of a dilated ResNet-50 trained on ADE20k, whose weights are not to be had
    here; VGG16's take their place at the same weight, as in LaMa's own code before it.
    """
    return _lama("lama-places", loss=LAMA, optimization=_LAMA_OPTIMIZATION)


def lama_spectral() -> TrainConfig:
    """LaMa with the convolutions from local to global replaced by spectral transforms, otherwise trained alike.

    Source: G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions", a student project of 2021;
    the other convolutions stay, as in its code (``conv_change`` of nuniniyujin/lama_inpainting@51ded42).
    """
    return _lama("lama-spectral", loss=LAMA, optimization=_LAMA_OPTIMIZATION, spectral_l2g=True)


def lama_wgan() -> TrainConfig:
    """LaMa with a Wasserstein adversarial loss (source as of :func:`lama_spectral`), trained on squares and polygons.

    The gradient penalty with its weight of 10, the betas, and five critic steps to one of the network are those of I.
    Gulrajani et al. (2017). The code has the same but for the betas (``train_wasserstein.py``, ``disc_iter``),
    and an adversarial weight of 1. The other losses stay LaMa's; that code compares VGG19's features in place of the
    discriminator's and has no term for known pixels.
    """
    config = _lama(
        "lama-wgan",
        loss=WASSERSTEIN,
        optimization=_LAMA_OPTIMIZATION,
    )
    optimization = {"beta1": 0.0, "beta2": 0.9, "discriminator_steps": 5}
    return config.change({"data": {"masks": ["squares", "polygons"]}, "optimization": optimization})


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "default": default,
    "default-textures": default_textures,
    "wavepaint-celebahq": wavepaint_celebahq,
    "wavepaint-imagenet": wavepaint_imagenet,
    "wavemix-stl10": wavemix_stl10,
    "cnn-stl10": cnn_stl10,
    "lama-places": lama_places,
    "lama-wgan": lama_wgan,
    "lama-spectral": lama_spectral,
}


def get_recipe(name: str) -> TrainConfig:
    """Return the configuration of a recipe.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: expected one of {', '.join(RECIPES)} (--recipe).")
    return RECIPES[name]()
