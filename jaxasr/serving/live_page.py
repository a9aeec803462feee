"""The web page, and its endpoint: lines of JSON with the words of every model as they become final, and its attention."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from jaxasr.serving.gate import Gate
from jaxasr.serving.models import ServedModel
from jaxasr.serving.uploads import Upload, check_audio, receive_upload
from jaxasr.transcription import PartialTranscript, Transcript, TranscriptionError

FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
HEADERS = {  # the page loads nothing from elsewhere, and no other page frames it
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def page_file(path: str) -> Callable[[Request], Response]:
    """Returns the endpoint of a file of the page, which is read now."""
    name, media_type = FILES[path]
    content = resources.files("jaxasr.serving").joinpath("page", name).read_bytes()

    def respond(request: Request) -> Response:
        del request
        return Response(content, media_type=media_type, headers=HEADERS)

    return respond


@dataclass(frozen=True)
class LiveTranscriptions:
    """The ASGI application of POST /transcribe: one upload to every model, one after the other."""

    models: Mapping[str, ServedModel]
    gate: Gate
    most_bytes: int
    most_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. A client that closes the connection ends it behind the window that is decoded."""
        request = Request(scope, receive)
        async with self.gate.admit(), receive_upload(request, most_bytes=self.most_bytes) as upload:
            rate_hz = max(model.rate_hz for model in self.models.values())
            seconds = await run_in_threadpool(check_audio, upload, rate_hz=rate_hz, most_s=self.most_s)
            async with self.gate.turn() as queue_s:
                start = {"type": "start", "seconds": seconds, "queue_s": queue_s, "models": [*self.models]}
                lines = iterate_in_threadpool(_lines(self.models, upload, start))
                headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
                await StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)(scope, receive, send)


def _lines(models: Mapping[str, ServedModel], upload: Upload, start: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of a response: the words of each model with their latency, then the pictures."""
    yield _line(start)
    for model in models.values():
        yield from map(_line, _words(model, upload))
    for model in models.values():
        picture = model.attention_picture(upload.path)
        png = None if picture is None else base64.b64encode(picture).decode("ascii")
        yield _line({"type": "attention", "model": model.name, "png": png})


def _words(model: ServedModel, upload: Upload) -> Iterator[dict[str, Any]]:
    begun = time.monotonic()
    first_s = None
    for event in model.transcribe(upload.path):
        latency_s = time.monotonic() - begun
        match event:
            case PartialTranscript():
                first_s = latency_s if first_s is None else first_s
                yield {"type": "words", "model": model.name, "words": [word._asdict() for word in event.words]}
            case Transcript():
                yield _end(model, event) | {"latency_s": latency_s, "first_words_s": first_s}
            case TranscriptionError():
                yield {"type": "error", "model": model.name, "message": upload.reason(event.reason)}


def _end(model: ServedModel, transcript: Transcript) -> dict[str, Any]:
    """Returns the last line of a transcript, with what a reader should know besides its words."""
    notes = [] if transcript.complete else ["a search was cut before it came to an end"]
    notes += [f"{transcript.fault.kind} ({transcript.fault.detail})"] if transcript.fault else []
    if transcript.withheld:
        notes.append(f"{transcript.withheld} words are withheld in {transcript.no_speech_s:.1f} s without speech")
    return {"type": "end", "model": model.name, "text": transcript.text, "seconds": transcript.seconds, "notes": notes}


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
