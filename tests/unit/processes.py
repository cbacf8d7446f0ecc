"""Processes that begin with PyTorch loaded: tests that need several, or kill them, wait for it once."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["wavepaint.training.loop"])
