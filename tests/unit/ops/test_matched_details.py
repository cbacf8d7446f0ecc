"""Matched details: they equal their definition, copy what continues the photograph, and never leave the hole."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wavepaint.errors import ImageError
from wavepaint.ops import matched_details
from wavepaint.ops.initial_fill import fill_levels
from wavepaint.ops.matched_details import (
    BLOCK_SIDE,
    COARSE_LEVEL,
    COARSE_REACH,
    COARSE_STEPS,
    DETAIL_GAIN,
    FINE_LEVEL,
    FINE_REACH,
    FINE_STEPS,
    PURITY,
    SHARPNESS,
    SOFTNESS,
    match_details,
)
from wavepaint.ops.shifted_details import shift_details

Array = npt.NDArray[np.float64]


def match(image_NCHW: Tensor, mask_N1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the initial fill and the matched detail."""
    fills = fill_levels(image_NCHW, mask_N1HW, 5)
    shifted = shift_details(fills[0], fills[4], mask_N1HW, 16)
    return fills[0], match_details(fills, mask_N1HW, shifted)


def enlarge(cells_N1hw: Tensor) -> Tensor:
    """Return a mask in which each cell has 8x8 pixels."""
    return F.interpolate(cells_N1hw.float(), scale_factor=8)


class GridByDefinition:
    """One level for one image, (C, H, W): windows and patches are taken, compared and moved one by one."""

    def __init__(
        self, fills: list[Array], start: Array, hole: Array, level: int, reach: int, steps: tuple[int, ...]
    ) -> None:
        self.scale = scale = 2**level
        self.steps = np.array(steps)
        self.side, self.reach = BLOCK_SIDE // scale, reach
        self.height, self.width = hole.shape[0] // scale, hole.shape[1] // scale
        shares = hole.reshape(self.height, scale, self.width, scale).mean((1, 3))
        means = start.reshape(3, self.height, scale, self.width, scale).mean((2, 4))
        self.unknown = shares == 1
        self.cells = np.where(self.unknown, means, fills[level])
        outside = np.pad(shares, 1, constant_values=1)
        self.purity = {(y, x): 1 - outside[y : y + 3, x : x + 3].mean() for y, x in self.places()}

    def places(self) -> list[tuple[int, int]]:
        return list(np.ndindex(self.height, self.width))

    def move(self, cells: Array, parts: dict[tuple[int, int], Array]) -> dict[tuple[int, int], Array]:
        """Return how each part changes where it is replaced by the weighted mean of its sources."""
        rows, columns = (np.arange(side)[:, None] + self.steps for side in (self.height, self.width))
        rows, columns = rows.clip(0, self.height - 1), columns.clip(0, self.width - 1)
        windows = {(y, x): cells[:, rows[y]][:, :, columns[x]] for y, x in self.places()}
        moved = {}
        for place in self.places():
            block = [side // self.side for side in place]
            sources = [
                source
                for source in self.places()
                if all(abs(side // self.side - own) <= self.reach for side, own in zip(source, block, strict=True))
            ]
            likeness = np.array([((windows[source] - windows[place]) ** 2).mean() + SOFTNESS for source in sources])
            purity = np.array([self.purity[source] for source in sources])
            weights = (likeness.min() / likeness) ** SHARPNESS * (purity + 1e-6) ** PURITY
            weights *= np.minimum(3 * purity, 1) / weights.sum()
            moved[place] = sum(w * (parts[source] - parts[place]) for w, source in zip(weights, sources, strict=True))
        return moved

    def vote(self, cells: Array) -> Array:
        padded = np.pad(cells, ((0, 0), (1, 1), (1, 1)), mode="edge")
        windows = {(y, x): padded[:, y : y + 3, x : x + 3] for y, x in self.places()}
        moved = self.move(cells, windows)
        voted = cells.copy()
        for y, x in zip(*np.nonzero(self.unknown), strict=True):
            votes = []
            for down, right in np.ndindex(3, 3):
                # Beyond the border, the nearest window takes part once more.
                place = (np.clip(y + 1 - down, 0, self.height - 1), np.clip(x + 1 - right, 0, self.width - 1))
                votes.append((windows[place] + moved[place])[:, down, right])
            voted[:, y, x] = np.mean(votes, axis=0)
        return voted

    def move_patches(self, image: Array, cells: Array) -> Array:
        half, size = self.scale // 2, 2 * self.scale
        padded = np.pad(image, ((0, 0), (half, half), (half, half)), mode="edge")
        slices = {
            (y, x): (slice(y * self.scale, y * self.scale + size), slice(x * self.scale, x * self.scale + size))
            for y, x in self.places()
        }
        moved = self.move(cells, {place: padded[:, rows, columns] for place, (rows, columns) in slices.items()})
        ramp = np.sin((np.arange(size) + 0.5) * np.pi / size) ** 2
        window = np.outer(ramp, ramp)
        total, weight = np.zeros_like(padded), np.zeros_like(padded[0])
        for place, (rows, columns) in slices.items():
            total[:, rows, columns] += moved[place] * window
            weight[rows, columns] += window
        return (total / weight)[:, half:-half, half:-half]


def match_by_definition(fills: list[Array], shifted: Array, hole: Array) -> Array:
    start = fills[0] + DETAIL_GAIN * (shifted[:3] + shifted[3:])
    coarse = GridByDefinition(fills, start, hole, COARSE_LEVEL, COARSE_REACH, COARSE_STEPS)
    fine = GridByDefinition(fills, start, hole, FINE_LEVEL, FINE_REACH, FINE_STEPS)
    halved = fine.cells.reshape(3, fine.height // 2, 2, fine.width // 2, 2).mean((2, 4))
    change = torch.from_numpy(coarse.vote(coarse.cells) - halved)[None]
    enlarged = F.interpolate(change, scale_factor=2, mode="bilinear")[0].numpy()
    cells = fine.vote(fine.cells + fine.unknown * enlarged)
    return fine.move_patches(fills[0], cells) * hole


def test_a_matched_detail_equals_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 16, 24, generator=generator, dtype=torch.float64), size=(128, 192))
    mask = torch.zeros(1, 1, 128, 192, dtype=torch.float64)
    mask[:, :, 40:90, 60:110] = 1
    mask[:, :, 100:, 150:165] = 1
    fills = fill_levels(image, mask, 5)
    shifted = shift_details(fills[0], fills[4], mask, 16)
    expected = match_by_definition([fill[0].numpy() for fill in fills], shifted[0].numpy(), mask[0, 0].numpy())
    np.testing.assert_allclose(match_details(fills, mask, shifted)[0].numpy(), expected, atol=1e-10)


def test_a_repeated_pattern_is_continued() -> None:
    """The stripes recur after 24 pixels, which is a whole number of cells."""
    columns = torch.arange(192)
    image = (0.3 + 0.4 * (columns // 12 % 2).float()).expand(1, 3, 192, 192).contiguous()
    mask = torch.zeros(1, 1, 192, 192)
    mask[:, :, 72:104, 72:104] = 1
    initial_fill, matched = match(image, mask)
    hole = mask.expand_as(image) > 0
    before, after = ((x - image)[hole].square().mean().sqrt() for x in (initial_fill, initial_fill + matched))
    assert after < before / 4


def test_without_a_known_source_nothing_is_moved() -> None:
    image = torch.rand(1, 3, 320, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, 320, 64)
    mask[:, :, :4] = 0
    _, matched = match(image, mask)
    # The block above has no source in reach. Patches extend beyond their block by 4 pixels.
    assert not matched[:, :, 2 * BLOCK_SIDE + 4 :].any()
    assert not match(image, torch.ones_like(mask))[1].any()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_nothing_goes_outside_the_hole_or_comes_from_inside_it(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    image, other = torch.rand(2, 1, 3, 64, 128, generator=generator)
    mask = enlarge(torch.rand(1, 1, 8, 16, generator=generator) < share)
    _, matched = match(image, mask)
    assert not matched[(mask == 0).expand_as(matched)].any()
    assert matched.isfinite().all()
    assert torch.equal(match(torch.where(mask > 0, other, image), mask)[1], matched)


def test_each_image_of_a_batch_is_filled_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 128, 64, generator=generator)
    mask = enlarge(torch.rand(2, 1, 16, 8, generator=generator) < 0.4)
    together = match(image, mask)[1]
    for n in range(2):
        # 1e-5: float32 matrix products of another shape add in another order.
        torch.testing.assert_close(together[n : n + 1], match(image[n : n + 1], mask[n : n + 1])[1], atol=1e-5, rtol=0)


def test_recorded_operations_search_every_block_and_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = torch.rand(2, 3, 128, 192), torch.zeros(2, 1, 128, 192)
    mask[0, :, 40:60, 50:90] = 1
    _, expected = match(image, mask)
    searched: list[int] = []
    put = matched_details.put_cells

    def note(x_ABD: Tensor, *others: Any) -> Tensor:
        searched.append(len(x_ABD))
        return put(x_ABD, *others)

    monkeypatch.setattr(matched_details, "put_cells", note)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    _, found = match(image, mask)
    assert set(searched) == {2 * (128 // BLOCK_SIDE) * (192 // BLOCK_SIDE)}
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)  # larger products sum in another order


def test_float32_is_as_exact_as_the_differences_themselves() -> None:
    """Products of windows that match would lose 1e-4 without the exact part of each colour."""
    generator = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 16, 16, generator=generator, dtype=torch.float64), size=(192, 192))
    mask = torch.zeros(1, 1, 192, 192, dtype=torch.float64)
    mask[:, :, 60:130, 70:120] = 1
    torch.testing.assert_close(match(image.float(), mask.float())[1].double(), match(image, mask)[1], atol=1e-5, rtol=0)


def test_half_precision_is_rounded_only_at_the_end() -> None:
    """Half of the logits' digits would choose other sources."""
    image = enlarge(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))).half()
    mask = torch.zeros(1, 1, 128, 128).half()
    mask[:, :, 40:90, 50:80] = 1
    fills = fill_levels(image, mask, 5)
    shifted = shift_details(fills[0], fills[4], mask, 16)
    expected = match_details([fill.float() for fill in fills], mask.float(), shifted.float())
    found = match_details(fills, mask, shifted)
    assert found.dtype == torch.float16
    assert torch.equal(found, expected.half())


def test_autocast_computes_in_float32() -> None:
    """Training in bfloat16 would choose other sources than the exported network."""
    image = enlarge(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros(1, 1, 128, 128)
    mask[:, :, 40:90, 50:80] = 1
    fills = fill_levels(image, mask, 5)
    shifted = shift_details(fills[0], fills[4], mask, 16)
    expected = match_details(fills, mask, shifted)
    with torch.autocast("cpu", torch.bfloat16):
        assert (image @ image).dtype == torch.bfloat16
        found = match_details(fills, mask, shifted)
        assert (image @ image).dtype == torch.bfloat16  # autocast goes on behind it
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("size", "num_levels"), [((96, 64), 5), ((64, 100), 5), ((64, 64), 3)], ids=str)
def test_other_sizes_and_too_few_levels_are_named(size: tuple[int, int], num_levels: int) -> None:
    image, mask = torch.zeros(1, 3, *size), torch.zeros(1, 1, *size)
    fills = fill_levels(image, mask, num_levels)
    with pytest.raises(ImageError, match="multiples of 64 pixels, and at least 4 halvings"):
        match_details(fills, mask, torch.zeros(1, 6, *size))


class _FindSubnormals(TorchDispatchMode):
    """Counts the values between 0 and the smallest normal float32 that operators return."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.dtype == torch.float32:
            size = output.abs()
            self.count += int(((size > 0) & (size < torch.finfo(torch.float32).tiny)).sum())
        return output


def test_no_value_is_so_small_that_processors_become_slow(photo: npt.NDArray[np.uint8]) -> None:
    """With them, ONNX Runtime took four times as long for a photograph as for noise."""
    image = torch.from_numpy(photo[:192, :256].copy()).permute(2, 0, 1)[None].float() / 255
    mask = torch.zeros(1, 1, 192, 256)
    mask[:, :, 40:150, 60:200] = 1
    fills = fill_levels(image, mask, 5)
    shifted = shift_details(fills[0], fills[4], mask, 16)
    with _FindSubnormals() as found:
        match_details(fills, mask, shifted)
    assert found.count == 0
