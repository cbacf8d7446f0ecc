"""A list of photos is CSV or JSON lines; what it has beyond images, masks and results is refused, not ignored."""

import json
import os
from pathlib import Path

import pytest

from wavepaint.errors import ImageError
from wavepaint.runtime.photo_list import read_rows


def read(path: Path, text: str | bytes) -> list[dict[str, str]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [row for _, row in read_rows(path)]


def test_a_list_is_split_only_at_line_ends(tmp_path: Path) -> None:
    name = "a\u2028b\x85c.jpg"
    lines = json.dumps({"image": name, "mask": "m.png"}, ensure_ascii=False)
    rows = read(tmp_path / "l.jsonl", lines + '\r\n\n{"image": "d.jpg", "mask": "m.png"}')
    assert [row["image"] for row in rows] == [name, "d.jpg"]
    rows = read(tmp_path / "l.csv", f'image,mask\n{name},m.png\n"d\n.jpg",m.png\n')
    assert [row["image"] for row in rows] == [name, "d\n.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "image,mask,out\na b.jpg,m.png,o.png\n",
        "out,mask,image\no.png,m.png,a b.jpg\n",
        "Image, Mask ,OUT\na b.jpg, m.png, o.png\n",
        "image;mask;out\na b.jpg;m.png;o.png\n",
        '"image"; "mask"; "out"\n"a b.jpg"; "m.png"; "o.png"\n',
        "image\tmask\tout\na b.jpg\tm.png\to.png\n",
        "\r\nimage,mask,out,,\r\na b.jpg,m.png,o.png,,\r\n,,\r\n\r\n",
        b"\xef\xbb\xbfimage,mask,out\na b.jpg,m.png,o.png\n",
    ],
)
def test_a_csv_may_be_written_as_spreadsheets_and_people_write_it(tmp_path: Path, text: str | bytes) -> None:
    assert read(tmp_path / "l.csv", text) == [{"image": "a b.jpg", "mask": "m.png", "out": "o.png"}]


def test_spaces_and_semicolons_of_names_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "l.csv", "image,mask\n a;b.jpg, m.png\n") == [{"image": " a;b.jpg", "mask": " m.png"}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "image\na.jpg\n", r"line 1 of .*l.csv is \['image'\]: expected the names of the columns, image"),
        ("l.csv", "a.jpg,m.png\n", r"line 1 of .*l.csv is \['a.jpg', 'm.png'\]: expected the names"),
        ("l.csv", " \n", r"line 1 of .*l.csv is \[' '\]: expected the names"),
        ("l.csv", "image,mask,output\n", "line 1 of .*l.csv has the unknown column 'output': expected image, mask and"),
        ("l.csv", "image,,mask\n", "line 1 of .*l.csv has the unknown column ''"),
        ("l.csv", "image,mask,Mask\n", "line 1 of .*l.csv names a column twice"),
        ("l.csv", "image,mask\na.jpg\n", "line 2 of .*l.csv does not name an image and a mask"),
        ("l.csv", "image,mask\na,b.jpg,m.png\n", "line 2 of .* has 3 fields, and the header 2 columns. Put .* quotes"),
        ("l.csv", "image,mask\na.jpg,m\0.png\n", r"line 2 of .*l.csv has 'm\\x00.png' where a file name is expected"),
        ("l.csv", f"image,mask\na.jpg,{'m' * 131_073}\n", "line 2 of .*l.csv is not CSV: field larger than"),
        ("l.csv", "image,mask\na.jpg,m.png\n".encode("utf-16"), "the list .*l.csv is not UTF-8 text: save it as UTF-8"),
        ("l.csv", b"image,mask\n\xe9.jpg,m.png\n", "the list .*l.csv is not UTF-8 text"),
        ("l.jsonl", "{broken\n", "line 1 of .*l.jsonl is not JSON"),
        ("l.jsonl", '["a.jpg"]\n', "line 1 of .*l.jsonl does not name an image and a mask"),
        ("l.jsonl", '{"image": "a", "mask": "m", "output": "o"}', "line 1 of .*l.jsonl has the unknown column 'ou"),
        ("l.jsonl", '{"image": "\\ud800.jpg", "mask": "m.png"}\n', r"line 1 of .*l.jsonl has '\\ud800.jpg' where"),
        ("l.jsonl", '{"image": "a.jpg", "mask": ["m.png"]}\n', "line 1 of .*l.jsonl has .* where a file name"),
        ("l.jsonl", '{"image": "a.jpg", "mask": "m.png", "out": 5}\n', "line 1 of .*l.jsonl has 5 where a file name"),
        ("l.jsonl", "[" * 100_000, "line 1 of .*l.jsonl is not JSON"),
    ],
)
def test_broken_lists_are_refused(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read(tmp_path / name, text)
    assert len(str(caught.value).splitlines()) == 1


def test_a_list_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"the list .*none\.csv does not exist"):
        next(read_rows(tmp_path / "none.csv"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_list_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "l.csv")
    with pytest.raises(ImageError, match=r"the list .*l\.csv is neither a file nor a folder"):
        next(read_rows(tmp_path / "l.csv"))
