"""Requests and their answers: OpenAI's interface, the lines of the page, limits, and what is no audio."""

import base64
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from jaxasr.scale import CompileCounter
from jaxasr.serving import ServedModel, ServerLimits, build_application, load_model
from jaxasr.serving.models import parse_run
from jaxasr.serving.server import LOOPBACK
from jaxasr.transcription import Transcript
from tests.trained_run import TINY, spoken, wav

URL = "http://127.0.0.1"
SPEECH = wav(spoken("BAD CAB"))
TRANSCRIPTIONS = "/v1/audio/transcriptions"


def client_of(*models, limits=ServerLimits()):
    application = build_application(models, limits, hosts=LOOPBACK)
    return TestClient(application, base_url=URL, raise_server_exceptions=False)


@pytest.fixture
def client(model):
    return client_of(model)


def post(client, audio=SPEECH, name="speech.wav", path=TRANSCRIPTIONS, **fields):
    return client.post(path, files={"file": (name, audio)}, data={"model": "tones"} | fields)


def scripted(model, transcribe):
    """The model with another function from a path to words."""

    class Scripted(ServedModel):
        def transcribe(self, path):
            return transcribe(path)

    return Scripted(model.name, model.transcriber, model.attend, model.created)


def error_of(response, status):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_every_format_has_the_words(client):
    assert post(client).json() == {"text": "BAD CAB"}
    assert post(client, response_format="text").text == "BAD CAB\n"
    srt, vtt = (post(client, response_format=name).text for name in ("srt", "vtt"))
    assert srt.startswith("1\n00:00:00,")
    assert srt.endswith("BAD CAB\n\n")
    assert vtt.startswith("WEBVTT\n\n00:00:00.")


def test_verbose_json_has_segments_and_words_with_times(client):
    granularities = {"timestamp_granularities[]": ["word", "segment"]}
    found = post(client, response_format="verbose_json", **granularities).json()
    assert found["text"] == "BAD CAB"
    assert found["duration"] == pytest.approx(0.84)
    assert [word["word"] for word in found["words"]] == ["BAD", "CAB"]
    np.testing.assert_allclose([(w["start"] + w["end"]) / 2 for w in found["words"]], [0.18, 0.66], atol=0.12)
    assert [segment["text"] for segment in found["segments"]] == ["BAD CAB"]
    assert "words" not in post(client, response_format="verbose_json").json()


def test_the_models_are_listed(client):
    (listed,) = client.get("/v1/models").json()["data"]
    assert listed["id"] == "tones"
    health = client.get("/healthz")
    assert health.status_code == 200
    assert health.json()["memory_bytes"] > 1e7


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "0.4"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"response_format": "xml"}, "response_format"),
        ({"language": "en"}, "language"),
        ({"prompt": "It was said:"}, "prompt"),
        ({"stream": "true"}, "stream"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        ({"timestamp_granularities[]": "letter", "response_format": "verbose_json"}, "timestamp_granularities[]"),
    ],
)
def test_what_is_not_supported_is_said(client, fields, param):
    error = error_of(post(client, **fields), 400)
    assert (error["param"], error["code"]) == (param, "unsupported_parameter")
    assert error["type"] == "invalid_request_error"


def test_empty_fields_and_a_temperature_of_0_are_as_if_left_out(client):
    assert post(client, temperature="0.0", prompt="", language="").json() == {"text": "BAD CAB"}


def test_other_models_and_requests_without_a_file_or_a_model(client):
    assert error_of(post(client, model="whisper-1"), 404)["code"] == "model_not_found"
    assert error_of(post(client, model=""), 400)["code"] == "missing_model"
    assert error_of(client.post(TRANSCRIPTIONS, data={"model": "tones"}), 400)["code"] == "missing_file"
    assert error_of(client.post(TRANSCRIPTIONS, content=b"{}"), 400)["code"] == "missing_file"
    assert error_of(client.get(TRANSCRIPTIONS), 405)["type"] == "invalid_request_error"
    assert error_of(client.get("/etc/passwd"), 404)["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, "/transcribe"])
@pytest.mark.parametrize(
    "audio", [b"not audio at all", b"", SPEECH[:1000], wav(spoken("A")[:100])], ids=["text", "empty", "cut", "short"]
)
def test_what_is_no_audio_is_an_error_that_names_the_upload(client, path, audio):
    response = post(client, audio, "../../etc/passwd", path)
    if path == "/transcribe" and response.status_code == 200:  # too short for the model, which is known when it decodes
        (message,) = [line["message"] for line in lines_of(response) if line["type"] == "error"]
    else:
        error = error_of(response, 400)
        assert error["code"] == "invalid_audio"
        message = error["message"]
    assert message.startswith("passwd")
    assert "/proc" not in message


def lines_of(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_the_page_gets_words_confidences_latency_and_a_picture_of_both_runs(model):
    other = replace(model, name="other")
    start, *lines = lines_of(post(client_of(model, other), path="/transcribe"))
    assert start["models"] == ["tones", "other"]
    assert start["seconds"] == pytest.approx(0.84)
    assert [(line["type"], line["model"]) for line in lines] == [
        *((kind, name) for name in ("tones", "other") for kind in ("words", "end")),
        *(("attention", name) for name in ("tones", "other")),
    ]
    assert [word["text"] for word in lines[0]["words"]] == ["BAD", "CAB"]
    assert all(0.0 < word["confidence"] <= 1.0 for word in lines[0]["words"])
    assert lines[1]["text"] == "BAD CAB"
    assert 0.0 < lines[1]["first_words_s"] <= lines[1]["latency_s"]
    assert base64.b64decode(lines[-1]["png"]).startswith(b"\x89PNG")


def test_silence_has_no_words_and_no_picture(client):
    lines = lines_of(post(client, wav(np.zeros(16_000)), path="/transcribe"))
    assert [line["type"] for line in lines] == ["start", "end", "attention"]
    assert lines[1]["text"] == ""
    assert lines[1]["first_words_s"] is None
    assert lines[2]["png"] is None


def test_no_request_compiles_after_the_warm_up(client):
    rng = np.random.default_rng(1)
    with CompileCounter() as compiles:
        for seconds in (0.2, 0.3, 0.6, 1.0, 2.5):
            audio = wav(rng.normal(0.0, 0.1, round(16_000 * seconds)))
            assert post(client, audio).status_code == 200
            assert post(client, audio, path="/transcribe").status_code == 200
    assert compiles.names == []


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_that_is_too_large_is_refused(model, declared):
    client = client_of(model, limits=ServerLimits(upload_bytes=10_000))
    assert error_of(post(client), 413)["code"] == "upload_too_large"
    border = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    sent = []

    def chunks():
        for block in (border, *[b"0" * 50_000] * 40):
            sent.append(len(block))
            yield block

    headers = {"Content-Type": "multipart/form-data; boundary=x"} | ({"Content-Length": "2000000"} if declared else {})
    error_of(client.post(TRANSCRIPTIONS, content=chunks(), headers=headers), 413)


def test_audio_that_is_too_long_is_refused_before_it_is_decoded(model):
    client = client_of(model, limits=ServerLimits(audio_s=0.5))
    assert error_of(post(client), 400)["code"] == "audio_too_long"


@pytest.mark.parametrize("audio", [SPEECH, b"not audio at all"])
def test_no_file_is_left_and_none_has_a_name(model, audio, tmp_path, monkeypatch):
    """Also uploads of more bytes than stay in memory lie in files without a name."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []

    def listing(path):
        seen.append([path.exists(), *os.listdir(tmp_path)])
        yield Transcript(path, "", (), 1.0, 0.0, True)

    watched = scripted(model, listing) if audio == SPEECH else model
    before = len(os.listdir("/proc/self/fd"))
    with client_of(watched) as client:
        padded = wav(np.resize(spoken("BAD CAB"), 1_000_000)) if audio == SPEECH else audio
        assert len(padded) > 1 << 20 or audio != SPEECH
        assert post(client, padded).status_code == (200 if audio == SPEECH else 400)
    assert seen == ([[True]] if audio == SPEECH else [])
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) <= before


def test_an_error_of_the_model_is_answered_and_frees_its_place(model):
    def fails(path):
        raise FloatingPointError("the log probability of a window is NaN")

    broken = scripted(model, fails)
    client = client_of(broken, limits=ServerLimits(queue=0))
    for _ in range(3):
        error = error_of(post(client), 500)
        assert (error["type"], error["code"]) == ("server_error", "internal_error")
        assert "NaN" not in error["message"]


def test_a_full_queue_is_told_when_to_come_again_and_a_draining_server_refuses(model):
    entered, leave = threading.Event(), threading.Event()

    def waits(path):
        entered.set()
        assert leave.wait(60.0)
        yield from model.transcribe(path)

    with client_of(scripted(model, waits), limits=ServerLimits(queue=0)) as client:
        answers = []
        first = threading.Thread(target=lambda: answers.append(post(client)))
        first.start()
        try:
            assert entered.wait(60.0)
            busy = post(client)
            assert error_of(busy, 429)["code"] == "queue_full"
            assert int(busy.headers["Retry-After"]) >= 1
            client.app.state.gate.draining = True
            refused = post(client)
            assert error_of(refused, 503)["code"] == "shutting_down"
            assert int(refused.headers["Retry-After"]) >= 1
            assert client.get("/healthz").status_code == 503
        finally:
            leave.set()
            first.join(60.0)
        assert answers[0].json() == {"text": "BAD CAB"}
        assert client.app.state.gate.admitted == 0


def test_pages_of_others_and_other_names_of_the_host_are_refused(client):
    files = {"file": ("a.wav", SPEECH)}
    foreign = client.post("/transcribe", files=files, headers={"Origin": "https://example.org"})
    assert error_of(foreign, 403)["code"] == "foreign_origin"
    assert error_of(client.get("/", headers={"Host": "example.org"}), 403)["code"] == "unknown_host"
    assert client.post("/transcribe", files=files, headers={"Origin": URL}).status_code == 200


def test_the_page_loads_nothing_from_elsewhere(client):
    for path, kind in {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}.items():
        response = client.get(path)
        assert response.headers["Content-Type"].startswith(kind)
        assert "http" not in response.text.replace("HTTPS", "")
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_a_run_is_named_by_its_experiment_and_folder(tmp_path):
    (tmp_path / "run").mkdir()
    assert parse_run(f"best=a.py:f:v@{tmp_path}/run") == ("best", "a.py:f:v", tmp_path / "run")
    assert parse_run(f"a.py@{tmp_path}/run")[0] == "run"
    with pytest.raises(FileNotFoundError, match=r"has no experiment\.py"):
        parse_run(str(tmp_path / "run"))
    (tmp_path / "run/experiment.py").touch()
    assert parse_run(str(tmp_path / "run")) == ("run", str(tmp_path / "run/experiment.py"), tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        parse_run("a.py@lost")


def test_two_runs_need_two_names_and_limits_must_leave_room(model):
    with pytest.raises(ValueError, match="two runs have one name"):
        build_application([model, model])
    with pytest.raises(ValueError, match="accepts no request"):
        ServerLimits(concurrency=0)


def test_another_search_is_taken_by_its_name(trained_run):
    assert load_model(f"{TINY}@{trained_run.workdir}", search="beam").transcriber.form.search.width > 1
    with pytest.raises(ValueError, match="there is no search"):
        load_model(f"{TINY}@{trained_run.workdir}", search="lost")
