"""Processes that start with PyTorch loaded, for tests that need several processes or kill them."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["wavepaint.training.loop"])
