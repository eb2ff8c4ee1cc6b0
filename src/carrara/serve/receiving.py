"""A form with files of any size: each file goes to the disk as it comes, and never into memory as a whole."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from carrara.errors import UserError
from carrara.serve.datasets import Receiving
from carrara.serve.studio import in_thread

AT_ONCE = 1 << 20
"""Bytes that are collected before they are written."""
_LONGEST_FIELD, _FIELDS = 1000, 20
_LONGEST_HEADER = 1 << 13


@final
class Form:
    """A multipart form, as it comes.

    Args:
        kind: what ``Content-Type`` says.
        files: gets the files of the field ``files``.

    Attributes:
        fields: what is no file.

    Raises:
        UserError: it is no such form.
    """

    def __init__(self, kind: str, files: Receiving) -> None:
        said, options = parse_options_header(kind)
        if said != b"multipart/form-data" or not options.get(b"boundary"):
            raise UserError('data are sent as a multipart form, each file as "files"')
        self.fields = dict[str, str]()
        self._files, self._header, self._value = files, b"", b""
        self._disposition, self._field, self._is_file = b"", "", False
        self._content, self._ended = bytearray(), False
        calls: Mapping[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._in_header,
            "on_header_value": self._in_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._named,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._whole,
        }
        self._parser = MultipartParser(options[b"boundary"], calls)  # pyright: ignore[reportArgumentType]

    def feed(self, content: bytes) -> None:
        """Goes on."""
        try:
            self._parser.write(content)
        except FormParserError:
            raise UserError("this form is damaged: send it again") from None

    def end(self) -> None:
        """It has come to its end.

        Raises:
            UserError: it has not.
        """
        if not self._ended:
            raise UserError("this form has no end: send it again")

    def _whole(self) -> None:
        self._ended = True

    def _begin(self) -> None:
        self._disposition, self._header, self._value = b"", b"", b""
        self._content.clear()

    def _in_header(self, data: bytes, start: int, end: int) -> None:
        self._header = self._longer(self._header, data[start:end])

    def _in_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._longer(self._value, data[start:end])

    def _longer(self, header: bytes, more: bytes) -> bytes:
        if len(header) + len(more) > _LONGEST_HEADER:
            raise UserError("a file of this form has too long a name: give it a shorter one")
        return header + more

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _named(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options and self._field in ("files", "file")
        if self._is_file:
            self._files.begin(options[b"filename"].decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._files.write(data[start:end])
        elif len(self._content) + end - start > _LONGEST_FIELD:
            raise UserError(f'"{self._field[:40]}" is too long: leave it out')
        else:
            self._content += data[start:end]

    def _end(self) -> None:
        if not self._is_file:
            if len(self.fields) >= _FIELDS:
                raise UserError("this form has too many fields: send files alone")
            self.fields[self._field[:40]] = self._content.decode("utf-8", "replace")


async def received(request: Request, files: Receiving) -> Mapping[str, str]:
    """Takes in a form's files, and returns its other fields.

    Raises:
        UserError: it is none, or cannot be kept.
    """
    form = Form(request.headers.get("content-type", ""), files)
    async for content in _collected(request):
        await in_thread(form.feed, content)
    await in_thread(form.end)
    return form.fields


async def _collected(request: Request) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for content in request.stream():
        waiting += content
        if len(waiting) >= AT_ONCE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
