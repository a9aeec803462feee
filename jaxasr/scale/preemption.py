"""Agreement of all processes on the step after which they stop: any process may request it, all stop after the same step.

No process waits for another before a request. The main threads take no part, because they may be waiting in a collective. A
thread of each process polls for a request. It then stops its process from beginning another step and publishes the step of
its process. When all processes have published theirs, they agree on the first step that none has begun.
"""

import itertools
import threading
import time
from types import TracebackType

from jaxasr.scale.hosts import client, process

POLL_S = 0.5

_agreements = itertools.count()


class PreemptionSync:
    """A context manager for a request to all processes, which take effect after the same step in each.

    All processes of a job enter it in the same order. Without a distributed job a request takes effect at once.
    """

    def __init__(self, *, poll_s: float = POLL_S):
        self.reason = (
            0  # of the request: set at once by this process; for a request of another process, after agreement
        )
        self._poll_s = poll_s
        self._client = client()
        self._number, self._count = process()
        self._key = f"jaxasr/agreement/{next(_agreements)}"
        self._last_step = -1  # the last step that `reached` was called with
        self._agreed_step: int | None = None
        self._published = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="agreement", daemon=True)

    def __enter__(self) -> "PreemptionSync":
        if self._client is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._client is not None and error is None:
            self._thread.join()
            self._publish()  # the others then don't wait for this process, which makes no more steps

    def request(self, reason: int) -> None:
        """Requests a stop of all processes. A signal handler may call it.

        Args:
            reason: a number other than 0.
        """
        self.reason = reason

    def reached(self, step: int) -> bool:
        """Returns True from the agreed step on. Every process calls it after each step and gets the same result for it."""
        if self._client is None:
            return bool(self.reason)
        with self._lock:
            self._last_step = step
            return self._agreed_step is not None and step >= self._agreed_step

    def _poll(self) -> None:
        requested = False
        while not self._stopped.wait(self._poll_s):
            if self.reason and not requested:
                self._client.key_value_set(f"{self._key}/requested/{self._number}", str(self.reason))
                requested = True
            requests = self._client.key_value_dir_get(f"{self._key}/requested/")
            if requests:
                self._agree(int(requests[0][1]))
                return

    def _agree(self, reason: int) -> None:
        with self._lock:
            self._publish()
            while len(published := self._client.key_value_dir_get(f"{self._key}/steps/")) < self._count:
                time.sleep(0.05)
            self._agreed_step = max(int(step) for _, step in published) + 1
            self.reason = self.reason or reason

    def _publish(self) -> None:
        if not self._published:
            self._published = True
            self._client.key_value_set(f"{self._key}/steps/{self._number}", str(self._last_step))
