"""Pack what a GPU host without a network needs, and unpack it there. Needs Python's standard library and pip alone.

Here, with a network::

    python benchmarks/pack_gpu_host.py pack -o pack                # everything; six minutes of one core
    python benchmarks/pack_gpu_host.py pack -o pack --light        # without TensorRT-RTX, 55 MB

There, where the folder has been copied to, in one go or in several::

    python3 benchmarks/pack_gpu_host.py unpack pack --into /tmp/site

``unpack`` prints the lines that make Python find the packages. Packages are taken as pip finds them (``pip download``,
with its own configuration), in the versions of ``constraints.txt``. What the host has itself comes first, whatever its
version, and is named; only what it lacks is added. They make four archives, cut into pieces of at most 36 MB:

==============  ========  ======  ==================================================================================
archive         about     pieces  what it is for
==============  ========  ======  ==================================================================================
``1-wavelets``  3.5 MB    1       PyWavelets, msgspec: what is lacking where PyTorch, ONNX and matplotlib are
``2-base``      40 MB     2       with that, a working environment for ONNX and cuda-bindings by itself: export, ONNX
                                  Runtime on the CPU, copies
``3-tools``     12 MB     1       plots (matplotlib) and tests (pytest)
``4-rtx``       64 MB     2       TensorRT-RTX: its libraries, its bindings, and the module ``tensorrt_rtx``
==============  ========  ======  ==================================================================================

PyTorch with CUDA, the driver and CUDA itself must be there. An archive some of whose pieces are missing is left out and
told, so that pieces can be sent one after another and unpacked as they come, always with ``manifest.json``. Pieces that
come in different goes are put into one folder there. An archive of two pieces needs a host that keeps the first until
the second comes, or a carrier that takes both.
"""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two commands; return the exit status."""
    from benchmarks.gpu.packing import ARCHIVES, describe, pack
    from benchmarks.gpu.pieces import PackError
    from benchmarks.gpu.unpacking import export_lines, unpack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="download and compress")
    packing.add_argument("-o", "--out", type=Path, required=True, help="the new folder")
    packing.add_argument("--python", default="3.12", help="the host's version of Python (default: %(default)s)")
    packing.add_argument("--light", action="store_true", help="leave TensorRT-RTX out")
    packing.add_argument(
        "--wheels", type=Path, help="take wheels from WHEELS/wavelets, /base, /tools and /rtx; download nothing"
    )
    unpacking = commands.add_parser("unpack", help="check and unpack")
    unpacking.add_argument("folder", type=Path, help="what `pack` wrote, or some of its pieces and the manifest")
    unpacking.add_argument("--into", type=Path, required=True, help="where to")
    unpacking.add_argument("--any-python", action="store_true", help="also for another version than this one")
    unpacking.add_argument("--require", nargs="*", default=(), choices=[*ARCHIVES], help="fail without these archives")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "pack":
            print(describe(pack(chosen.out, python=chosen.python, light=chosen.light, wheels=chosen.wheels)))
        else:
            names = unpack(chosen.folder, chosen.into, any_python=chosen.any_python, required=chosen.require)
            print(export_lines(chosen.into, names))
    except (PackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout needs no installation
    sys.exit(main())
