"""What do WavePaint's engines reach on a GPU, against LaMa? One script for a GPU host without a network.

It finds which engines work (TensorRT, TensorRT-RTX, ONNX Runtime with CUDA, PyTorch eager, compiled, as CUDA graphs),
checks half precision, measures the card's ceilings, builds FP16 engines, checks each against PyTorch float32 and races
them: what is worth knowing most comes first. It writes ``gpu-proof.json`` after every cell, ``gpu-proof.md`` with the
criteria (met, not met, not measured) and pictures. Throughput is judged on computing alone, since sessions copy one
batch while they compute another, and told with copies beside; the roof is that of the layers. Cells run in a process of
their own that may die; the others go on. The same command goes on from where it stopped.

Every cell has a name, such as ``tensorrt-rtx/float16/wavepaint/256/b8/graph/uint8``: engine, precision, model, side,
batch, launch (graph or plain), edges. So have probes: ``engine/tensorrt-rtx``, ``numerics/lama``, ``ceiling/matrix``.
``--only 'engine/*'`` takes those that match; ``--list`` names all.

On the way there
----------------
On a machine with a network and PyTorch (the second is optional, and costs some minutes once)::

    python benchmarks/pack_gpu_host.py pack -o pack       # six pieces of at most 36 MB, 119 MB in all
    python benchmarks/gpu_proof.py --prepare prepared     # graphs of all models without weights, some 2 MB

Graphs are carried without weights since those are random with a fixed seed (the trained model's lie in the checkout):
the host builds the same networks and fills them in. big-lama's file alone has 100 MB. Without ``--prepared`` the host
exports by itself, which takes its processor a minute for LaMa and two for big-lama, one after the other.

There
-----
PyTorch and CUDA are there; what follows starts in the checkout. On a host that keeps its files::

    python3 benchmarks/pack_gpu_host.py unpack pack --into /tmp/site > /tmp/env && . /tmp/env
    nvidia-smi; ldconfig -p | grep nvinfer                           # what the host has
    proof="python3 benchmarks/gpu_proof.py -o /tmp/proof --work /tmp/work --prepared prepared"
    $proof --only 'engine/*' --only 'numerics/*' --time-limit 240    # to look before all else
    $proof --time-limit 540                                          # goes on from there, as often as it takes

A host that forgets its files gets what it needs each time: the checkout (22.4 MB), ``prepared``, the pack's
``manifest.json`` with ``1-wavelets`` (and ``2-base`` where it has no ONNX), and what came back last, here as the folder
``last``. Unpacking and running are one command; ten minutes hold both with a limit of 480 seconds::

    python3 benchmarks/pack_gpu_host.py unpack pack --into /tmp/site > /tmp/env && . /tmp/env && cp -r last /tmp/proof
    python3 benchmarks/gpu_proof.py -o /tmp/proof --work /tmp/work --prepared prepared --time-limit 480

Where 64 MB of TensorRT-RTX do not fit beside the checkout at once, its two pieces go one after the other into one
folder that the host still has when the second comes; ``unpack --require rtx`` says so and stops if it has not.

The time limit holds to some twenty seconds, whatever a cell does. Packages that the host has itself come before those
of the pack. What comes back is the record, the report and two pictures; models and plans, which only save time, are in
``--work``, by default the folder ``work`` beside the record. ``--dry-run`` exercises everything but the card, in half a
minute on a CPU; CI runs that.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # The checkout needs no installation, and a process that runs cells finds its modules by the same path.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from benchmarks.gpu.command import main

    main(help_text=__doc__)
