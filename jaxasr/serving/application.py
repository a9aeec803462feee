"""The ASGI application: routes, errors, and the check of hosts and origins."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jaxasr.serving.errors import ApiError, error_response
from jaxasr.serving.gate import Gate
from jaxasr.serving.live_page import FILES, LiveTranscriptions, page_file
from jaxasr.serving.models import ServedModel
from jaxasr.serving.openai_api import Transcriptions, list_models


@dataclass(frozen=True)
class ServerLimits:
    """The limits of what a server accepts.

    Raises:
        ValueError: a limit that leaves no room for a request.
    """

    upload_bytes: int = 50_000_000
    audio_s: float = 600.0
    concurrency: int = 1  # requests that are decoded at once
    queue: int = 16  # further requests that upload or wait

    def __post_init__(self) -> None:
        if self.upload_bytes < 1 or not self.audio_s > 0 or self.concurrency < 1 or self.queue < 0:
            raise ValueError(f"{self} accepts no request; at least 1 byte, more than 0 s and 1 request are needed")


def build_application(
    models: Sequence[ServedModel], limits: ServerLimits = ServerLimits(), *, hosts: Sequence[str] | None = None
) -> Starlette:
    """Returns the application. Its `state.gate` admits the requests.

    Args:
        models: loaded runs with different names.
        limits: what it accepts.
        hosts: the names by which it may be called; None: any, for a server that other machines reach.

    Raises:
        ValueError: two models have one name.
    """
    by_name = {model.name: model for model in models}
    if len(by_name) < len(models):
        raise ValueError(f"two runs have one name, {models[0].name!r}: give them others, as in NAME=EXPERIMENT@WORKDIR")
    gate = Gate(concurrency=limits.concurrency, queue=limits.queue)
    shared = (by_name, gate, limits.upload_bytes, limits.audio_s)

    def health(request: Request) -> Response:
        del request
        status = {"status": "draining" if gate.draining else "ok", "models": [*by_name]}
        counts = {"admitted": gate.admitted, "finished": gate.finished, "memory_bytes": _memory_bytes()}
        return JSONResponse(status | counts, 503 if gate.draining else 200)

    application = Starlette(
        routes=[
            *(Route(path, page_file(path)) for path in FILES),
            Route("/healthz", health),
            Route("/v1/models", lambda request: list_models(by_name)),
            Route("/v1/audio/transcriptions", Transcriptions(*shared), methods=["POST"]),
            Route("/transcribe", LiveTranscriptions(*shared), methods=["POST"]),
        ],
        middleware=[Middleware(OriginCheck, hosts=hosts)],
        exception_handlers={HTTPException: error_response, Exception: error_response},
    )
    application.state.gate = gate
    return application


class OriginCheck:
    """A middleware that refuses requests of other web pages: neither their origin nor their name of this host is known.

    A page of another site can send forms to a server on the user's own machine, and can let a name of its own point to it.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await error_response(Request(scope), refusal)(scope, receive, send)

    def _refusal(self, headers: Headers) -> ApiError | None:
        host = headers.get("host", "")
        if self._hosts is not None and _hostname(host) not in self._hosts:
            return ApiError(
                403, f"this server is not called {host!r}; it is {', '.join(self._hosts)}", code="unknown_host"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return ApiError(403, f"requests of pages of {origin!r} are not answered", code="foreign_origin")
        return None


def _memory_bytes() -> int:
    """Returns the memory of this process that is in use, as Linux counts it."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
