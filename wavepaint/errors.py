"""The errors that this package raises deliberately.

Every message says what was wrong, what was expected and how to fix it, on one line if possible. The command line prints
the message unchanged and exits with status 1.
"""

from collections.abc import Iterable

_NUM_NAMED = 3
"""Names that :func:`list_names` shows."""


class WavePaintError(Exception):
    """Base class of every deliberate error."""


class ConfigError(WavePaintError):
    """A setting, or a combination of settings, is invalid."""


class CheckpointError(WavePaintError):
    """A checkpoint is missing, unreadable, of the wrong kind or incomplete."""


class ForeignModelError(WavePaintError):
    """An ONNX file of another project is damaged or unsafe, or does not fit its description."""


class BundleError(WavePaintError):
    """A bundle is missing, incomplete, altered or made for another version."""


class ImageError(WavePaintError):
    """An image or a mask cannot be read, is of an unsupported kind, or the two do not match."""


class PhotoAsMaskError(ImageError):
    """A photograph was given as a mask."""


class EngineError(WavePaintError):
    """An inference engine is not installed, does not load, or failed while running."""


class EngineMemoryError(EngineError):
    """An engine ran out of memory; a smaller input may succeed."""


class VerificationError(WavePaintError):
    """An exported model differs from its PyTorch source by more than its budget."""


class TrainingError(WavePaintError):
    """Training cannot start or cannot continue."""


class StudyError(WavePaintError):
    """The answers of a reader study are damaged, or do not belong together."""


class OutputError(WavePaintError):
    """A result cannot be written to its destination."""


class WavePaintWarning(UserWarning):
    """A problem that the user should know about, although the work continued."""


def printable(name: object) -> str:
    """Return a name or path for a message: on one line, escaped if it contains characters that cannot be printed."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def list_names(names: Iterable[object]) -> str:
    """Return the first names of a list for a message, and how many more there are."""
    shown = [printable(name) for name in names]
    more = f" and {len(shown) - _NUM_NAMED} more" if len(shown) > _NUM_NAMED else ""
    return f"{', '.join(shown[:_NUM_NAMED])}{more}"
