"""The programs of the race against other programs: how each is installed, started and given a photo.

Sources of the commands: simple_lama_inpainting/cli.py (0.1.2), iopaint/cli.py and iopaint/batch_processing.py (1.6.0).
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wavepaint.atomic import write_file
from wavepaint.bench.peer_weights import RELEASED
from wavepaint.errors import EngineError

OURS = "wavepaint"
REFERENCE = "simple-lama-inpainting"
"""The contender that ratios and differences refer to first."""

_SHOWN_PACKAGES = (
    "simple-lama-inpainting", "iopaint", "wavepaint", "torch", "torchvision", "numpy", "pillow", "opencv-python",
    "opencv-contrib-python-headless", "onnxruntime", "openvino",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A program that is installed in an environment of its own.

    Attributes:
        name: Its name in ``--peers``.
        requirements: What its users give to pip.
    """

    name: str
    requirements: tuple[str, ...]


def list_peers(checkout: Path) -> dict[str, Peer]:
    """Return the programs by name; ours is installed from a checkout, with both CPU engines."""
    peers = (
        Peer(name="simple-lama", requirements=("simple-lama-inpainting==0.1.2",)),
        Peer(name="iopaint", requirements=("iopaint==1.6.0",)),
        Peer(name="opencv", requirements=("opencv-contrib-python-headless",)),
        Peer(name=OURS, requirements=(f"{checkout}[cpu,openvino]",)),
    )
    return {peer.name: peer for peer in peers}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A program with settings.

    Attributes:
        name: Its name in tables.
        peer: The environment that it runs in; empty for the interpreter that runs the race.
        program: Name and options for ``benchmarks/peer_program.py``.
        model: ``big-lama`` if it has the shared weights, ``default`` for the model that ships, else empty.
        single: Command that fills one photo; ``{bin}``, ``{image}``, ``{mask}``, ``{out}`` and ``{folder}`` (that of
            ``out``) are replaced. Empty if it has none.
        many: Command that fills the folders ``{image}`` and ``{mask}`` into ``{out}``; empty if it has none.
        suffix: Suffix of its result for a JPEG photo.
        is_whole: Whether it computes the whole photo, whatever the hole.
        tasks: Kinds of tasks that it takes part in.
    """

    name: str
    peer: str
    program: tuple[str, ...]
    model: str = RELEASED
    single: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    suffix: str = ".jpg"
    is_whole: bool = False
    tasks: tuple[str, ...] = ("whole", "photo", "folder", "cold")


def list_contenders(bundle: Path, precisions: Sequence[str]) -> list[Contender]:
    """Return the contenders in the order of the tables.

    Args:
        bundle: The shared weights, exported.
        precisions: What OpenVINO computes in on this processor.
    """
    iopaint = ("{bin}/iopaint", "run", "--model", "lama", "--device", "cpu", "--image", "{image}", "--mask", "{mask}")
    contenders = [
        Contender(
            name=REFERENCE,
            peer="simple-lama",
            program=("simple-lama",),
            single=("{bin}/simple_lama", "{image}", "{mask}", "{out}"),
            is_whole=True,
        ),
        Contender(
            name="IOPaint",
            peer="iopaint",
            program=("iopaint",),
            single=(*iopaint, "--output", "{folder}"),
            many=(*iopaint, "--output", "{out}"),
            suffix=".png",
        ),
        _make_ours("WavePaint, the same LaMa", RELEASED, bundle),
        _make_ours("WavePaint, its default model", "default", None),
        # IOPaint's results are PNG files, which take longer to write.
        replace(_make_ours("WavePaint, the same LaMa, PNG", RELEASED, bundle), suffix=".png", tasks=("photo",)),
    ]
    executions = [("ort-cpu", "float32"), *(("openvino", precision) for precision in precisions)]
    for engine, precision in executions:
        name = f"WavePaint, the same LaMa, {engine} {precision}"
        contenders.append(_make_ours(name, RELEASED, bundle, engine, precision))
    for method in ("telea", "navier-stokes", "shift-map", "fsr-fast"):
        contenders.append(
            Contender(name=f"OpenCV {method}", peer="opencv", program=("opencv", f"method={method}"), model="",
                      tasks=("whole",))
        )  # fmt: skip
    return contenders


def _make_ours(name: str, model: str, bundle: Path | None, engine: str = "auto", precision: str = "auto") -> Contender:
    options = {"bundle": str(bundle or ""), "engine": engine, "precision": precision}
    flags = [text for key, value in options.items() if value not in ("", "auto") for text in (f"--{key}", value)]
    command = ("{bin}/wp", "infer", "{image}", "{mask}", "-o", "{out}", "--overwrite", *flags)
    return Contender(
        name=name,
        peer=OURS,
        program=("wavepaint", *(f"{key}={value}" for key, value in options.items())),
        model=model,
        single=command,
        many=command,
        tasks=("whole",) if flags and engine != "auto" else ("whole", "photo", "folder", "cold"),
    )


@dataclass(frozen=True, kw_only=True)
class Installation:
    """An installed peer: its interpreter, the bytes of its environment, and the versions of the main packages."""

    python: Path
    num_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


def install_peer(peer: Peer, folder: Path) -> Installation:
    """Install a peer in an environment of its own, unless it is already there. A checkout may have changed.

    Raises:
        EngineError: pip failed; the message names its log.
    """
    python, record = folder / "bin" / "python", folder / "installed.json"
    if not record.exists() or any(Path(one.partition("[")[0]).is_dir() for one in peer.requirements):
        if not python.exists():
            venv.create(folder, with_pip=True)
        log = folder / "pip.log"
        command = [str(python), "-m", "pip", "install", "--no-cache-dir", *peer.requirements]
        with log.open("w") as output:
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                raise EngineError(f"{peer.name} could not be installed: pip failed, {log} says why.")
        packages = json.loads(subprocess.check_output([str(python), "-m", "pip", "list", "--format", "json"]))
        versions = {one["name"].lower(): one["version"] for one in packages}
        found: dict[str, Any] = {
            "num_bytes": sum(one.lstat().st_size for one in folder.rglob("*") if one.is_file()),
            "versions": {name: versions[name] for name in _SHOWN_PACKAGES if name in versions},
        }
        with write_file(record, overwrite=True) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")
    return Installation(python=python, **json.loads(record.read_text()))


def make_environment(weights: Path, work: Path) -> dict[str, str]:
    """Return the environment variables of all programs: where they find the weights, and that there is no network.

    simple-lama-inpainting reads ``LAMA_MODEL``. IOPaint looks for a file of the released name in PyTorch's cache.
    """
    cached = work / "torch" / "hub" / "checkpoints" / f"{RELEASED}.pt"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.unlink(missing_ok=True)
    cached.symlink_to(weights.absolute())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {
        **kept,
        "LAMA_MODEL": str(weights.absolute()),
        "TORCH_HOME": str(work / "torch"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "HF_HUB_OFFLINE": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


def fill_in(command: Sequence[str], python: Path, image: Path, mask: Path, out: Path) -> list[str]:
    """Replace the names in braces of a contender's command."""
    values = {"bin": python.parent, "image": image, "mask": mask, "out": out, "folder": out.parent}
    return [part.format(**values) for part in command]


def make_program_command(contender: Contender, python: Path | None, script: Path) -> list[str]:
    """Return the command that keeps a contender open. ``-P`` keeps the script's folder from hiding its packages."""
    return [str(python or sys.executable), "-P", str(script), *contender.program]
