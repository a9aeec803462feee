"""A load test of a server: clients that send one file again and again, and count what comes back."""

import http.client
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

RESPONSE_S = 600.0  # time limit of a response
MOST_TRIES = 1_000  # of a request that the server asks to send later
_TRY_LATER = (429, 503)


@dataclass
class LoadResult:
    """The outcome of a load test."""

    clients: int
    latencies_s: list[float] = field(default_factory=list)  # of answered requests, without waits for another try
    texts: set[str] = field(default_factory=set)  # the different transcripts; one is right
    retries: int = 0  # answers 429 and 503, after which a request was sent again
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory_bytes: tuple[int, int] = (0, 0)  # of the server, before and after

    def line(self) -> str:
        """Returns the result as a line of text."""
        rate_hz = len(self.latencies_s) / max(self.seconds, 1e-9)
        p50_s, p95_s = np.percentile(self.latencies_s, [50, 95]) if self.latencies_s else (np.nan, np.nan)
        before_mb, after_mb = (count / 1e6 for count in self.memory_bytes)
        return (
            f"{self.clients} clients: {len(self.latencies_s)} answered, {len(self.failures)} lost, {self.retries} sent "
            f"again, {len(self.texts)} different transcripts, {rate_hz:.2f} a second, "
            f"latency p50 {p50_s:.2f} s, p95 {p95_s:.2f} s, memory {before_mb:.0f} -> {after_mb:.0f} MB"
        )


def load_test(url: str, file: Path, *, model: str, clients: int, requests: int) -> LoadResult:
    """Sends a file `requests` times from each of `clients` threads. A request that is told to come later is sent again.

    Args:
        url: of the server, such as http://127.0.0.1:8000.
        file: the audio.
        model: the name of a model of the server; "": the first one.
        clients: the number of threads.
        requests: of each of them.

    Raises:
        OSError: there is no such file, or no server.
        ValueError: the URL is none.
    """
    if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is no address of a server; one such as http://127.0.0.1:8000 is needed")
    health = _health(url)
    body, content_type = _form(file, model or health["models"][0])
    result = LoadResult(clients)
    lock = threading.Lock()

    def client() -> None:
        for _ in range(requests):
            _request(url, body, content_type, result, lock)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - begun
    result.memory_bytes = (health["memory_bytes"], _health(url)["memory_bytes"])
    return result


def _request(url: str, body: bytes, content_type: str, result: LoadResult, lock: threading.Lock) -> None:
    """Sends a request until it is answered, and notes the outcome."""
    for _ in range(MOST_TRIES):
        begun = time.monotonic()
        try:
            status, headers, content = _exchange(url, "POST", "/v1/audio/transcriptions", body, content_type)
        except (OSError, http.client.HTTPException) as error:
            with lock:
                result.failures.append(repr(error))
            return
        with lock:
            if status == http.HTTPStatus.OK:
                result.latencies_s.append(time.monotonic() - begun)
                result.texts.add(json.loads(content)["text"])
                return
            if status not in _TRY_LATER:
                result.failures.append(f"{status}: {content.decode(errors='replace')}")
                return
            result.retries += 1
        time.sleep(float(headers.get("Retry-After", "1")))
    with lock:
        result.failures.append(f"was told to come later {MOST_TRIES} times")


def _exchange(
    url: str, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> tuple[int, http.client.HTTPMessage, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=RESPONSE_S)
    try:
        connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def _health(url: str) -> dict:
    status, _, content = _exchange(url, "GET", "/healthz")
    if status != http.HTTPStatus.OK:
        raise OSError(f"{url}/healthz answers {status}; a running `jaxasr serve` answers 200")
    return json.loads(content)


def _form(file: Path, model: str) -> tuple[bytes, str]:
    """Returns a multipart form and its content type."""
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
    head += f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
    tail = f"\r\n--{border}--\r\n"
    return head.encode() + file.read_bytes() + tail.encode(), f"multipart/form-data; boundary={border}"
