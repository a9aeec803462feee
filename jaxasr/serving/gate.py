"""Admission of requests: so many are decoded at once, so many wait, and others are told when to come again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from jaxasr.serving.errors import ApiError

_FIRST_GUESS_S = 2.0  # of a request, before one was finished
_MEMORY = 0.8  # of the mean duration, a request


class Gate:
    """The admission of requests to the decoder."""

    def __init__(self, *, concurrency: int, queue: int) -> None:
        """Lets `concurrency` requests be decoded at once, and admits `queue` more, which upload or wait."""
        self._concurrency = concurrency
        self._queue = queue
        self._turns = asyncio.Semaphore(concurrency)
        self._mean_s = _FIRST_GUESS_S
        self.admitted = 0  # requests that are not finished
        self.finished = 0
        self.draining = False  # True: no more requests are admitted

    @contextlib.asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Admits a request for as long as the context lasts.

        Raises:
            ApiError: the queue is full (429), or the server ends (503).
        """
        wait_s = self._mean_s * (self.admitted + 1) / self._concurrency
        if self.draining:
            raise ApiError(503, "the server is shutting down; try again later", code="shutting_down", retry_s=wait_s)
        if self.admitted >= self._concurrency + self._queue:
            raise ApiError(
                429,
                f"{self.admitted} requests are decoded or waiting, which is the limit; try again after Retry-After",
                code="queue_full",
                retry_s=wait_s,
            )
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1
            self.finished += 1

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Waits for the decoder, keeps it for as long as the context lasts, and yields the seconds of waiting."""
        asked = time.monotonic()
        async with self._turns:
            begun = time.monotonic()
            try:
                yield begun - asked
            finally:
                self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * (time.monotonic() - begun)
