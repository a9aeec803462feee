"""The completion script of bash completes commands, options, their choices and files; every shell gets a script."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxasr.cli.main import main

LIMIT_S = 60.0
TRY = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p jaxasr | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function" jaxasr "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is what is tested, and this machine has none")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["tra"], {"train", "train-tokenizer", "transcribe"}),
        (["train", "--para"], {"--parallelism"}),
        (["train", "x.py", "--parallelism", "m"], {"mesh"}),
        (["train", "here"], {"here.py"}),
        (["show", "x.py", "--data-dir", "here"], {"here.py"}),
    ],
)
def test_bash_completes(words, completed, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script.sh"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "here.py").touch()
    command = ["bash", "-c", TRY, "bash", str(script), "jaxasr", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script(shell, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    assert "train-tokenizer" in capsys.readouterr().out


def test_without_shtab_the_extra_is_named(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'jaxasr[completion]'" in capsys.readouterr().err
