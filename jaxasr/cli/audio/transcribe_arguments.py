"""The arguments of `jaxasr transcribe`."""

import argparse
from pathlib import Path

from jaxasr.cli.arguments import experiment_argument, run_arguments
from jaxasr.cli.numbers import number, whole_number

MOST_WINDOW_S = 86_400.0
FORMATS = ("txt", "json", "srt", "vtt", "ctm", "stm")  # of transcripts: transcription.formats


def declare(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr transcribe`."""
    experiment_argument(parser)
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="audio files or pipes such as /dev/stdin: FLAC, WAV, MP3, Ogg, SPHERE ...; overrides PATH=VALUE may stand among "
        "them",
    )
    parser.set_defaults(assignments=[])
    parser.add_argument(
        "--search",
        default="",
        metavar="NAME",
        help="the search: that of a split of the experiment, or greedy, ctc, beam (default: the search that all evals "
        "share, else that of the validation split); search.PATH=VALUE among the files changes it, such as search.width=20",
    )
    parser.add_argument(
        "--tuned", type=Path, metavar="FILE", help="tuned.json of `jaxasr tune-decoding`: values for the search"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="txt",
        help="json: words and segments, with times and confidences; srt, vtt: subtitles; ctm, stm: words or segments for "
        "sclite of NIST (default: txt)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write DIR/NAME.FORMAT for each file instead of printing"
    )
    parser.add_argument(
        "--times",
        choices=("auto", "ctc", "attention"),
        default="auto",
        help="the source of word times; auto: CTC if the model has it, else attention (default: auto)",
    )
    _declare_windows(parser)
    parser.add_argument("--hotwords", type=Path, metavar="FILE", help="phrases that are likely, one a line")
    parser.add_argument(
        "--hotword-bonus",
        type=number(),
        default=0.5,
        metavar="X",
        help="the bonus of each letter of a hotword, in nats (default: 0.5)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=8,
        metavar="N",
        help="the number of windows decoded together (default: 8)",
    )
    _declare_cues(parser)
    _declare_guards(parser)
    _declare_stream(parser)
    run_arguments(parser)


def _declare_windows(parser: argparse.ArgumentParser) -> None:
    """Declares how long files are cut."""
    parser.add_argument(
        "--window-s",
        type=number(most=MOST_WINDOW_S, above=0.0),
        metavar="S",
        help="the longest window, in seconds, into which a long file is cut (default: the 95 %% quantile of the training "
        "utterances)",
    )
    parser.add_argument(
        "--windows",
        choices=("pauses", "timestamps"),
        default="pauses",
        help="where a long file is cut: in pauses; or where the decoder's own timestamps say, for a Whisper, which then "
        "decodes up to --batch-size files together (default: pauses)",
    )
    parser.add_argument(
        "--fallback",
        action=argparse.BooleanOptionalAction,
        help="decode windows again at temperatures from 0.2 to 1 if their text repeats itself or is improbable (default: "
        "with --windows timestamps)",
    )


def _declare_cues(parser: argparse.ArgumentParser) -> None:
    """Declares the sizes of subtitles and segments."""
    cues = parser.add_argument_group("options of subtitles and segments (srt, vtt, stm, json)")
    cues.add_argument(
        "--line-characters", type=whole_number(1), default=42, metavar="N", help="characters of a line (default: 42)"
    )
    cues.add_argument("--lines", type=whole_number(1), default=1, metavar="N", help="lines of a subtitle (default: 1)")
    cues.add_argument(
        "--most-s", type=number(above=0.0), default=6.0, metavar="S", help="the longest duration, in s (default: 6)"
    )


def _declare_stream(parser: argparse.ArgumentParser) -> None:
    stream = parser.add_argument_group("options of streaming")
    stream.add_argument(
        "--stream",
        action="store_true",
        help="print words as they become final, and their latency; FILE may be -: raw 16-bit mono samples on stdin, at "
        "the sample rate of the experiment",
    )
    stream.add_argument("--real-time", action="store_true", help="read FILE at the speed of the recording")
    stream.add_argument(
        "--chunk-ms",
        type=number(most=1_000 * MOST_WINDOW_S, above=0.0),
        metavar="N",
        help="milliseconds of audio that are encoded together (default: 320)",
    )
    stream.add_argument("--reset-encoder", action="store_true", help="reset the encoder at each endpoint")


def _declare_guards(parser: argparse.ArgumentParser) -> None:
    """Declares the guards against words that nobody said."""
    parser.add_argument(
        "--no-speech-threshold",
        type=no_speech_threshold,
        default=argparse.SUPPRESS,
        metavar="P",
        help="the probability of no speech from which on the words of a window are withheld, or off (default: 0.5); "
        "`jaxasr calibrate` fits the probability to the run",
    )
    parser.add_argument(
        "--no-repetition-guard",
        action="store_true",
        help="let a phrase repeat without limit (default: at most 7 times in a row)",
    )


def no_speech_threshold(text: str) -> float | None:
    """Parses a probability above 0 and up to 1, or "off"."""
    return None if text == "off" else number(most=1.0, above=0.0)(text)
