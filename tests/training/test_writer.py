"""Metrics: they read back as they were written, and a resumed run's are those of an unbroken one."""

import math
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from tensorboardX import record_writer
from tensorboardX.proto.event_pb2 import Event

from jaxasr.report import Measurements
from jaxasr.training.writer import Writer, read_metrics


def write(folder, steps, **keywords):
    with Writer(folder, **keywords) as writer:
        for step in steps:
            writer.write(step, {"train/loss": 1.0 / (step + 1), "train/tokens": step})


def test_what_was_written_reads_back_to_the_last_bit(tmp_path):
    with Writer(tmp_path / "new" / "run") as writer:
        writer.write(1, {"a": 0.1 + 0.2, "b": np.float32(0.1), "c": jnp.float32(1.5), "n": 3})
        writer.write(2, {"a": math.nan, "b": math.inf, "c": -math.inf})
        rows = read_metrics(tmp_path / "new" / "run" / "metrics.jsonl")  # flushed: readable while the run goes on
    assert rows[0] == {"step": 1, "a": 0.1 + 0.2, "b": float(np.float32(0.1)), "c": 1.5, "n": 3}
    assert math.isnan(rows[1].pop("a"))
    assert rows[1] == {"step": 2, "b": math.inf, "c": -math.inf}


def test_a_resumed_run_writes_what_an_unbroken_one_does(tmp_path):
    write(tmp_path / "unbroken", range(1, 9))
    write(tmp_path / "broken", range(1, 7))
    path = tmp_path / "broken" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 7, "train/lo')  # killed in the middle of a line
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3, 4, 5, 6]
    write(tmp_path / "broken", range(5, 9), resume_step=4)
    assert path.read_bytes() == (tmp_path / "unbroken" / "metrics.jsonl").read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_a_run_from_the_beginning_keeps_nothing_of_before(tmp_path):
    write(tmp_path, range(4))
    write(tmp_path, [0, 1])
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1]


def test_tensorboard_has_the_same_numbers_and_drops_what_comes_again(tmp_path):
    write(tmp_path, range(1, 4))
    write(tmp_path, range(3, 5), resume_step=2)
    first, second = sorted((tmp_path / "tensorboard").iterdir())
    assert [(e.step, v.simple_value) for e in events(first) for v in e.summary.value if v.tag == "train/tokens"] == [
        (1, 1.0),
        (2, 2.0),
        (3, 3.0),
    ]
    assert [e.step for e in events(second) if e.HasField("session_log")] == [3]  # TensorBoard purges from here
    assert [e.step for e in events(second) for v in e.summary.value if v.tag == "train/tokens"] == [3, 4]


@pytest.mark.usefixtures("errors_are_left_out")
def test_without_room_lines_end_the_run_and_tensorboard_is_left_out(tmp_path, monkeypatch):
    """Thousands of numbers and no reader: tensorboardX's own writer would wait for ever after the tenth."""
    printed = []
    with Path("/dev/full").open("wb", buffering=0) as full, Writer(tmp_path / "run") as writer:
        monkeypatch.setattr(record_writer, "open_file", lambda _: full)
        with Writer(tmp_path, measurements=Measurements(printed.append)) as another:
            for step in range(1_000):
                another.write(step, {"train/loss": 1.0})
        monkeypatch.setattr(writer._lines, "write", lambda line: full.write(line.encode()))
        with pytest.raises(OSError, match="No space left on device"):
            writer.write(1, {"train/loss": 1.0})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1_000
    (line,) = printed
    assert line.startswith("WARNING: TensorBoard is left out: OSError: [Errno 28] No space left on device (at ")


@pytest.mark.usefixtures("errors_are_left_out")
def test_a_folder_for_tensorboard_that_cannot_be_made_is_reported_once(tmp_path):
    (tmp_path / "tensorboard").touch()
    printed = []
    with Writer(tmp_path, measurements=Measurements(printed.append)) as writer:
        writer.write(1, {"train/loss": 1.0})
    assert [line.partition(" (at ")[0] for line in printed] == [
        f"WARNING: TensorBoard is left out: FileExistsError: [Errno 17] File exists: '{tmp_path}/tensorboard'"
    ]


def test_a_figure_goes_to_tensorboard(tmp_path):
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([1, 2])
    with Writer(tmp_path) as writer:
        writer.figure(5, "attention", figure)
    plt.close(figure)
    (file,) = (tmp_path / "tensorboard").iterdir()
    (image,) = [v.image for e in events(file) for v in e.summary.value if v.HasField("image")]
    assert image.encoded_image_string.startswith(b"\x89PNG")


def test_a_line_that_is_no_metrics_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nhello\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2 is no line of metrics: 'hello'"):
        read_metrics(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"loss": 1}',
        "[1, 2]",
        '{"step": "one"}',
        '{"step": 1.5}',
        '{"step": -1}',
        '{"step": 1e400}',
        '{"step": true}',
        '{"step": 1, "loss": null}',
        '{"step": 1, "loss": [3]}',
        '{"step": 1, "loss": "low"}',
        '{"step": 1, "loss": "é"}',
        "\x00",
        "[" * 100_000,
    ],
)
def test_a_damaged_line_ends_a_run_before_it_writes(line, tmp_path):
    """Metrics are no measurement that a run may lose, so the line is not removed."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n', encoding="latin-1")
    before = path.read_bytes()
    for use in (read_metrics, lambda path: Writer(path.parent, resume_step=2)):
        with pytest.raises(ValueError, match=r"line 2 is no line of metrics: .*Mend the line or remove it"):
            use(path)
    assert path.read_bytes() == before


def test_step_is_not_a_metric(tmp_path):
    with Writer(tmp_path) as writer, pytest.raises(ValueError, match="'step'"):
        writer.write(1, {"step": 3})


def events(file):
    """The events of a TensorBoard file: records of an 8-byte length, 4 bytes of checksum, the event, 4 of checksum."""
    data, found = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found
