"""The errors this package raises on purpose.

Every message says what was wrong, what was expected and how to mend it, in one line where possible: the command
line prints it as it stands and exits with status 1.
"""


class WavePaintError(Exception):
    """Base of every error that is raised on purpose."""


class ConfigError(WavePaintError):
    """A setting, or a combination of settings, makes no sense."""


class CheckpointError(WavePaintError):
    """A checkpoint is missing, unreadable, of the wrong kind or incomplete."""


class BundleError(WavePaintError):
    """A bundle is missing, incomplete, altered or made for another version."""


class ImageError(WavePaintError):
    """An image or a mask cannot be read, is of an unsupported kind or does not fit its partner."""


class EngineError(WavePaintError):
    """An inference engine is not installed, does not load or failed while running."""


class EngineMemoryError(EngineError):
    """An engine ran out of memory; a smaller input may succeed."""


class VerificationError(WavePaintError):
    """An exported model differs from its PyTorch source by more than its budget."""


class TrainingError(WavePaintError):
    """Training cannot start or cannot go on."""


class OutputError(WavePaintError):
    """A result cannot be written where it was asked for."""


class WavePaintWarning(UserWarning):
    """Something a person should know, although the work went on."""


def printable(name: object) -> str:
    """Return a name or path as messages show it: on one line, escaped where it holds what cannot be printed."""
    text = str(name)
    return text if text.isprintable() else ascii(text)
