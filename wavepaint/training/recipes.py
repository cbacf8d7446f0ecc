"""Recipes: functions that return a complete configuration.

If a paper and its authors' released script differ, or neither states a value, the docstring names the choice.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from wavepaint.errors import ConfigError
from wavepaint.training.config import TrainConfig
from wavepaint.training.data_config import DataConfig
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig

FINE_TUNE, FINE_TUNE_WITHOUT_LPIPS = "fine-tune", "fine-tune-without-lpips"
"""Recipes that continue the training of a network; they take its shape from the checkpoint."""

WHOLE_PHOTO = 0.001
"""A scale smaller than any photo needs, so that crops show the whole shorter side."""

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
"""WavePaint's loss: 10 (LPIPS + (1 - alpha) L1 + alpha L2) with alpha 0.5, and the authors' AlexNet.

The authors' code passes LPIPS images in [0, 1], although it expects [-1, 1]. This package scales them correctly, which
about doubles the contrast that LPIPS sees.

Source: P. Jeevan et al., "WavePaint: Resource-efficient Token-mixer for Self-supervised Inpainting" (2023).
"""

RESOURCE_EFFICIENT = LossConfig(ssim=3.0, mae=1.0)
"""SSIM and MAE at 3 : 1. Source: D. Kumar et al., "Resource-efficient Image Inpainting" (2023), section 2."""

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
    """The first stage of the network that ships with the package: small, three wavelet levels, initial fill.

    Short runs on a CPU decided the shape: one module with three levels reached a higher PSNR in the same time than two
    modules with one level, and the initial fill gained 2 dB. There are no thick masks: most of their content cannot be
    predicted, and in a run this short their gradients drown out those of the other masks.
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
    """The second stage of the default network: texture instead of blur. It starts from the first (``--init-from``).

    The network gets a fourth wavelet level, which doubles the receptive field of a block for 1% more time. It also gets
    shifted details, without which it draws every texture as a lattice with the period of its strides. LPIPS uses
    AlexNet, whose features are cheap on a CPU; VGG16 took nine tenths of a step. By itself LPIPS accepts a lattice or a
    cross-hatch. The discriminator, which sees the mask, rejects them. A second module that starts as the identity
    gained nothing in the same time.
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


def default_structure() -> TrainConfig:
    """The third stage of the default network: details from places that match. It starts from the second one's weights.

    The shifted details of the second stage continue textures, and repeat edges where they should not. The matched
    detail follows straight lines through the hole and repeats less. Masks of LaMa's training set are added, because
    their holes are larger.

    The run is made for a GPU: an H200 with bfloat16 computes 18 steps a second if loaders keep up. On a CPU with
    float32, use smaller batches and crops, and ``channels_last=False``: with channels first, the backward pass of batch
    normalization takes a ninth of the time there.
    """
    second = default_textures()
    return dataclasses.replace(
        second,
        recipe="default-structure",
        hyper_parameters=second.hyper_parameters | {"match": True},
        data=dataclasses.replace(second.data, crop_size=256, masks=(*second.data.masks, "lama-training"), workers=7),
        optimization=dataclasses.replace(
            second.optimization,
            batch_size=32,
            steps=4_000,
            steps_per_epoch=400,
            learning_rate=8e-4,
            discriminator_learning_rate=3e-4,
        ),
    )


def fine_tune() -> TrainConfig:
    """A short continuation of :func:`default_textures`, for photos of one kind. It starts from ``--init-from``.

    The learning rate is a fifth of the second stage's, because the weights are trained already and the discriminator
    is not. One photo in five validates, because folders are small.
    """
    second = default_textures()
    return dataclasses.replace(
        second,
        recipe=FINE_TUNE,
        data=dataclasses.replace(second.data, val_fraction=0.2),
        optimization=dataclasses.replace(
            second.optimization, steps=1_200, steps_per_epoch=100, learning_rate=1e-4, ema_decay=0.99
        ),
    )


def fine_tune_without_lpips() -> TrainConfig:
    """:func:`fine_tune` for machines without the LPIPS weights.

    The mean absolute error alone turns textures into fog within 200 steps, and an adversarial loss alone moves colours
    away, because its discriminator has just begun. Together, at a low rate and for a third of the steps, they raise the
    PSNR and cost a little texture (benchmarks/results/2026-11-26-fine-tuning).
    """
    tuned = fine_tune()
    return dataclasses.replace(
        tuned,
        recipe=FINE_TUNE_WITHOUT_LPIPS,
        loss=dataclasses.replace(tuned.loss, lpips_hole=0.0, hole_l1=0.05, feature_matching=1.0),
        optimization=dataclasses.replace(tuned.optimization, steps=400, learning_rate=3e-5, monitor="psnr"),
    )


def wavepaint_celebahq() -> TrainConfig:
    """WavePaint on CelebA-HQ at 256 pixels (arXiv 2307.00407, section 4).

    The paper's network has 4 modules of 4 blocks. Batch size, medium masks, the lack of augmentation and the validation
    metric (LPIPS) come from the authors' script at pranavphoenix/WavePaint@6489c7e.
    """
    return TrainConfig(
        recipe="wavepaint-celebahq",
        hyper_parameters=dict(_MAIN_WAVEPAINT),
        data=DataConfig(crop_size=256, min_scale=WHOLE_PHOTO, max_scale=WHOLE_PHOTO, flip=False, masks=("medium",)),
        loss=HYBRID,
        optimization=OptimizationConfig(batch_size=22, epochs=1_000, schedule="plateau", patience=20, monitor="lpips"),
    )


def wavepaint_imagenet() -> TrainConfig:
    """WavePaint on ImageNet at 224 pixels, with a patience of 10 epochs (arXiv 2307.00407, section 4)."""
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

    SSIM and MAE at 3 : 1, batches of 40, at most 100 epochs with SGD in the last 50, and a split of 80 : 10 : 10. The
    paper states 14 million parameters but no shape. One module of seven blocks with 256 channels and three wavelet
    levels has 13.88 million; docs/models.md explains the search.

    Masks and augmentation are LaMa's, as the paper says. LaMa's masks are sized for 256 pixels, and at that size two of
    three thick masks would cover more than half of 96 pixels. They are therefore drawn at 256 pixels and scaled, as
    LaMa's tools enlarge small photos. The augmentation is that of ``abl-04-256-mh-dist`` without rotation, shear, lens
    and local contrast, which :func:`lama_augmented` adds; images of 96 pixels are never scaled below the crop.
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
    """The custom CNN in table 1 of the paper of :func:`wavemix_stl10`, with the same training."""
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
"""LaMa's losses and weights, except for the perceptual network; see :class:`LossConfig`. Source: Suvorov et al. 2022,
eq. 7, with the values of the released configuration."""

WASSERSTEIN = dataclasses.replace(LAMA, adversarial_kind="wasserstein", adversarial=1.0, r1=0.0, gradient_penalty=10.0)
"""LaMa's losses with a critic instead of its discriminator. The generator's loss has weight 1, as in the source of
:func:`lama_wgan`; the penalty's weight is that of I. Gulrajani et al. (2017)."""

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

    LaMa's perceptual loss compares features of a dilated ResNet-50 trained on ADE20K, which this package does not have.
    VGG16 replaces it at the same weight, as in an earlier version of LaMa's code.
    """
    return _lama("lama-places", loss=LAMA, optimization=_LAMA_OPTIMIZATION)


def lama_augmented() -> TrainConfig:
    """:func:`lama_places` with the whole augmentation of LaMa's released configuration.

    The values are those of ``distortions`` in ``saicinpainting/training/data/datasets.py`` at advimman/lama@786f593, as
    in ``abl-04-256-mh-dist``. Its scales are 0.7 to 1.3. It applies each change of shape and colour to half of the
    crops; here colour and perspective change all of them, up to the same limits.
    """
    config = dataclasses.replace(lama_places(), recipe="lama-augmented")
    return config.change(
        {
            "data": {
                "min_scale": 0.7,
                "max_scale": 1.3,
                "perspective": 0.06,
                "rotation": 40.0,
                "shear": 0.1,
                "lens": 0.05,
                "local_contrast": 0.5,
            }
        }
    )


def lama_spectral() -> TrainConfig:
    """LaMa with spectral transforms instead of the convolutions from local to global, and the same training.

    Source: G. Baker and Y. Cho, "Improvement on Image inpainting with Fourier Convolutions", a student project of 2021.
    Its code keeps the other convolutions (``conv_change`` of nuniniyujin/lama_inpainting@51ded42).
    """
    return _lama("lama-spectral", loss=LAMA, optimization=_LAMA_OPTIMIZATION, spectral_l2g=True)


def lama_wgan() -> TrainConfig:
    """LaMa with a Wasserstein adversarial loss, trained on squares and polygons (source: see :func:`lama_spectral`).

    The weight 10 of the gradient penalty, the betas, and five critic steps per step of the network are those of I.
    Gulrajani et al. (2017). The source's code agrees except for the betas (``train_wasserstein.py``, ``disc_iter``),
    and uses an adversarial weight of 1. The other losses are LaMa's. The source's code compares VGG19 features instead
    of the discriminator's, and has no loss for known pixels.
    """
    config = _lama("lama-wgan", loss=WASSERSTEIN, optimization=_LAMA_OPTIMIZATION)
    optimization = {"beta1": 0.0, "beta2": 0.9, "discriminator_steps": 5}
    return config.change({"data": {"masks": ["squares", "polygons"]}, "optimization": optimization})


def _follow_up(recipe: str, loss: LossConfig, *, discriminator_steps: int = 1, **parameters: Any) -> TrainConfig:
    """Return one of the three experiments of LaMa's follow-up, which differ in one thing each.

    Source: ``main.py``, ``data.py``, ``model.py``, ``loss.py`` and ``loss_wasserstein.py`` of
    nuniniyujin/lama_inpainting@51ded42. Batches of 8 whole photos of 256 pixels without augmentation, boxes and chains
    as masks, Adam with a rate of 0.001 for both networks, zero padding, and six tenths of the channels global.

    The source has two perceptual losses, of a dilated ResNet-50 with weight 30 and of VGG19 with weight 100; here they
    are one of VGG16. The layers of its residual blocks share their weights; these do not. Its critic has instance
    normalization; this one has none.
    """
    return TrainConfig(
        recipe=recipe,
        architecture="lama",
        hyper_parameters={"num_blocks": 9, "global_channels": 307, "zero_padding": True, **parameters},
        data=DataConfig(
            crop_size=256,
            min_scale=WHOLE_PHOTO,
            max_scale=WHOLE_PHOTO,
            flip=False,
            masks=("large-boxes", "chains"),
            val_masks=("large-boxes", "chains"),
            workers=4,
        ),
        loss=loss,
        optimization=dataclasses.replace(
            _LAMA_OPTIMIZATION,
            batch_size=8,
            discriminator_learning_rate=1e-3,
            discriminator_steps=discriminator_steps,
        ),
    )


_FOLLOW_UP_LOSS = dataclasses.replace(
    LAMA, known_l1=0.0, feature_matching=0.0, perceptual=130.0, discriminator_layers=3
)


def follow_up_baseline() -> TrainConfig:
    """The baseline of LaMa's follow-up, with LaMa's adversarial loss; see :func:`lama_spectral` for the source."""
    return _follow_up("follow-up-baseline", _FOLLOW_UP_LOSS)


def follow_up_spectral() -> TrainConfig:
    """:func:`follow_up_baseline` with spectral transforms from local to global channels."""
    return _follow_up("follow-up-spectral", _FOLLOW_UP_LOSS, spectral_l2g=True)


def follow_up_wgan() -> TrainConfig:
    """:func:`follow_up_baseline` with a Wasserstein loss and five steps of the critic to one of the network."""
    loss = dataclasses.replace(
        _FOLLOW_UP_LOSS, adversarial_kind="wasserstein", adversarial=1.0, r1=0.0, gradient_penalty=10.0
    )
    return _follow_up("follow-up-wgan", loss, discriminator_steps=5)


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "default": default,
    "default-textures": default_textures,
    "default-structure": default_structure,
    FINE_TUNE: fine_tune,
    FINE_TUNE_WITHOUT_LPIPS: fine_tune_without_lpips,
    "wavepaint-celebahq": wavepaint_celebahq,
    "wavepaint-imagenet": wavepaint_imagenet,
    "wavemix-stl10": wavemix_stl10,
    "cnn-stl10": cnn_stl10,
    "lama-places": lama_places,
    "lama-augmented": lama_augmented,
    "lama-wgan": lama_wgan,
    "lama-spectral": lama_spectral,
    "follow-up-baseline": follow_up_baseline,
    "follow-up-spectral": follow_up_spectral,
    "follow-up-wgan": follow_up_wgan,
}

ARCHITECTURES = tuple(dict.fromkeys(make().architecture for make in RECIPES.values()))
"""Names of the networks that recipes train, known without PyTorch."""


def get_recipe(name: str) -> TrainConfig:
    """Return the configuration of a recipe.

    Raises:
        ConfigError: There is no such recipe.
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: expected one of {', '.join(RECIPES)} (--recipe).")
    return RECIPES[name]()
