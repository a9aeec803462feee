"""The endpoints of OpenAI's interface: POST /v1/audio/transcriptions, GET /v1/models."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from jaxasr.serving.errors import ApiError
from jaxasr.serving.gate import Gate
from jaxasr.serving.models import ServedModel
from jaxasr.serving.uploads import Upload, check_audio, receive_upload
from jaxasr.transcription import CueLimits, PartialTranscript, Transcript, TranscriptionError
from jaxasr.transcription.cues import CueSplitter
from jaxasr.transcription.formats import Format, renderer

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
_GRANULARITIES_FIELD = "timestamp_granularities[]"
_FIELDS = ("model", "response_format", "language", "prompt", "temperature", _GRANULARITIES_FIELD)
_CLOSED_REQUEST = 499  # nobody reads it


@dataclass(frozen=True)
class Transcriptions:
    """The ASGI application of POST /v1/audio/transcriptions."""

    models: Mapping[str, ServedModel]
    gate: Gate
    most_bytes: int
    most_s: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        async with self.gate.admit(), receive_upload(request, most_bytes=self.most_bytes) as upload:
            model = self._model(upload.fields)
            response_format, granularities = _check_fields(upload, model)
            await run_in_threadpool(check_audio, upload, rate_hz=model.rate_hz, most_s=self.most_s)
            async with self.gate.turn():
                transcript = await _transcribe(request, model, upload)
            await _rendered(transcript, response_format, granularities, model)(scope, receive, send)

    def _model(self, fields: Mapping[str, str]) -> ServedModel:
        name = fields.get("model", "")
        names = ", ".join(self.models)
        if not name:
            raise ApiError(
                400, f"the field 'model' is missing; this server has {names}", param="model", code="missing_model"
            )
        if name not in self.models:
            raise ApiError(
                404, f"there is no model {name!r}; this server has {names}", param="model", code="model_not_found"
            )
        return self.models[name]


def list_models(models: Mapping[str, ServedModel]) -> Response:
    """Returns the response to GET /v1/models."""
    data = [
        {"id": name, "object": "model", "created": model.created, "owned_by": "jaxasr"}
        for name, model in models.items()
    ]
    return JSONResponse({"object": "list", "data": data})


async def _transcribe(request: Request, model: ServedModel, upload: Upload) -> Transcript:
    """Returns the transcript of an upload. No window is decoded after the client has closed the connection."""
    async for event in iterate_in_threadpool(model.transcribe(upload.path)):
        if isinstance(event, Transcript):
            return event
        if isinstance(event, TranscriptionError):
            raise ApiError(400, upload.reason(event.reason), param="file", code="invalid_audio")
        if await request.is_disconnected():
            raise ApiError(_CLOSED_REQUEST, "the client has closed the connection")
    raise RuntimeError(f"{model.name} has ended without a transcript")


def _check_fields(upload: Upload, model: ServedModel) -> tuple[str, list[str]]:
    """Returns the format of the response and the granularities. Raises ApiError for a field that is not supported."""
    fields = upload.fields
    for name in fields:
        if name not in _FIELDS:
            raise _unsupported(name, f"the field {name!r} is not supported; there are {', '.join(_FIELDS)}")
    if (language := fields.get("language", "")) and language != model.language:
        has = f"decodes {model.language!r} alone" if model.language else "has no choice of languages"
        raise _unsupported("language", f"language={language!r} is not supported: {model.name} {has}; leave it out")
    if fields.get("prompt", "").strip():
        raise _unsupported(
            "prompt", f"a prompt is not supported: {model.name} has no text before an utterance; leave it out"
        )
    _check_temperature(fields.get("temperature") or "0")
    response_format = fields.get("response_format") or "json"
    if response_format not in FORMATS:
        raise _unsupported(
            "response_format", f"response_format={response_format!r} is not supported; there are {', '.join(FORMATS)}"
        )
    granularities = upload.lists.get(_GRANULARITIES_FIELD, [])
    if unknown := [value for value in granularities if value not in GRANULARITIES]:
        raise _unsupported(
            _GRANULARITIES_FIELD, f"{unknown[0]!r} is not supported; there are {', '.join(GRANULARITIES)}"
        )
    if granularities and response_format != "verbose_json":
        raise _unsupported(_GRANULARITIES_FIELD, f"{_GRANULARITIES_FIELD} needs response_format=verbose_json")
    return response_format, granularities or ["segment"]


def _check_temperature(text: str) -> None:
    """Raises ApiError unless the text is the number 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value != 0.0:
        raise _unsupported("temperature", f"temperature={text!r} is not supported: a search has no samples; give 0")


def _unsupported(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="unsupported_parameter")


def _rendered(transcript: Transcript, response_format: str, granularities: list[str], model: ServedModel) -> Response:
    """Returns the response with a transcript."""
    if response_format == "json":
        return _json({"text": transcript.text})
    if response_format == "text":
        return PlainTextResponse(transcript.text + "\n")
    if response_format == "verbose_json":
        return _json(_verbose(transcript, granularities, model))
    subtitles: Format = "srt" if response_format == "srt" else "vtt"
    writer = renderer(subtitles, named=False, limits=CueLimits())
    passage = PartialTranscript(transcript.path, transcript.words)
    text = writer.begin(Path("upload")) + writer.add(passage) + writer.end(transcript)
    return PlainTextResponse(text, media_type="text/vtt" if subtitles == "vtt" else "application/x-subrip")


def _verbose(transcript: Transcript, granularities: list[str], model: ServedModel) -> dict[str, Any]:
    """Returns the object of verbose_json. Its words have a confidence, which OpenAI's do not have."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": model.language or "",
        "duration": transcript.seconds,
        "text": transcript.text,
    }
    if "word" in granularities:
        found["words"] = [
            {"word": word.text, "start": word.start_s, "end": word.end_s, "confidence": word.confidence}
            for word in transcript.words
        ]
    if "segment" in granularities:
        splitter = CueSplitter(CueLimits())
        cues = [*splitter.add(transcript.words), *splitter.end()]
        found["segments"] = [
            {"id": number, "start": cue.start_s, "end": cue.end_s, "text": cue.text, "temperature": 0.0}
            for number, cue in enumerate(cues)
        ]
    return found


def _json(content: Mapping[str, Any]) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), media_type="application/json")
