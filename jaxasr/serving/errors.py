"""Errors of requests, in the JSON form of OpenAI's interface."""

import math
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_TYPES = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}  # others: invalid_request_error


class ApiError(HTTPException):
    """An error that a client is told, with the parameter that causes it and a code for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_s: float | None = None,
    ) -> None:
        headers = None if retry_s is None else {"Retry-After": str(max(1, math.ceil(retry_s)))}
        super().__init__(status, message, headers)
        self.param = param
        self.code = code


def error_response(request: Request, error: Exception) -> Response:
    """Returns the response to an error. The message of an unexpected one stays in the log of the server."""
    del request
    if isinstance(error, HTTPException):
        param = getattr(error, "param", None)
        return _response(error.status_code, error.detail, param, getattr(error, "code", None), error.headers)
    return _response(500, "an internal error; the log of the server has it", None, "internal_error", None)


def _response(
    status: int, message: str, param: str | None, code: str | None, headers: Mapping[str, str] | None
) -> Response:
    kind = _TYPES.get(status, "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, headers)
