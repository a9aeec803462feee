"""Processes that make the same steps agree on one of them: each may ask, all do it after the same step.

No process waits for another until somebody asks, and none takes part with its main thread, which may be waiting for the
others in a collective. A thread of each looks for a request; it then keeps its process from beginning another step, tells
the others how far that one is, and when all have told, the step is the first that none has decided about yet.
"""

import itertools
import threading
import time
from types import TracebackType

from jaxasr.scale.hosts import client, process

POLL_S = 0.5

_agreements = itertools.count()


class PreemptionSync:
    """Entered by all processes of a job in the same order. In a process that is alone, what is asked is due at once."""

    def __init__(self, *, poll_s: float = POLL_S):
        self.reason = 0  # what was asked for: by this process at once, by another when it is agreed
        self._poll_s = poll_s
        self._client, (self._number, self._count) = client(), process()
        self._key = f"jaxasr/agreement/{next(_agreements)}"
        self._decided, self._at = -1, None  # steps: the last that was asked about, the one that is agreed
        self._told = False
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._listen, name="agreement", daemon=True)

    def __enter__(self) -> "PreemptionSync":
        if self._client is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._client is not None and error is None:
            self._thread.join()
            self._tell()  # the others need not wait for one that makes no step any more

    def request(self, reason: int) -> None:
        """Asks all processes, for a reason other than 0. A signal handler may do this."""
        self.reason = reason

    def reached(self, step: int) -> bool:
        """Whether now is the time. Every process calls it after each step, and gets the same answer for the same step."""
        if self._client is None:
            return bool(self.reason)
        with self._lock:
            self._decided = step
            return self._at is not None and step >= self._at

    def _listen(self) -> None:
        asked = False
        while not self._over.wait(self._poll_s):
            if self.reason and not asked:
                self._client.key_value_set(f"{self._key}/asked/{self._number}", str(self.reason))
                asked = True
            requests = self._client.key_value_dir_get(f"{self._key}/asked/")
            if requests:
                self._agree(int(requests[0][1]))
                return

    def _agree(self, reason: int) -> None:
        with self._lock:
            self._tell()
            while len(told := self._client.key_value_dir_get(f"{self._key}/decided/")) < self._count:
                time.sleep(0.05)
            self._at = max(int(step) for _, step in told) + 1
            self.reason = self.reason or reason

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._client.key_value_set(f"{self._key}/decided/{self._number}", str(self._decided))
