"""The subcommands that serve trained runs over HTTP, and test a server under load."""

import argparse
import sys
from pathlib import Path

from jaxasr.cli.arguments import checkpoint, set_up_process
from jaxasr.cli.command import Command
from jaxasr.cli.numbers import int_list, number, whole_number

MOST_PORT = 65_535
MOST_CLIENTS = 1_000
_MOST_MB = 1e6
_MOST_S = 86_400.0
_NEEDED = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def declare_serve(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr serve`."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="[NAME=]EXPERIMENT@WORKDIR, or [NAME=]WORKDIR of a run with its experiment.py; the page shows two side by side",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to bind (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument(
        "--port",
        type=whole_number(most=MOST_PORT),
        default=8000,
        metavar="N",
        help="0: a free one, which is printed (default: 8000)",
    )
    parser.add_argument(
        "--search", default="", metavar="NAME", help="the search, as for `jaxasr transcribe` (default: that for files)"
    )
    parser.add_argument(
        "--checkpoint", type=checkpoint, default="best", help="best, last, a step, or mean (default: best)"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--most-mb",
        type=number(most=_MOST_MB, above=0.0),
        default=50.0,
        metavar="MB",
        help="megabytes of an upload (default: 50)",
    )
    limits.add_argument(
        "--most-s",
        type=number(most=_MOST_S, above=0.0),
        default=600.0,
        metavar="S",
        help="seconds of audio (default: 600)",
    )
    limits.add_argument(
        "--concurrency",
        type=whole_number(1, MOST_CLIENTS),
        default=1,
        metavar="N",
        help="requests that are decoded at once (default: 1)",
    )
    limits.add_argument(
        "--queue",
        type=whole_number(most=MOST_CLIENTS),
        default=16,
        metavar="N",
        help="requests that may wait; further ones are answered with 429 (default: 16)",
    )


def serve(options: argparse.Namespace) -> int:
    """Serves runs until SIGTERM or SIGINT, after which running requests are finished."""
    _check_installed()
    from jaxasr.serving import ServerLimits, load_model
    from jaxasr.serving import serve as serve_models

    limits = ServerLimits(int(options.most_mb * 1e6), options.most_s, options.concurrency, options.queue)

    def load_models():
        set_up_process()
        return [load_model(run, search=options.search, checkpoint=options.checkpoint) for run in options.runs]

    serve_models(
        load_models,
        host=options.host,
        port=options.port,
        limits=limits,
        print_fn=lambda line: print(line, flush=True),
    )
    return 0


def declare_load_test(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `jaxasr load-test`."""
    parser.add_argument("url", metavar="URL", help="the address of the server, such as http://127.0.0.1:8000")
    parser.add_argument("file", type=Path, metavar="FILE", help="an audio file, which every request sends")
    parser.add_argument(
        "--clients",
        type=int_list(1, MOST_CLIENTS),
        default=(1, 4, 16),
        metavar="N,N",
        help="numbers of clients (default: 1,4,16)",
    )
    parser.add_argument(
        "--requests", type=whole_number(1), default=8, metavar="N", help="requests of each client (default: 8)"
    )
    parser.add_argument("--model", default="", metavar="NAME", help="a model of the server (default: the first)")


def load_test(options: argparse.Namespace) -> int:
    """Prints a line for each number of clients. The status is 1 if a request was lost or transcripts differ."""
    _check_installed()
    from jaxasr.serving import load_test as run_load_test

    status = 0
    for clients in options.clients:
        result = run_load_test(
            options.url, options.file, model=options.model, clients=clients, requests=options.requests
        )
        print(result.line(), flush=True)
        for failure in result.failures[:3]:
            print(f"jaxasr load-test: {failure}", file=sys.stderr)
        status |= bool(result.failures) or len(result.texts) != 1
    return status


def _check_installed() -> None:
    """Raises ModuleNotFoundError if the packages of the extra are not installed."""
    import importlib.util

    if missing := [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]:
        raise ModuleNotFoundError(
            f'{", ".join(missing)} is not installed: pip install -c launch/constraints.txt -e ".[serve]"'
        )


COMMANDS = (
    Command(
        "serve",
        "Serves trained runs over HTTP: a web page, and the interface of OpenAI's transcriptions.",
        declare_serve,
        serve,
        (
            "jaxasr serve runs/whisper",
            "jaxasr serve experiments/an4/las.py@runs/an4-0 --port 0",
            "jaxasr serve soft=experiments/an4/hard.py:attentions:an4-soft-1@runs/an4-soft-1 "
            "hard=experiments/an4/hard.py:attentions:an4-latent-1@runs/an4-latent-1",
        ),
    ),
    Command(
        "load-test",
        "Sends an audio file to a server from several clients at once, and counts what is lost.",
        declare_load_test,
        load_test,
        ("jaxasr load-test http://127.0.0.1:8000 speech.wav --clients 1,4,16",),
    ),
)
