"""The process of `jaxasr serve`: its port opens when the model is warm, and SIGTERM lets running requests finish."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from jaxasr.__main__ import main
from jaxasr.serving.server import address, bind, is_loopback
from tests.processes import PROCESS_S, read_line
from tests.trained_run import TINY, spoken, wav

LONG = np.concatenate([np.concatenate([spoken("BAD CAB"), np.zeros(4_000)]) for _ in range(200)])


@contextlib.contextmanager
def served(run, *options):
    """A server process and its URL; killed at the end if it still runs."""
    words = [sys.executable, "-m", "jaxasr", "serve", f"tones={TINY}@{run.workdir}", "--port", "0", *options]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", cwd=root, env=environment
    ) as process:
        try:
            while (line := read_line(process)) and not line.startswith("ready: "):
                assert re.fullmatch(r"tones: compiled in .* s\n", line)
            assert line, process.communicate(timeout=PROCESS_S)[1]
            yield process, line.removeprefix("ready: ").strip()
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    path.write_bytes(wav(spoken("BAD CAB")))
    return path


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "long.wav"
    path.write_bytes(wav(LONG))
    return path


def test_sigterm_finishes_what_runs_refuses_what_comes_and_ends_with_0(trained_run, speech, long_speech):
    """The long file is 200 windows, and the short one is sent while they are decoded."""
    with served(trained_run, "--queue", "4") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        answers = []
        sender = threading.Thread(target=lambda: answers.append(post(url, long_speech)))
        sender.start()
        while health(url)["admitted"] == 0:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        while health(url)["status"] == "ok":
            assert process.poll() is None
        refused, _ = post(url, speech)
        out, err = process.communicate(timeout=PROCESS_S)
        sender.join(PROCESS_S)
    assert process.returncode == 0, err
    assert out == "shut down after 1 requests; none is left\n"
    ((finished, lines),) = answers
    assert finished.status == 200
    assert [line["type"] for line in lines[-2:]] == ["end", "attention"]
    assert lines[-2]["seconds"] == pytest.approx(len(LONG) / 16_000)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "Traceback" not in err


def health(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PROCESS_S)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        return json.loads(connection.getresponse().read())


def post(url, file):
    """The answer of the page's endpoint, whatever its status, and its lines."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PROCESS_S)
    with contextlib.closing(connection):
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", "/transcribe", head + file.read_bytes() + b"\r\n--x--\r\n", headers)
        response = connection.getresponse()
        return response, [json.loads(line) for line in response.read().splitlines()]


def test_a_load_test_loses_nothing_and_says_so(trained_run, speech, capsys):
    with served(trained_run, "--queue", "1") as (process, url):
        assert main(["load-test", url, str(speech), "--clients", "1,6", "--requests", "3"]) == 0
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PROCESS_S)
    assert process.returncode == 0
    one, six = capsys.readouterr().out.splitlines()
    assert one.startswith("1 clients: 3 answered, 0 lost, 0 sent again, 1 different transcripts, ")
    assert six.startswith("6 clients: 18 answered, 0 lost, ")
    assert main(["load-test", url, str(speech), "--clients", "1", "--requests", "1"]) == 1  # it has ended


def test_an_answer_that_is_an_error_is_lost(trained_run, speech, tmp_path, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio at all")
    with served(trained_run) as (process, url):
        assert main(["load-test", url, str(broken), "--clients", "2", "--requests", "1"]) == 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PROCESS_S)
    printed = capsys.readouterr()
    assert printed.out.startswith("2 clients: 0 answered, 2 lost, ")
    assert "libsndfile cannot decode" in printed.err


def test_a_port_in_use_is_an_error_before_a_model_is_loaded(capsys):
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = address(taken).rpartition(":")[2]
        assert main(["serve", "lost.py@lost", "--port", port]) == 1
    assert f"127.0.0.1 port {port} cannot be bound" in capsys.readouterr().err
    assert main(["serve", "lost.py@lost", "--port", "0"]) == 1
    assert "there is no folder lost" in capsys.readouterr().err


def test_a_bound_port_does_not_answer_yet():
    with bind("127.0.0.1", 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname(), timeout=PROCESS_S)


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("asr", False)]
)
def test_hosts_are_checked_on_the_loopback_interface_alone(host, alone):
    assert is_loopback(host) == alone
