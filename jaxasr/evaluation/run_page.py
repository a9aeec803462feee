"""The page of a run, gathered from its workdir: results, curves, the worst utterances with their sound, speed."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from jaxasr import report
from jaxasr.data import BoundPipeline
from jaxasr.data.audio import decode_audio
from jaxasr.evaluation.attention_metrics import AttentionCollapseMonitor, replay_warnings
from jaxasr.experiment.goodput_totals import read_goodput
from jaxasr.experiment.workdir import Workdir
from jaxasr.files import write_whole
from jaxasr.report.page import AudibleUtterance, PageContents, Table
from jaxasr.training import read_metrics

MOST_SPOKEN = 6  # utterances with the most errors, of one split
LONGEST_SPOKEN_S = 30.0  # of an utterance with its sound
_SCORES = ("wer", "cer", "mer", "ser", "perplexity")  # of the table of results

Rows = list[dict[str, Any]]


def write_run_page(workdir: Workdir, splits: Mapping[str, BoundPipeline], measurements: report.Measurements) -> None:
    """Writes the curves and the page of a run anew.

    Args:
        workdir: the folder of the run.
        splits: the data of splits that were decoded, by the names of their files. The sounds on the page are of the last one.
        measurements: those of the run; the curves are one of them.
    """
    metrics = read_metrics(workdir.metrics) if workdir.metrics.is_file() else []
    curves = workdir.pictures / "curves.png"
    if metrics:
        with measurements.optional("the picture of the curves"):
            report.pictures.curves(metrics, path=curves)
    results = report.read(workdir.path / "results.jsonl") if (workdir.path / "results.jsonl").is_file() else []
    last = list(splits)[-1:]
    contents = PageContents(
        workdir.path.resolve().name,
        lines=[*_best_and_last(metrics), *_speed_lines(workdir.path)],
        warnings=replay_warnings(metrics, AttentionCollapseMonitor()),
        tables=[*_results_table(results), *_conditions_table(results), _metrics_table(metrics)],
        pictures=[curves, *sorted(workdir.pictures.glob("alignment.*.png"))],
        utterances=[
            spoken for name in last for spoken in _worst(workdir.path / f"hypotheses.{name}.jsonl", splits[name])
        ],
        links={path.name: f"errors of {path.name.split('.', 1)[1].rsplit('.', 1)[0]}" for path in _pages(workdir.path)},
        experiment=workdir.experiment.read_text(encoding="utf-8") if workdir.experiment.is_file() else "",
    )
    write_whole(workdir.page, report.page(contents))


def _pages(folder: Path) -> list[Path]:
    return sorted(folder.glob("hypotheses.*.html"))


def _best_and_last(metrics: Rows) -> list[str]:
    """Returns a line with the best and the last value of the first error rate of the validation split."""
    for score in ("validation/wer", "validation/perplexity"):
        points = [(float(row[score]), int(row["step"])) for row in metrics if score in row]
        finite = [point for point in points if math.isfinite(point[0])]
        if finite:
            shown = [f"{_shown(score, value)} at step {step:,}" for value, step in (min(finite), points[-1])]
            return [f"{score}: best {shown[0]}, last {shown[1]}; {len(points)} evaluations"]
    return []


def _speed_lines(folder: Path) -> list[str]:
    """Returns lines with the speed of the last steps and the shares of the wall time."""
    lines: list[str] = []
    if speed := _last_line(folder / "speed.jsonl"):
        parts = [f"{speed['steps_per_s']:.3g} steps/s"]
        for name, unit in (("audio_s_per_s", "s of audio a second"), ("tokens_per_s", "tokens a second")):
            parts += [f"{speed[name]:,.0f} {unit}"] if speed.get(name) else []
        parts.append(f"{speed['padding_share']:.0%} padding")
        parts.append(f"{speed['data_stall_share']:.0%} of the time waiting for data")
        parts += [f"MFU {speed['mfu']:.1%}"] if speed.get("mfu") else []
        lines.append(f"speed at step {speed['step']:,}: {', '.join(parts)}")
    totals = read_goodput(folder, lambda _: None)  # the training has printed what is damaged
    return lines + [str(found) for found in totals[-1:]]


def _last_line(path: Path) -> dict[str, Any]:
    """Returns the last whole line of a file of JSON lines; nothing if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return {}


def _results_table(results: Rows) -> list[Table]:
    """Returns the table of the last row of each split, search, checkpoint and step; nothing if there are no rows."""
    latest = {json.dumps([row.get(key) for key in ("outputs", "split", "step")]): row for row in results}
    names = [name for name in _SCORES if any(isinstance(row.get(name), int | float) for row in latest.values())]
    header = ["split", *(part for name in names for part in (_title(name), "95 %")), "words", "utterances", "step"]
    rows = [
        [
            str(row.get("outputs") or row.get("split")),
            *(cell for name in names for cell in _cells(row, name)),
            f"{row.get('words') or 0:,}",
            f"{row.get('utterances') or 0:,}",
            f"{row.get('step')}",
        ]
        for row in latest.values()
    ]
    return [Table("results", header, rows)] if rows else []


def _conditions_table(results: Rows) -> list[Table]:
    """Returns the table of the last row of each decoding that has recording conditions; nothing if there is none."""
    latest = {str(row.get("outputs") or row.get("split")): row for row in results if row.get("by_condition")}
    rows = [
        [name, condition, *_cells(found, "wer"), *_cells(found, "cer")]
        for name, row in latest.items()
        for condition, found in {"as recorded": row, **row["by_condition"]}.items()
    ]
    header = ["split", "condition", "WER", "95 %", "CER", "95 %"]
    return [Table("results under recording conditions", header, rows)] if rows else []


def _cells(row: Mapping[str, Any], name: str) -> list[str]:
    value = row.get(name)
    low, high = (row.get("intervals") or {}).get(name) or (None, None)
    interval = "" if low is None or high is None else f"{_shown(name, low)} to {_shown(name, high)}"
    return ["-" if value is None else _shown(name, float(value)), interval]


def _metrics_table(metrics: Rows) -> Table:
    latest = {name: (row["step"], value) for row in metrics for name, value in row.items() if name != "step"}
    rows = [[name, f"{value:.4g}", f"{step:,}"] for name, (step, value) in sorted(latest.items())]
    return Table("metrics, last values", ("metric", "value", "step"), rows, is_open=False)


def _worst(hypotheses: Path, data: BoundPipeline) -> list[AudibleUtterance]:
    """Returns the utterances with the most errors, with their sound if it is not too long."""
    if not hypotheses.is_file():
        return []
    rows = [json.loads(line) for line in hypotheses.read_text(encoding="utf-8").splitlines()]
    errors = [row["substitutions"] + row["deletions"] + row["insertions"] for row in rows]
    order = sorted((k for k in range(len(rows)) if errors[k]), key=lambda k: (-errors[k], rows[k]["id"]))[:MOST_SPOKEN]
    numbers = {id: number for number, id in enumerate(data.ids)}
    return [
        AudibleUtterance(
            f"{rows[k]['id']}: {errors[k]} errors in {rows[k]['words']} words",
            rows[k]["reference"],
            rows[k]["hypothesis"],
            _flac(data, numbers.get(rows[k]["id"])),
        )
        for k in order
    ]


def _flac(data: BoundPipeline, number: int | None) -> bytes:
    """Returns an utterance as a FLAC file, which every browser plays; nothing if it is unknown or too long."""
    if number is None or not 0.0 < data.examples.seconds[number] <= LONGEST_SPOKEN_S:
        return b""
    wave_n = decode_audio(data.read(number), id=data.ids[number], rate_hz=data.rate_hz)
    file = io.BytesIO()
    soundfile.write(file, wave_n, data.rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name.endswith("perplexity") else f"{value:.2%}"


def _title(name: str) -> str:
    return name if name == "perplexity" else name.upper()
