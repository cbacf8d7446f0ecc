"""The training data set: a sample depends only on the seed and its number, and broken photos are replaced."""

import hashlib
import os
import pickle
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from tests.photo_folder import write_photos
from wavepaint.data.augment import Augmentation
from wavepaint.data.masks import MaskSampler
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import ConfigError, TrainingError, WavePaintWarning
from wavepaint.training import data_module
from wavepaint.training.config import TrainConfig
from wavepaint.training.crops import RandomCrops, find_cache_bytes, probe_sizes, read_batches, to_float
from wavepaint.training.data_config import DataConfig
from wavepaint.training.distributed import DistributedContext
from wavepaint.training.loss_config import LossConfig
from wavepaint.training.optimization_config import OptimizationConfig

PLAIN = Augmentation(crop_size=64, min_scale=0.25, max_scale=1.0)
FULL = Augmentation(crop_size=48, min_scale=0.5, max_scale=1.0, colour=0.2, perspective=0.06)
MASKS = MaskSampler(("squares",))
MASKS_OF_EARLIER_RUNS = MaskSampler(("thin", "medium"))


class Dying(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set whose process is killed, as happens when memory runs out."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def source(folder: Path) -> PhotoSource:
    return open_source(folder)


def make_crops(
    source: PhotoSource,
    augmentation: Augmentation = PLAIN,
    masks: MaskSampler = MASKS,
    *,
    seed: int = 0,
    workers: int = 0,
    max_broken: int = 100,
) -> RandomCrops:
    return RandomCrops(
        source, source.names, augmentation, masks, seed=seed, num_samples=40, workers=workers, max_broken=max_broken
    )


def hash_samples(crops: RandomCrops, numbers: range) -> str:
    digest = hashlib.sha256()
    for number in numbers:
        for tensor in crops[number]:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def test_samples_are_bytes_of_a_crop_and_its_mask(source: PhotoSource) -> None:
    crops = make_crops(source)
    image, mask = crops[7]
    assert (image.shape, image.dtype) == ((3, 64, 64), torch.uint8)
    assert (mask.shape, mask.dtype) == ((1, 64, 64), torch.uint8)
    assert set(mask.unique().tolist()) == {0, 1}
    assert len(crops) == 40
    image_f, mask_f = to_float(image[None], mask[None])
    assert (image_f.dtype, mask_f.dtype) == (torch.float32, torch.float32)
    assert torch.equal(image_f, image[None] / 255)
    assert torch.equal(mask_f, mask[None].float())
    layout = torch.channels_last
    nhwc = to_float(image[None].contiguous(memory_format=layout), mask[None])[0]
    assert nhwc.is_contiguous(memory_format=layout)


def test_plain_samples_equal_those_of_earlier_runs(source: PhotoSource) -> None:
    assert list(source.names) == ["a.png", "b.png", "deep/c.png", "deep a.png"]
    assert hash_samples(make_crops(source, masks=MASKS_OF_EARLIER_RUNS), range(12)) == "dbd429fc6b817631"


@pytest.mark.parametrize("augmentation", [PLAIN, FULL])
def test_samples_depend_only_on_seed_and_number(source: PhotoSource, augmentation: Augmentation) -> None:
    crops, again = make_crops(source, augmentation), make_crops(source, augmentation)
    backwards = {number: again[number] for number in reversed(range(12))}
    for number in range(12):
        for tensor, expected in zip(backwards[number], crops[number], strict=True):
            assert torch.equal(tensor, expected)
    other = make_crops(source, augmentation, seed=1)
    assert not any(torch.equal(other[number][0], crops[number][0]) for number in range(12))


def test_samples_are_the_same_for_any_number_of_workers(source: PhotoSource) -> None:
    def load(workers: int, first: int = 0) -> list[torch.Tensor]:
        crops = Subset(make_crops(source, FULL, workers=workers), range(first, 20))
        return [tensor for batch in DataLoader(crops, batch_size=4, num_workers=workers) for tensor in batch]

    expected = load(0)
    assert len(expected) == 10
    for workers in (1, 2):
        assert all(torch.equal(a, b) for a, b in zip(load(workers), expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(load(2, first=8), expected[4:], strict=True))


def test_dataset_can_be_pickled(source: PhotoSource) -> None:
    crops = make_crops(source, FULL)
    again = pickle.loads(pickle.dumps(crops))
    for number in (0, 9):
        assert all(torch.equal(a, b) for a, b in zip(again[number], crops[number], strict=True))


def test_every_photo_appears_before_any_appears_twice(source: PhotoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = make_crops(source)
    seen: list[int] = []
    load = crops._load_photo
    monkeypatch.setattr(crops, "_load_photo", lambda place: seen.append(place) or load(place))
    for number in range(12):
        crops[number]
    orders = [tuple(seen[first : first + 4]) for first in (0, 4, 8)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 1


def test_decoded_photos_are_cached(source: PhotoSource, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    decode = type(source).read
    monkeypatch.setattr(type(source), "read", lambda self, name: read.append(name) or decode(self, name))
    crops = make_crops(source)
    for number in range(12):
        crops[number]
    assert sorted(read) == sorted(source.names)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_cache_respects_the_memory_limit_of_all_processes(
    workers: int, source: PhotoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow stores RGB in four bytes per pixel."""
    limit = 2 * 4 * 200 * 150 * max(workers, 1)
    monkeypatch.setattr("wavepaint.training.crops.find_cache_bytes", lambda: limit)
    crops = make_crops(source, workers=workers)
    for number in range(12):
        crops[number]
    num_bytes = sum(len(photo.tobytes("raw", "RGBX")) for photo in crops._cache.values())
    assert 0 < num_bytes <= limit / max(workers, 1)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [(None, 2 << 30), (4 << 30, 2 << 30), (16 << 30, 2 << 30), (128 << 30, 16 << 30)],
    ids=["unknown", "4 GiB", "16 GiB", "128 GiB"],
)
def test_the_cache_limit_follows_the_memory_of_a_large_machine(
    memory: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavepaint.training.crops.find_memory_bytes", lambda: memory)
    assert find_cache_bytes() == expected


def test_processes_of_a_machine_share_the_cache_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(
        recipe="test",
        data=DataConfig(crop_size=64, val_size=64, masks=("squares",), val_masks=("squares",), workers=0),
        loss=LossConfig(mae=1.0),
        optimization=OptimizationConfig(batch_size=4, steps=1),
    )
    sharers: list[int] = []

    def note(*arguments: Any, workers: int, **more: Any) -> RandomCrops:
        sharers.append(workers)
        return RandomCrops(*arguments, workers=workers, **more)

    monkeypatch.setattr(data_module, "RandomCrops", note)
    for context in (DistributedContext(), DistributedContext(size=2, local_size=2)):
        data = data_module.DataModule(config, folder, folder)
        next(data.iterate_batches(context, torch.device("cpu"), first_step=0, total_steps=1))
    assert sharers == [1, 2]


@pytest.fixture
def half_broken(folder: Path, tmp_path: Path) -> PhotoSource:
    for name in ("a.png", "b.png", "deep a.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for name in ("x.png", "y.jpg", "z.png"):
        (tmp_path / name).write_bytes((folder / "a.png").read_bytes()[:3000])
    return open_source(tmp_path)


def test_broken_photos_are_reported_once_and_replaced(half_broken: PhotoSource) -> None:
    crops = make_crops(half_broken)
    with pytest.warns(WavePaintWarning, match="skipped: .* cannot be decoded") as caught:
        samples = [crops[number] for number in range(18)]
    assert len(samples) == 18
    messages = [str(warning.message) for warning in caught]
    assert sorted(text.split(" cannot")[0][-5:] for text in messages) == ["x.png", "y.jpg", "z.png"]


def test_broken_photos_are_reported_once_for_all_workers(
    half_broken: PhotoSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(message: Warning | str, *place: object) -> None:
        with (tmp_path / "messages.txt").open("a") as file:
            file.write(f"{message}\n")

    monkeypatch.setattr(warnings, "showwarning", record)
    warnings.simplefilter("always")
    loader = DataLoader(make_crops(half_broken, workers=1), batch_size=4, num_workers=1)
    for _ in range(2):  # the loader starts its process anew each time
        assert sum(len(image) for image, _ in loader) == 40
    messages = (tmp_path / "messages.txt").read_text()
    for name in ("x.png", "y.jpg", "z.png"):
        assert messages.count(f"{name} cannot be decoded") == 1


@pytest.mark.filterwarnings("ignore:skipped")
def test_too_many_broken_photos_end_the_run(half_broken: PhotoSource) -> None:
    crops = make_crops(half_broken, max_broken=2)
    with pytest.raises(TrainingError, match="3 of 6 training photos .*--max-broken .2."):
        for number in range(6):
            crops[number]


@pytest.mark.filterwarnings("ignore:skipped")
@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_loader_processes_have_one_line(half_broken: PhotoSource, workers: int) -> None:
    loader = DataLoader(make_crops(half_broken, workers=workers, max_broken=0), batch_size=4, num_workers=workers)
    with pytest.raises(TrainingError) as caught:
        list(read_batches(loader))
    assert str(caught.value).startswith("1 of 6 training photos cannot be decoded, more than --max-broken (0)")
    assert "\n" not in str(caught.value)


def test_dead_loader_process_is_reported_in_one_line() -> None:
    loader = DataLoader(Dying(), batch_size=1, num_workers=1)
    with pytest.raises(TrainingError, match="a loader process died .*try fewer --workers"):
        list(read_batches(loader))


def test_only_broken_photos_fail_before_training(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"no photo")
    with pytest.raises(TrainingError, match="none of 2 training photos can be decoded"):
        make_crops(open_source(tmp_path))


def test_photos_smaller_than_the_crop_are_enlarged_with_a_warning(source: PhotoSource) -> None:
    large = Augmentation(crop_size=400, min_scale=0.25, max_scale=1.0)
    with pytest.warns(WavePaintWarning, match="4 of 4 sampled photos are smaller than the crop of 400 .*--crop-size"):
        crops = make_crops(source, large)
    assert crops[0][0].shape == (3, 400, 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe_sizes(source, source.names, 64)


@pytest.mark.parametrize("changes", [{"seed": -1}, {"num_samples": -1}, {"workers": -1}, {"max_broken": -1}])
def test_negative_numbers_are_refused(source: PhotoSource, changes: dict[str, int]) -> None:
    values = {"seed": 0, "num_samples": 1, "workers": 0, "max_broken": 0, **changes}
    with pytest.raises(ConfigError, match="is -1: expected 0 or more"):
        RandomCrops(source, source.names, PLAIN, MASKS, **values)
    with pytest.raises(TrainingError, match="leaves no photo"):
        RandomCrops(source, (), PLAIN, MASKS, seed=0, num_samples=1, workers=0)
