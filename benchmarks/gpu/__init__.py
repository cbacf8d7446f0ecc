"""The parts of ``benchmarks/gpu_proof.py``, which proves on a GPU host what WavePaint's engines reach there."""
