"""Read the parts of a form: multipart/form-data, the encoding of file uploads in HTML (RFC 7578)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from wavepaint.runtime.service.request_errors import RequestError, refuse_value, shorten

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_PARTS = 64
_MOST_HEADER_BYTES = 8 << 10
_MOST_TEXT_BYTES = 64 << 10
"""Largest field that is no file. OpenAI's prompts have up to 32,000 characters."""


@dataclass
class Part:
    """One part of a form.

    Attributes:
        name: The field.
        data: Its content.
        is_file: Whether it has a file name, which is ignored.
    """

    name: str = ""
    data: bytes = b""
    is_file: bool = False


@dataclass
class Form:
    """The parts of a form, in order."""

    parts: list[Part] = field(default_factory=list)

    def take_files(self, *names: str) -> list[bytes]:
        """Remove the parts with some names and return their contents, even if they have no file names."""
        found = [part.data for part in self.parts if part.name in names]
        self.parts = [part for part in self.parts if part.name not in names]
        return found

    def take_file(self, name: str) -> bytes | None:
        """Remove a part and return its content; None if there is none.

        Raises:
            RequestError: There are several.
        """
        found = self.take_files(name)
        if len(found) > 1:
            raise refuse_value(name, f"given {len(found)} times", "one file")
        return found[0] if found else None

    def take_texts(self) -> dict[str, str]:
        """Remove all other parts and return them as text.

        Raises:
            RequestError: A part is a file or no text, is too long, or comes twice.
        """
        texts: dict[str, str] = {}
        for part in self.parts:
            name = shorten(part.name)
            if part.is_file:
                raise refuse_value(name, "a file", "text")
            if len(part.data) > _MOST_TEXT_BYTES:
                raise refuse_value(name, f"{len(part.data)} bytes long", f"{_MOST_TEXT_BYTES} bytes or fewer")
            if part.name in texts:
                raise refuse_value(name, "given twice", "one value")
            try:
                texts[part.name] = part.data.decode()
            except UnicodeDecodeError:
                raise refuse_value(name, "not UTF-8", "text") from None
        self.parts = []
        return texts


def parse_form(body: bytes, content_type: str) -> Form:
    """Read a form.

    Args:
        body: The request's body.
        content_type: Its Content-Type.

    Raises:
        RequestError: It is no form, or a broken one.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError(
            415,
            f"the Content-Type is {shorten(content_type) or 'missing'}: expected multipart/form-data with a boundary, "
            "as curl -F sends it.",
            "unsupported_media_type",
        )
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.list_callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError):
        collector.is_complete = False
    if not collector.is_complete:
        raise RequestError(400, "the form is damaged or cut off. Send it again.", "invalid_form")
    return collector.form


class _Collector:
    """Collects the parts that the parser finds."""

    def __init__(self) -> None:
        self.form, self.is_complete = Form(), False
        self._name, self._value, self._data = b"", b"", list[bytes]()
        self._num_header_bytes = 0

    def list_callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.form.parts) == _MOST_PARTS:
            raise RequestError(400, f"the form has more than {_MOST_PARTS} parts.", "invalid_form")
        self.form.parts.append(Part())
        self._data, self._num_header_bytes = [], 0

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, num_bytes: int) -> None:
        self._num_header_bytes += num_bytes
        if self._num_header_bytes > _MOST_HEADER_BYTES:
            raise RequestError(400, f"a part's headers are longer than {_MOST_HEADER_BYTES} bytes.", "invalid_form")

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value.decode("latin-1"))
            part = self.form.parts[-1]
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            part.is_file = b"filename" in options
        self._name, self._value = b"", b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        self.form.parts[-1].data = b"".join(self._data)
        self._data = []

    def _finish(self) -> None:
        self.is_complete = True
