"""Fills in a template's ${NAME}s: python launch/render.py FILE NAME=VALUE ... [-- COMMAND...] > FILLED.

What is not given is taken from the environment; ${COMMAND} is what stands after --, as a list in JSON, which is YAML as
well. Lines that are comments are left out. A name without a value, and a value without a name, are refused.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_NAME = re.compile(r"\$\{(\w+)\}")
_JOB = re.compile(
    r"[a-z]([-a-z0-9]{,48}[a-z0-9])?"
)  # NAME, of which Kubernetes makes names of hosts (at most 63 characters)


def render(template: str, given: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The template with its names replaced, without its comment lines.

    Raises:
        ValueError: a name has no value, a given value no name, or NAME is no name of a job.
    """
    text = "".join(line for line in template.splitlines(keepends=True) if not line.startswith("#"))
    names = set(_NAME.findall(text))
    values = {name: environment[name] for name in names if environment.get(name)} | dict(given)
    missing, strange = sorted(name for name in names if not values.get(name)), sorted(given.keys() - names)
    if missing or strange:
        found = {"no value for": missing, "no place for": strange}
        said = "; ".join(f"{what} {', '.join(which)}" for what, which in found.items() if which)
        raise ValueError(f"{said}; the template has {', '.join(sorted(names))}")
    if not _JOB.fullmatch(values.get("NAME", "a")):
        raise ValueError(
            f"NAME={values['NAME']}; a name of at most 50 characters is needed: a-z, 0-9 and -, beginning with a letter, not "
            "ending with -"
        )
    return _NAME.sub(lambda found: values[found[1]], text)


def main(arguments: Sequence[str]) -> int:
    """Prints a filled template; returns 1 and says why where it can't."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = arguments[:cut], arguments[cut + 1 :]
    if not options or any("=" not in each for each in options[1:]):
        print((__doc__ or "").partition("\n")[0], file=sys.stderr)
        return 2
    given = dict(each.split("=", 1) for each in options[1:])
    if command:
        given["COMMAND"] = json.dumps(command)
    try:
        print(render(Path(options[0]).read_text(encoding="utf-8"), given, os.environ), end="")
    except (OSError, ValueError) as error:
        print(f"render.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
