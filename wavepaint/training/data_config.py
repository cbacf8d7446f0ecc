"""Settings of a training run: photos, crops, masks and validation."""

from dataclasses import dataclass

from wavepaint.data.masks import ALL_KINDS, parse_kind
from wavepaint.errors import ConfigError
from wavepaint.training.settings import check_settings, make_error, setting


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Photos, crops and masks."""

    crop_size: int = setting(
        256,
        "Side of the square crops that the network trains on. Larger crops show more around a hole and need more "
        "memory.",
        least=1,
        heading="Crops",
        placeholder="PIXELS",
    )
    min_scale: float = setting(
        0.25,
        "Smallest factor by which a photo is scaled before it is cropped. No photo becomes smaller than the crop.",
        above=0,
        placeholder="FACTOR",
        only_inpainting=True,
    )
    max_scale: float = setting(
        1.0,
        "Largest factor by which a photo is scaled before it is cropped.",
        placeholder="FACTOR",
        only_inpainting=True,
    )
    flip: bool = setting(True, "Mirror half of the crops, chosen at random, left to right.")
    colour: float = setting(
        0.0,
        "Largest random change of brightness and contrast, as a share; saturation and hue change less. LaMa uses 0.2; "
        "0 changes no colour.",
        least=0,
        placeholder="SHARE",
    )
    perspective: float = setting(
        0.0,
        "Largest random move of each corner of a crop, as a share of its side. LaMa uses 0.02 and 0.06; 0 moves none.",
        least=0,
        placeholder="SHARE",
    )
    rotation: float = setting(
        0.0,
        "Largest rotation of half of the crops, in degrees. LaMa uses 40; 0 rotates none.",
        least=0,
        placeholder="DEGREES",
    )
    shear: float = setting(
        0.0, "Largest shear of these crops, in degrees. LaMa uses 0.1; 0 shears none.", least=0, placeholder="DEGREES"
    )
    lens: float = setting(
        0.0,
        "Largest coefficient of a lens distortion of half of the crops. LaMa uses 0.05; 0 distorts none.",
        least=0,
        placeholder="COEFFICIENT",
    )
    local_contrast: float = setting(
        0.0,
        "Share of the crops whose local contrast is raised (CLAHE). LaMa uses 0.5; 0 raises none.",
        least=0,
        placeholder="SHARE",
    )
    workers: int = setting(
        1,
        "Processes that load photos. Raise it if the log reports time spent waiting for photos. 0 loads them in the "
        "training process.",
        least=0,
    )
    max_broken: int = setting(
        100, "Stop after more than this many photos that cannot be decoded; until then they are skipped.", least=0
    )
    masks: tuple[str, ...] = setting(
        ("thin", "medium", "thick"),
        f"Mask kinds to train on, separated by commas: {', '.join(ALL_KINDS)}. Each is equally likely, unless "
        "weighted: thin:2,medium:1. thick@256 is drawn at 256 pixels and scaled to the crop.",
        heading="Masks",
        placeholder="KINDS",
        only_inpainting=True,
    )
    silhouettes: str = setting(
        "",
        "Folder of cut-outs, transparent around the object or white on black, for the mask kind silhouettes.",
        placeholder="FOLDER",
        only_inpainting=True,
    )
    val_fraction: float = setting(
        0.05,
        "Share of the photos held out for validation, unless --val-data is given.",
        above=0,
        below=1,
        heading="Validation",
        placeholder="SHARE",
    )
    val_size: int = setting(
        256, "Side of the validation images, which are cropped in the middle.", least=1, placeholder="PIXELS"
    )
    val_masks: tuple[str, ...] = setting(
        ("medium",),
        "Mask kinds to validate on, written like --masks. Every validation uses the same masks.",
        placeholder="KINDS",
        only_inpainting=True,
    )
    val_images: int = setting(
        512, "Largest number of photos to validate on. Fewer are faster, more are more reliable.", least=1
    )
    test_fraction: float = setting(
        0.0,
        "Share of the photos to keep for a test. Training never reads them; split.json lists them, and wp eval "
        "--held-out measures them.",
        least=0,
        placeholder="SHARE",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.max_scale < self.min_scale:
            raise make_error(self, "max_scale", f"at least --min-scale ({self.min_scale})")
        if self.test_fraction >= 1 - self.val_fraction:
            raise make_error(self, "test_fraction", "a share that leaves photos to train on")
        for name in ("masks", "val_masks"):
            if not getattr(self, name):
                raise make_error(self, name, f"one or more of {', '.join(ALL_KINDS)}")
        kinds = [parse_kind(text).kind for text in (*self.masks, *self.val_masks)]
        if "silhouettes" in kinds and not self.silhouettes:
            raise ConfigError("mask kind silhouettes needs a folder of cut-outs: add --silhouettes FOLDER.")
