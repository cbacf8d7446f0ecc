"""The engines that run a model. Each has a file or folder, and all share one interface."""
