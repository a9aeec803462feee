"""Uploaded audio: read under a limit of bytes, kept in a file without a name, and checked before it is decoded.

The file has no entry in any folder (O_TMPFILE), so the kernel frees it when it is closed, whatever ends the process.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.types import Message

from jaxasr.data.audio import stream_audio
from jaxasr.serving.errors import ApiError

UPLOAD_S = 120.0  # time that a client has to send its request
MOST_FIELDS = 32
MOST_FIELD_BYTES = 1 << 16
_FORM_BYTES = 1 << 16  # of the request besides the file: names, borders, headers of parts


@dataclass(frozen=True)
class Upload:
    """An uploaded audio file and the other fields of its form."""

    path: Path
    name: str  # that the client gave; it stands in messages and is never opened
    fields: Mapping[str, str]
    lists: Mapping[str, list[str]]  # fields that may be repeated, such as timestamp_granularities[]

    def reason(self, text: str) -> str:
        """Returns a message about the file with the client's name in place of the path."""
        return text.replace(str(self.path), self.name)


@contextlib.asynccontextmanager
async def receive_upload(request: Request, *, most_bytes: int) -> AsyncIterator[Upload]:
    """Reads a multipart form with one file named "file", which is there for as long as the context lasts.

    Raises:
        ApiError: it has too many bytes (413), takes too long (408), is no such form or has no file (400).
    """
    limited = _limited(request, most_bytes + _FORM_BYTES, most_bytes)
    try:
        async with asyncio.timeout(UPLOAD_S):
            form = await limited.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES)
    except TimeoutError:
        raise ApiError(408, f"the request was not complete after {UPLOAD_S:g} s", code="upload_timeout") from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        sent = _sent_file(form)
        if (sent.size or 0) > most_bytes:
            raise _too_large(most_bytes)
        path = await run_in_threadpool(_unnamed_copy, sent.file, stack)
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        lists = {name: [value for value in form.getlist(name) if isinstance(value, str)] for name in texts}
        name = PurePath(sent.filename or "upload").name or "upload"
        yield Upload(path, name, texts, lists)


def check_audio(upload: Upload, *, rate_hz: int, most_s: float) -> float:
    """Decodes the file once, in constant memory, and returns its seconds.

    Raises:
        ApiError: it is no audio, or is damaged or too long (400).
    """
    samples = 0
    try:
        for block_n in stream_audio(upload.path, rate_hz=rate_hz):
            samples += len(block_n)
            if samples > most_s * rate_hz:
                raise ApiError(
                    400,
                    f"{upload.name} has more than {most_s:g} s, the limit of this server: cut it, or use jaxasr transcribe",
                    param="file",
                    code="audio_too_long",
                )
    except (OSError, ValueError) as error:
        raise ApiError(400, upload.reason(str(error)), param="file", code="invalid_audio") from error
    return samples / rate_hz


def _limited(request: Request, limit: int, most_bytes: int) -> Request:
    """Returns the request with a limit on the bytes of its body: by its header, and as they come."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(most_bytes)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(most_bytes)
        return message

    return Request(request.scope, receive)


def _too_large(most_bytes: int) -> ApiError:
    return ApiError(
        413, f"the limit of this server is {most_bytes:,} bytes a file", param="file", code="upload_too_large"
    )


def _sent_file(form: FormData) -> UploadFile:
    """Returns the file of a form. Raises ApiError if there is none, or one of another name."""
    found = form.get("file")
    if isinstance(found, UploadFile):
        return found
    raise ApiError(
        400,
        "the audio is missing: send multipart/form-data with a file in the field 'file', as in "
        "curl -F file=@speech.wav -F model=NAME",
        param="file",
        code="missing_file",
    )


def _unnamed_copy(source: BinaryIO, stack: contextlib.AsyncExitStack) -> Path:
    """Copies a file to one without a name, which the stack closes, and returns a path to it."""
    with contextlib.ExitStack() as own:
        target = own.enter_context(tempfile.TemporaryFile())
        source.seek(0)
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        stack.push_async_callback(run_in_threadpool, own.pop_all().close)
        return Path(f"/proc/self/fd/{target.fileno()}")
