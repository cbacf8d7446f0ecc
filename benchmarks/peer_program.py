"""Keep one program open and let it fill photos from file to file. benchmarks/peers.py starts this file.

It runs in the program's own environment, so it imports only the standard library and that program. The first argument
names the program, and options follow as NAME=VALUE. Each line of standard input is a JSON object with ``image``,
``mask`` and ``out``; each line of standard output one with ``seconds`` and ``cpu_seconds``, or ``problem``. The first
line is about loading, and its ``label`` says what runs the model.
"""

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fill = Callable[[str, str, str], None]
"""Fills the hole of a photo; the arguments are the paths of photo, mask and result."""
Opened = tuple[Fill, str]
"""A program and its label."""


def open_simple_lama() -> Opened:
    """Do what simple-lama-inpainting's own command does, with the model loaded once."""
    import torch
    from PIL import Image
    from simple_lama_inpainting import SimpleLama

    lama = SimpleLama()

    def fill(image: str, mask: str, out: str) -> None:
        lama(Image.open(image).convert("RGB"), Image.open(mask).convert("L")).save(out)

    return fill, f"PyTorch {torch.__version__}, TorchScript, {lama.device}"


def open_iopaint() -> Opened:
    """Do what ``iopaint run`` does for each photo of a folder (iopaint/batch_processing.py), with its defaults."""
    import cv2
    import numpy as np
    import torch
    from iopaint.helper import pil_to_bytes
    from iopaint.model_manager import ModelManager
    from iopaint.schema import InpaintRequest
    from PIL import Image

    manager, request = ModelManager(name="lama", device="cpu"), InpaintRequest()

    def fill(image: str, mask: str, out: str) -> None:
        infos = Image.open(image).info
        pixels = np.array(Image.open(image).convert("RGB"))
        hole = np.array(Image.open(mask).convert("L"))
        hole[hole >= 127] = 255
        hole[hole < 127] = 0
        filled = cv2.cvtColor(manager(pixels, hole, request), cv2.COLOR_BGR2RGB)
        Path(out).write_bytes(pil_to_bytes(Image.fromarray(filled), "png", 100, infos))

    crop = (
        f"{request.hd_strategy} above {request.hd_strategy_crop_trigger_size}, margin {request.hd_strategy_crop_margin}"
    )
    return fill, f"PyTorch {torch.__version__}, TorchScript, cpu, {crop}"


def open_opencv(method: str) -> Opened:
    """Fill with OpenCV. ``method`` is ``telea``, ``navier-stokes``, ``shift-map`` or ``fsr-fast``."""
    import numpy as np

    cv2: Any = importlib.import_module("cv2")  # its annotations lack the module xphoto

    def fill(image: str, mask: str, out: str) -> None:
        pixels, hole = cv2.imread(image), cv2.imread(mask, cv2.IMREAD_GRAYSCALE)
        if method in ("telea", "navier-stokes"):
            flag = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
            filled = cv2.inpaint(pixels, hole, 3, flag)
        else:
            is_map = method == "shift-map"  # the documentation asks for CIELab there
            flag = cv2.xphoto.INPAINT_SHIFTMAP if is_map else cv2.xphoto.INPAINT_FSR_FAST
            source = cv2.cvtColor(pixels, cv2.COLOR_BGR2Lab) if is_map else pixels
            filled = np.zeros_like(source)
            cv2.xphoto.inpaint(source, np.where(hole > 0, 0, 255).astype(np.uint8), filled, flag)
            filled = cv2.cvtColor(filled, cv2.COLOR_Lab2BGR) if is_map else filled
            filled = np.where(hole[..., None] > 0, filled, pixels)
        cv2.imwrite(out, filled)

    return fill, f"OpenCV {cv2.__version__}"


def open_wavepaint(bundle: str = "", engine: str = "auto", precision: str = "auto") -> Opened:
    """Do what ``wp infer`` does for each photo, with its defaults."""
    from wavepaint.runtime.images import read_mask, read_photo, write_photo
    from wavepaint.runtime.inpainter import Inpainter

    options: Any = {"engine": engine, "precision": precision}
    inpainter = Inpainter(bundle or None, **options)

    def fill(image: str, mask: str, out: str) -> None:
        filled = inpainter.fill_photo(read_photo(image), read_mask(mask))
        write_photo(filled, Path(out), overwrite=True)

    return fill, inpainter.engine


def open_copy(fail: str = "", hang: str = "", megabytes: str = "0") -> Opened:
    """Copy the photo: a program without a model, for tests. It fails, hangs or takes memory if it is told to."""
    taken: list[bytearray] = []

    def fill(image: str, mask: str, out: str) -> None:
        if fail:
            raise RuntimeError(fail)
        if hang:
            time.sleep(float(hang))
        taken.append(bytearray(b"x" * (int(megabytes) << 20)))
        shutil.copy(image, out)

    return fill, "a copy"


PROGRAMS: dict[str, Callable[..., Opened]] = {
    "simple-lama": open_simple_lama,
    "iopaint": open_iopaint,
    "opencv": open_opencv,
    "wavepaint": open_wavepaint,
    "copy": open_copy,
}


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # programs print, and stdout is for the replies

    def reply(**content: Any) -> None:
        print(json.dumps(content), file=replies, flush=True)

    started = time.perf_counter()
    fill, label = PROGRAMS[sys.argv[1]](**dict(option.split("=", 1) for option in sys.argv[2:]))
    reply(seconds=time.perf_counter() - started, cpu_seconds=time.process_time(), label=label)
    for line in sys.stdin:
        job = json.loads(line)
        started, cpu_started = time.perf_counter(), time.process_time()
        try:
            fill(job["image"], job["mask"], job["out"])
        except Exception as error:  # programs raise all kinds of exceptions
            reply(problem=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        reply(seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu_started)


if __name__ == "__main__":
    main()
