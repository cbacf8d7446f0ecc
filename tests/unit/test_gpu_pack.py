"""Packing for a GPU host without a network: pieces, hashes, nothing outside its folder, nothing half unpacked."""

import importlib.metadata
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import packing
from benchmarks.gpu.packing import ARCHIVES, pack, read_versions
from benchmarks.gpu.pieces import MANIFEST, PackError, read_manifest
from benchmarks.gpu.unpacking import export_lines, unpack
from tests.conftest import REPOSITORY

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def write_wheel(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Wheels of every archive; those of ``rtx`` do not compress, so that they make several pieces."""
    folder = tmp_path / "wheels"
    write_wheel(folder / "wavelets" / "pywt.whl", {"pywt.py": b"w = 0"})
    write_wheel(folder / "base" / "first.whl", {"first/__init__.py": b"x = 1", "first.data/purelib/more.py": b"y = 2"})
    write_wheel(folder / "base" / "tool.whl", {"tool.data/scripts/tool": b"#!", "tool.py": b"z = 3"})
    write_wheel(folder / "tools" / "pytest.whl", {"pytest.py": b""})
    noise = b"".join(bytes([(i * i * 2654435761 >> 7) % 251]) for i in range(60_000))
    write_wheel(folder / "rtx" / "libs.whl", {"tensorrt_rtx_libs/lib.so.1": noise})
    return folder


@pytest.fixture
def packed(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packing, "MEGABYTE", 100)  # pieces of 4000 bytes
    pack(tmp_path / "pack", python=HERE, light=False, wheels=wheels)
    return tmp_path / "pack"


def test_archives_come_in_pieces_of_a_largest_size_the_useful_ones_first(packed: Path) -> None:
    python, archives = read_manifest(packed)
    assert python == HERE
    assert [archive.name for archive in archives] == ["wavelets", "base", "tools", "rtx"]
    assert len(archives[0].pieces) == 1
    assert len(archives[3].pieces) > 1
    pieces = [piece for archive in archives for piece in archive.pieces]
    assert {path.name for path in packed.iterdir()} == {MANIFEST, *(piece.name for piece in pieces)}
    assert all((packed / piece.name).stat().st_size == piece.num_bytes <= 4000 for piece in pieces)


def test_the_same_wheels_make_the_same_archives(packed: Path, wheels: Path, tmp_path: Path) -> None:
    pack(tmp_path / "again", python=HERE, light=False, wheels=wheels)
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (packed / MANIFEST).read_bytes()


def test_unpacked_packages_are_found_by_the_printed_lines(packed: Path, tmp_path: Path) -> None:
    site = tmp_path / "a site"
    names = unpack(packed, site)
    assert names == ["wavelets", "base", "tools", "rtx"]
    code = "import first, more, tool, os; print(first.x + more.y + tool.z, os.environ['LD_LIBRARY_PATH'])"
    script = f"{export_lines(site, names)}\n'{sys.executable}' -c \"{code}\""
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert result.stdout.split(maxsplit=1) == ["6", f"{site / 'rtx' / 'tensorrt_rtx_libs'}\n"]
    assert not (site / "base" / "tool").exists()  # scripts are left out


def test_the_hosts_own_packages_come_first_and_are_told(
    packed: Path, wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interpreter stands in for the host; it has NumPy, and the pack another of that name."""
    fake = {"numpy/__init__.py": b"", "only_packed.py": b"", "numpy-0.0.1.dist-info/METADATA": b"Name: numpy"}
    write_wheel(wheels / "base" / "numpy-0.0.1-py3-none-any.whl", fake)
    pack(tmp_path / "mixed", python=HERE, light=True, wheels=wheels)
    site = tmp_path / "site"
    names = unpack(tmp_path / "mixed", site)
    own = importlib.metadata.version("numpy")
    assert f"base: the host's own come first: numpy {own} (packed: 0.0.1)" in capsys.readouterr().err
    code = "import numpy, only_packed; print(numpy.__version__)"
    script = f"{export_lines(site, names)}\n'{sys.executable}' -c \"{code}\""
    result = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert result.stdout.strip() == own


def test_pieces_may_come_one_after_another(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = sorted(packed.glob("4-rtx*"))[-1]
    late.rename(tmp_path / late.name)
    assert unpack(packed, tmp_path / "site") == ["wavelets", "base", "tools"]
    assert f"left out: rtx, of which {late.name} is not in" in capsys.readouterr().err
    assert not (tmp_path / "site" / "rtx").exists()
    with pytest.raises(PackError, match="rtx is not whole in .*, and it is needed"):
        unpack(packed, tmp_path / "site", required=["rtx"])
    untouched = (tmp_path / "site" / "base" / "tool.py").stat().st_mtime_ns
    (tmp_path / late.name).rename(late)
    assert unpack(packed, tmp_path / "site", required=["rtx"]) == ["wavelets", "base", "tools", "rtx"]
    assert (tmp_path / "site" / "base" / "tool.py").stat().st_mtime_ns == untouched


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"?"])
def test_a_damaged_piece_is_told_and_leaves_nothing(packed: Path, tmp_path: Path, damage: object) -> None:
    piece = packed / "2-base.tar.xz.00"
    piece.write_bytes(damage(piece.read_bytes()))  # type: ignore[operator]
    with pytest.raises(PackError, match=r"2-base.tar.xz.00 is damaged: .* Copy it again"):
        unpack(packed, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["wavelets"]  # the archive before it


def test_names_that_lead_out_of_the_folder_are_refused_by_both_sides(
    packed: Path, tmp_path: Path, wheels: Path
) -> None:
    write_wheel(wheels / "base" / "evil.whl", {"../evil.py": b""})
    with pytest.raises(PackError, match=r"'../evil.py', which leads out of its folder"):
        pack(tmp_path / "other", python=HERE, light=True, wheels=wheels)
    assert not (tmp_path / "other").exists()
    manifest = json.loads((packed / MANIFEST).read_text())
    manifest["archives"][0]["pieces"][0]["name"] = "../2-base"
    (packed / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(PackError, match="no plain file name"):
        unpack(packed, tmp_path / "site")


LINK, FIFO = tarfile.SYMTYPE, tarfile.FIFOTYPE


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, b"0") for name in ("../evil.py", "/{}/evil.py", "a/../../evil.py")), ("evil.py", LINK), ("evil", FIFO)],
)
def test_an_archive_of_another_program_with_more_than_plain_files_is_refused(
    name: str, kind: bytes, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = tarfile.TarFile.addfile

    def add_evil(tar: tarfile.TarFile, entry: tarfile.TarInfo, content: Any = None) -> None:
        if entry.name == "tool.py":
            entry.name, entry.type = name.format(tmp_path), kind
            if kind != b"0":
                entry.size, entry.linkname, content = 0, str(tmp_path / "elsewhere"), None
        add(tar, entry, content)

    monkeypatch.setattr(tarfile.TarFile, "addfile", add_evil)
    pack(tmp_path / "evil", python=HERE, light=True, wheels=wheels)
    with pytest.raises(PackError, match="cannot be unpacked .*evil.* is no plain file below its folder"):
        unpack(tmp_path / "evil", tmp_path / "site")
    assert not list(tmp_path.rglob("evil.py"))
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["wavelets"]  # the archive before it


def test_what_cannot_be_unpacked_says_why(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="exists already"):
        pack(packed, python=HERE, light=True)
    with pytest.raises(PackError, match=r"holds no manifest.json"):
        unpack(tmp_path, tmp_path / "site")
    manifest = json.loads((packed / MANIFEST).read_text())
    (packed / MANIFEST).write_text(json.dumps({**manifest, "python": "3.8"}))
    with pytest.raises(PackError, match="is for Python 3.8"):
        unpack(packed, tmp_path / "site")
    assert unpack(packed, tmp_path / "site", any_python=True)


def test_light_leaves_tensorrt_rtx_out(wheels: Path, tmp_path: Path) -> None:
    assert [archive.name for archive in pack(tmp_path / "l", python=HERE, light=True, wheels=wheels)] == [
        "wavelets",
        "base",
        "tools",
    ]


def test_a_piece_and_the_checkout_fit_one_carrier() -> None:
    wavelets, prepared, record = 3.5e6, 2e6, 1e6
    assert packing.PIECE_MB * 1e6 + 22.5e6 + wavelets + prepared + record < 64 * 2**20


def test_every_package_is_pinned_and_what_the_host_needs_is_there() -> None:
    versions = read_versions(REPOSITORY / "constraints.txt")
    names = {packing._normalise(name) for group in ARCHIVES.values() for name in group}
    assert names <= {*versions}
    assert {"onnx", "onnxscript", "cuda-bindings", "numpy", "click", "pywavelets"} <= {
        packing._normalise(name) for name in ARCHIVES["wavelets"] + ARCHIVES["base"]
    }


def test_it_needs_the_standard_library_alone(packed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "benchmarks" / "pack_gpu_host.py"), "unpack", str(packed)]
    result = subprocess.run([*command, "--into", str(tmp_path / "s")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert [line.split("=")[0] for line in result.stdout.splitlines()] == [
        "export PYTHONPATH",
        "export LD_LIBRARY_PATH",
    ]
    failed = subprocess.run([*command[:-1], str(tmp_path), "--into", "s"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
