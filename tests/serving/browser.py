"""Headless Chromium over the pipe of its DevTools protocol, without a driver."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes import PROCESS_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
_POLL_S = 0.05


def find_browser() -> str | None:
    """Returns the path of an installed Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._numbers = itertools.count(1)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.requested: list[str] = []  # URLs
        self.call("Network.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        self._commands.write(json.dumps({"id": number, "method": method, "params": params} | session).encode() + b"\0")
        while True:
            message = json.loads(self._message())
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def value(self, expression: str) -> Any:
        """Returns the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + PROCESS_S
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, (
                f"{expression} is not true; the page: {self.value('document.body.innerText')}"
            )
            time.sleep(_POLL_S)

    def upload(self, selector: str, file: Path) -> None:
        """Chooses a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self) -> bytes:
        """Returns the whole page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def close(self) -> None:
        """Closes the pipes, which ends the browser."""
        self._commands.close()
        self._answers.close()

    def _message(self) -> bytes:
        content = bytearray()
        while (byte := self._answers.read(1)) not in (b"", b"\0"):
            content += byte
        assert byte, "the browser has ended"
        return bytes(content)


@contextlib.contextmanager
def browser(path: str, profile: Path, *, microphone: Path | None = None) -> Iterator[Page]:
    """Yields a page. The microphone plays a WAV file."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1400,1000", "--mute-audio"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if microphone is not None:
        options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        options += [f"--use-file-for-fake-audio-capture={microphone}"]
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    shell = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
    with subprocess.Popen(
        ["bash", "-c", shell, "bash", path, *options, "about:blank"],
        pass_fds=(command_read, answer_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(command_read)
        os.close(answer_write)
        timer = threading.Timer(3 * PROCESS_S, process.kill)  # whoever reads then learns that it has ended
        timer.start()
        page = Page(command_write, answer_read)
        try:
            yield page
        finally:
            page.close()
            timer.cancel()
            process.kill()
