"""The web page in headless Chromium: an upload, a recording and an error, as a person sees them."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.processes import PROCESS_S
from tests.serving.browser import browser, find_browser
from tests.serving.test_server import served
from tests.trained_run import spoken, wav

SCREENSHOT = os.environ.get("JAXASR_SCREENSHOT", "")  # a folder for what the page looks like
DONE = "document.querySelector('section[data-done] img')"


@pytest.mark.skipif(find_browser() is None, reason="no Chromium is installed")
def test_an_upload_a_recording_and_an_error_appear(trained_run, tmp_path):
    speech = tmp_path / "speech.wav"
    speech.write_bytes(wav(spoken("BAD CAB")))
    said = tmp_path / "said.wav"
    said.write_bytes(wav(np.concatenate([spoken("BAD CAB", 48_000)] * 20), rate_hz=48_000))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio at all")
    with (
        served(trained_run) as (process, url),
        browser(find_browser() or "", tmp_path / "profile", microphone=said) as page,
    ):
        page.call("Page.navigate", url=f"{url}/")
        page.wait_for("document.readyState === 'complete' && document.getElementById('file')")
        page.upload("#file", speech)
        page.wait_for(DONE)
        words = page.value("[...document.querySelectorAll('.word')].map((word) => [word.textContent, word.title])")
        assert [text for text, _ in words] == ["BAD", "CAB"]
        assert all("confidence" in title for _, title in words)
        assert "s of audio a second" in page.value("document.querySelector('.latency').textContent")
        assert page.value("document.querySelector('section img').naturalWidth") > 300
        if SCREENSHOT:
            (Path(SCREENSHOT) / "upload.png").write_bytes(page.screenshot())

        page.upload("#file", broken)
        page.wait_for("!document.getElementById('error').hidden")
        assert "libsndfile cannot decode" in page.value("document.getElementById('error').textContent")

        page.value("document.getElementById('record').click()")
        page.wait_for("document.getElementById('record').textContent === 'Stop'")
        page.value("new Promise((resolve) => setTimeout(resolve, 1500))")
        page.value("document.getElementById('record').click()")
        page.wait_for(DONE)
        assert "recording.wav" in page.value("document.getElementById('status').textContent")
        assert page.value("document.getElementById('error').hidden")
        assert page.value("document.querySelectorAll('.word').length") > 0

        assert {address for address in page.requested if not address.startswith(("data:", "blob:", f"{url}/"))} == set()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PROCESS_S)
    assert process.returncode == 0
