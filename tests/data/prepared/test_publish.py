"""`jaxasr prepare --overwrite` that is killed before any of its file operations: one whole copy can be read and stays."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxasr.data import Corpus
from jaxasr.data.corpora.manifest import Manifest
from jaxasr.data.prepared.prepare import prepare

# Kills a fork of itself before each file operation under the data folder in turn. An audit hook sees every one of them.
_KILL_AT_EVERY_STEP = textwrap.dedent(
    """
    import os, shutil, signal, sys
    from pathlib import Path
    from jaxasr.data.corpora.manifest import Manifest
    from jaxasr.data.prepared.prepare import prepare

    source, before, work = map(Path, sys.argv[1:])
    CHANGES = {"os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.mkdir"}

    def overwrite_until(step, data_dir):
        left = step
        def hook(event, arguments):
            nonlocal left
            if event in CHANGES or (event == "open" and str(data_dir) in str(arguments[0]) and arguments[2] & os.O_WRONLY):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        prepare(Manifest(source), data_dir, overwrite=True, max_bad_share=1.0)

    step = 0
    while True:
        data_dir = work / str(step)
        shutil.copytree(before, data_dir)
        child = os.fork()
        if not child:
            overwrite_until(step, data_dir)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(step, os.waitstatus_to_exitcode(status), flush=True)
        if not status:
            break
        step += 1
    """
)


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, tone: Callable[..., bytes], write_manifest: Callable[..., Path]
) -> tuple[Path, list[Path]]:
    """Returns the new source and a data folder for each step at which a replacement was killed; the last one was not.

    The earlier corpus has the ids old-0 and old-1 and one reject, the new one has new-0 to new-2 and no reject.
    """
    folder = tmp_path_factory.mktemp("kill")
    audio = {f"{n}.wav": tone(0.1 + 0.1 * n, format="WAV") for n in range(3)}
    old = [{"id": f"old-{n}", "audio": f"{n}.wav", "text": "YES", "split": "train"} for n in range(2)]
    old.append({"id": "lost", "audio": "lost.wav", "text": "YES", "split": "train"})
    new = [{"id": f"new-{n}", "audio": f"{n}.wav", "text": "NO", "split": "train"} for n in range(3)]
    prepare(Manifest(write_manifest(folder / "from", old, audio), "tiny"), folder / "before", max_bad_share=1.0)
    source = write_manifest(folder / "from", new, audio)
    source.rename(folder / "tiny")
    command = [sys.executable, "-c", _KILL_AT_EVERY_STEP, *map(str, (folder / "tiny", folder / "before", folder))]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300.0).stdout
    codes = [int(line.split()[1]) for line in told.splitlines()]
    assert codes == [-9] * (len(codes) - 1) + [0]
    assert len(codes) > 20
    return folder / "tiny", [folder / str(step) for step in range(len(codes))]


def test_one_whole_copy_can_be_read_after_a_kill_at_every_step(killed: tuple[Path, list[Path]]):
    found = []
    for data_dir in killed[1]:
        corpus = Corpus("tiny", "train").open(data_dir)
        assert all(corpus.read(i) for i in range(len(corpus)))
        found.append(corpus.ids[0][:3])
    changes = found.index("new")
    assert found == ["old"] * changes + ["new"] * (len(found) - changes)
    assert 0 < changes < len(found) - 1


def test_the_next_prepare_keeps_that_copy_with_its_own_list_and_cleans_up(killed: tuple[Path, list[Path]]):
    source, data_dirs = killed
    for data_dir in data_dirs:
        ids = Corpus("tiny", "train").open(data_dir).ids
        report = prepare(Manifest(source), data_dir)
        assert report.already_prepared
        assert Corpus("tiny", "train").open(data_dir).ids == ids
        assert report.rejects == ({"missing file": 1} if ids[0] == "old-0" else {})
        assert not (data_dir / "tiny" / ".before").exists()


def test_the_next_overwrite_ends_with_the_new_copy_alone(killed: tuple[Path, list[Path]]):
    source, data_dirs = killed
    for data_dir in data_dirs[:: max(1, len(data_dirs) // 8)] + data_dirs[-12:]:
        prepare(Manifest(source), data_dir, overwrite=True)
        assert Corpus("tiny", "train").open(data_dir).ids == ["new-0", "new-1", "new-2"]
        assert sorted(path.name for path in (data_dir / "tiny").iterdir()) == [".lock", "1.0.0"]
        assert len(json.loads((data_dir / "tiny" / "1.0.0" / "prepared.json").read_text())["splits"]) == 1
