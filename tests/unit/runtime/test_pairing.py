"""Images are paired with masks by name, tree or list, and no two results have the same name."""

import json
from pathlib import Path

import pytest
from PIL import Image

from wavepaint.errors import ConfigError, ImageError, OutputError
from wavepaint.runtime.jobs import Job, check_jobs
from wavepaint.runtime.pairing import find_jobs, is_batch


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if Path(name).suffix in (".png", ".jpg"):
            Image.new("L", (4, 4)).save(name)
        else:
            Path(name).write_text("")


def pairs(jobs: list[Job]) -> list[tuple[str, str | None, str]]:
    found = []
    for job in jobs:
        image, *mask = (path.as_posix() for path in job.inputs)
        found.append((image, mask[0] if mask else None, job.outputs[0].as_posix()))
    return found


def test_folders_are_paired_by_name_and_the_tree_is_kept(tree: Path) -> None:
    make("i/a.jpg", "i/x/b.png", "i/x/c.png", "i/notes.txt", "i/.hidden.png")
    make("m/a.png", "m/x/b_mask.png", "m/x/c_mask000.png", "m/x/c_mask001.png", "m/a_mask_of_old.png")
    assert pairs(find_jobs("i", "m", Path("o"))) == [
        ("i/a.jpg", "m/a.png", "o/a.jpg"),
        ("i/x/b.png", "m/x/b_mask.png", "o/x/b.png"),
        ("i/x/c.png", "m/x/c_mask000.png", "o/x/c_mask000.png"),
        ("i/x/c.png", "m/x/c_mask001.png", "o/x/c_mask001.png"),
    ]


def test_one_folder_may_contain_images_and_masks(tree: Path) -> None:
    make("d/a.png", "d/a_mask000.png", "d/b.png", "d/b_mask.png")
    expected = [("d/a.png", "d/a_mask000.png", "o/a.png"), ("d/b.png", "d/b_mask.png", "o/b.png")]
    assert pairs(find_jobs("d", None, Path("o"))) == expected
    assert pairs(find_jobs("d", "d", Path("o"))) == expected


def test_one_mask_may_serve_all_images(tree: Path) -> None:
    make("i/a.jpg", "i/b.jpg", "i/mask.png")
    assert [job.mask for job in find_jobs("i", "i/mask.png", Path("o"))] == [Path("i/mask.png")] * 2


def test_patterns_reach_any_depth(tree: Path) -> None:
    make("i/a.jpg", "i/x/b.jpg", "i/x/c.png", "mask.png")
    found = find_jobs("i/**/*.jpg", "mask.png", Path("o"))
    assert [out for _, _, out in pairs(found)] == ["o/a.jpg", "o/x/b.jpg"]
    assert is_batch("i/*.jpg")
    assert not is_batch("i/a.jpg")
    Path("i/[1].jpg").write_bytes(Path("i/a.jpg").read_bytes())
    assert not is_batch("i/[1].jpg")  # a file of that very name


def test_the_tree_of_a_pattern_begins_above_its_first_wildcard(tree: Path) -> None:
    make("i/x/a.jpg", "m/x/a.png", "m/i/x/a.png")
    for folder in ("i", "./i", str(tree / "i")):
        for end in ("**/*.jpg", "*/a.jpg", "[x]/*"):
            ((image, mask, out),) = pairs(find_jobs(f"{folder}/{end}", "m", Path("o")))
            assert (Path(image), mask, out) == (Path(folder, "x/a.jpg"), "m/x/a.png", "o/x/a.jpg")
    assert pairs(find_jobs("i/x/?.jpg", "m/x", Path("o"))) == [("i/x/a.jpg", "m/x/a.png", "o/a.jpg")]
    assert pairs(find_jobs("[i]/x/a.jpg", "m", Path("o"))) == [("i/x/a.jpg", "m/i/x/a.png", "o/i/x/a.jpg")]
    make("b.jpg", "m/b.png")
    assert pairs(find_jobs("*.jpg", "m", Path("o"))) == [("b.jpg", "m/b.png", "o/b.jpg")]


def test_a_pattern_that_leads_up_after_a_wildcard_is_refused(tree: Path) -> None:
    make("i/x/a.jpg", "i/b.jpg", "m/b.png")
    with pytest.raises(ConfigError, match=r"i/\*/\.\./\*\.jpg has \.\. after a wildcard"):
        find_jobs("i/*/../*.jpg", "m", Path("o"))
    assert pairs(find_jobs("i/x/../*.jpg", "m", Path("o"))) == [("i/x/../b.jpg", "m/b.png", "o/b.jpg")]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_paths_in_a_list_are_relative_to_the_list(tree: Path, suffix: str) -> None:
    Path("l").mkdir()
    rows = [{"image": "a.jpg", "mask": "m/a.png"}, {"image": "../b.jpg", "mask": "m/b.png", "out": "deep/c.jpg"}]
    if suffix == ".csv":
        lines = ["image,mask,out", *(",".join([r["image"], r["mask"], r.get("out", "")]) for r in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    Path(f"l/list{suffix}").write_text("\n".join(lines) + "\n")
    assert pairs(find_jobs(f"l/list{suffix}", None, Path("o"))) == [
        ("l/a.jpg", "l/m/a.png", "o/a.jpg"),
        ("l/../b.jpg", "l/m/b.png", "o/deep/c.jpg"),
    ]


def test_an_image_without_a_mask_is_a_job_without_a_mask(tree: Path) -> None:
    make("i/a.jpg", "i/b.jpg", "m/a.png")
    assert pairs(find_jobs("i", "m", Path("o"))) == [("i/a.jpg", "m/a.png", "o/a.jpg"), ("i/b.jpg", None, "o/b.jpg")]


def test_earlier_results_below_the_images_are_not_filled_again(tree: Path) -> None:
    make("i/a.jpg", "i/out/a.jpg", "i/seen/a.png", "i/both/a.png", "m/a.png")
    jobs = find_jobs("i", "m", Path("i/out"), overlays=Path("i/seen"), comparisons=Path("i/both"))
    assert pairs(jobs) == [("i/a.jpg", "m/a.png", "i/out/a.jpg")]


@pytest.mark.parametrize("out", [".", "..", "i/../.", "o"])
def test_the_results_folder_may_contain_the_images_folder(tree: Path, out: str) -> None:
    make("i/x/a.jpg", "m/x/a.png")
    assert [image for image, _, _ in pairs(find_jobs("i", "m", Path(out)))] == ["i/x/a.jpg"]
    assert [image for image, _, _ in pairs(find_jobs("i/*/*.jpg", "m/x/a.png", Path(out)))] == ["i/x/a.jpg"]


def test_the_results_of_a_list_stay_in_the_results_folder(tree: Path) -> None:
    for name in ("../x.png", "a/../../x.png", str(tree / "x.png"), "..", ".", "a/.."):
        Path("l.jsonl").write_text(json.dumps({"image": "a.jpg", "mask": "m.png", "out": name}))
        with pytest.raises(OutputError, match=r"line 1 of l\.jsonl has the result .*--out"):
            find_jobs("l.jsonl", None, Path("o"))
    Path("l.jsonl").write_text('{"image": "..", "mask": "m.png"}')
    with pytest.raises(OutputError, match=r"line 1 of l\.jsonl has the result \.\."):
        find_jobs("l.jsonl", None, Path("o"))
    Path("l.jsonl").write_text('{"image": "a.jpg", "mask": "m.png", "out": "deep/../b/./c.png"}')
    assert pairs(find_jobs("l.jsonl", None, Path("o"))) == [("a.jpg", "m.png", "o/b/c.png")]


def test_images_that_cannot_be_paired_are_refused(tree: Path) -> None:
    make("i/a.jpg", "m/other.png", "empty/notes.txt")
    with pytest.raises(
        ImageError, match=r"none of the 1 images has a mask in m.*a\.png, a_mask\.png or a_mask000\.png"
    ):
        find_jobs("i", "m", Path("o"))
    with pytest.raises(ImageError, match="contains no image to fill"):
        find_jobs("empty", "m", Path("o"))
    with pytest.raises(ImageError, match="neither a mask nor a folder"):
        find_jobs("i", "nothing", Path("o"))


def check(images: str, masks: str | None, out: Path) -> None:
    check_jobs(find_jobs(images, masks, out), [Path(images)], overwrite=True, resume=False)


def test_results_of_one_name_and_results_over_sources_are_refused(tree: Path) -> None:
    make("i/a.jpg", "j/a.jpg", "m.png")
    Path("l.jsonl").write_text('{"image": "i/a.jpg", "mask": "m.png"}\n{"image": "j/a.jpg", "mask": "m.png"}\n')
    with pytest.raises(OutputError, match=r"would both become o/a\.jpg"):
        find_jobs("l.jsonl", None, Path("o"))
    make("k/a.png", "n/a.png")
    Path("n/a.bmp").touch()
    with pytest.raises(OutputError, match=r"k/a.png with the masks n/a.bmp and n/a.png would both become o/a\.png"):
        find_jobs("k", "n", Path("o"))
    for suffix in ("jpg", "png"):
        make(f"i/{suffix}/a.{suffix}")
        with pytest.raises(OutputError, match=rf"a\.{suffix} is one of the inputs"):
            check(f"i/{suffix}", "m.png", Path(f"i/{suffix}"))
    Path("l.csv").write_text("image,mask,out\ni/a.jpg,m.png,l.csv\n")
    with pytest.raises(OutputError, match=r"l\.csv is one of the inputs"):
        check("l.csv", None, Path())
