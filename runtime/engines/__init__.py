"""The engines that run a model: one file or folder for each, behind one session interface."""
