"""launch/tpu_vm.sh with a gcloud that records its calls: what is run, when, and when it gives up."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import PROCESS_S

ROOT = Path(__file__).resolve().parents[2]
SLICE = {
    "JAXASR_TPU_ZONE": "us-west4-a",
    "JAXASR_TPU_TYPE": "v5litepod-16",
    "JAXASR_TPU_RUNTIME": "v2-alpha-tpuv5-lite",
}
WHERE = "las --zone=us-west4-a"
GCLOUD = """#!/usr/bin/env bash
echo "$4 ${@: -1}" >> "$CALLS"
calls=$(grep -c "^$4" "$CALLS")
case "$4 ${@: -1}" in
    describe*) set -- $STATES; echo "${!calls:-${@: -1}}" ;;
    create*)
        [ "$calls" -le "${FULL:-0}" ] && { echo "RESOURCE_EXHAUSTED: no more capacity" >&2; exit 1; }
        [ -z "${REFUSAL:-}" ] || { echo "ERROR: $REFUSAL: las" >&2; exit 1; } ;;
    ssh*"jaxasr train"*) [ "$(grep -c "^ssh.*jaxasr train" "$CALLS")" -ge "${SUCCEEDS:-1}" ] ;;
    ssh*"state "*) echo "${STATE_THERE:-ended 1}" ;;
esac
"""
RUN = "run 1 jaxasr train"


def tpu_vm(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAXASR_")} | variables
    return subprocess.run(
        ["bash", "launch/tpu_vm.sh", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def gcloud(tmp_path):
    """What stands for gcloud, and the file of its calls: the subcommand and the last argument of each."""
    tool = tmp_path / "bin" / "gcloud"
    tool.parent.mkdir()
    tool.write_text(GCLOUD)
    tool.chmod(0o755)
    git = tmp_path / "bin" / "git"  # the archive is none of this test's, and the tree is the project's
    git.write_text("#!/bin/sh\n")
    git.chmod(0o755)
    return {**SLICE, "CALLS": str(tmp_path / "calls"), "PATH": f"{tool.parent}:{os.environ['PATH']}"}


def head() -> str:
    """Returns the commit that is checked out."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=PROCESS_S
    ).stdout.strip()


def calls_of(gcloud: dict[str, str]) -> list[str]:
    """Returns the subcommands that gcloud was called with."""
    return [line.split()[0] for line in Path(gcloud["CALLS"]).read_text().splitlines()]


def test_a_dry_run_prints_every_command_and_runs_none():
    ran = tpu_vm("--dry-run", "las", "jaxasr", "train", "a.py", 'x=("a", 1)', **SLICE, JAXASR_TPU_SETUP="mount -a")
    assert ran.returncode == 0, ran.stderr
    lines = [line.replace("\\", "").strip() for line in ran.stdout.splitlines()]
    queued, vm = "gcloud compute tpus queued-resources", "gcloud compute tpus tpu-vm"
    ssh = f"{vm} ssh {WHERE} --worker=all --command="
    assert lines == [
        "git archive --output=jaxasr.tar.gz HEAD",
        f"{queued} create {WHERE} --node-id=las --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite --spot",
        f"{vm} scp jaxasr.tar.gz las: --zone=us-west4-a --worker=all",
        f"{ssh}rm -rf jaxasr && mkdir jaxasr && tar -xzf jaxasr.tar.gz -C jaxasr",
        f"{ssh}mount -a",
        f"{ssh}bash jaxasr/launch/tpu_host.sh set-up",
        f'{ssh}JAXASR_COMMIT={head()} bash jaxasr/launch/tpu_host.sh run 1 jaxasr train a.py x=("a", 1)',
        "rm -f jaxasr.tar.gz",
        f"{queued} delete {WHERE} --force --quiet",
    ]


def test_what_an_organisation_demands_is_passed_on():
    demands = {
        "JAXASR_TPU_PROJECT": "speech",
        "JAXASR_TPU_NETWORK": "vpc",
        "JAXASR_TPU_SUBNETWORK": "west",
        "JAXASR_TPU_LABELS": "team=asr",
        "JAXASR_TPU_SERVICE_ACCOUNT": "runs@speech",
        "JAXASR_TPU_INTERNAL_IP": "1",
        "JAXASR_TPU_SPOT": "0",
        "JAXASR_TPU_PYTHON": "3.13",
    }
    ran = tpu_vm("--dry-run", "las", "true", **SLICE, **demands)
    create, scp, ssh = (
        next(line.split() for line in ran.stdout.splitlines() if f" {word} " in line)
        for word in ("create", "scp", "ssh")
    )
    assert create[6:] == [
        "--zone=us-west4-a",
        "--project=speech",
        "--node-id=las",
        "--accelerator-type=v5litepod-16",
        "--runtime-version=v2-alpha-tpuv5-lite",
        "--network=vpc",
        "--subnetwork=west",
        "--labels=team=asr",
        "--service-account=runs@speech",
        "--internal-ips",
    ]
    assert {"--project=speech", "--internal-ip"} < set(scp) & set(ssh)
    assert "JAXASR_TPU_PYTHON=3.13" in ran.stdout


def test_a_tpu_that_this_interface_does_not_serve_is_named():
    ran = tpu_vm("--dry-run", "las", "true", **{**SLICE, "JAXASR_TPU_TYPE": "tpu7x-8"})
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "use launch/gke.yaml" in ran.stderr


def test_what_is_said_to_the_shell_is_what_was_given():
    """The last line of the dry run, twice unquoted: once by the shell here, once by the one there."""
    ran = tpu_vm("--dry-run", "las", "printf", "%s|", "a b", "x=('c', \"d\")", "$HOME", **SLICE)
    [line] = [line for line in ran.stdout.splitlines() if "host.sh\\ run" in line]
    script = f"printf %s {line.rpartition('--command=')[2]}"
    command = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    there = command.stdout.partition("tpu_host.sh run 1 ")[2]
    said = subprocess.run(["bash", "-c", there], capture_output=True, text=True, timeout=60).stdout
    assert said == "a b|x=('c', \"d\")|$HOME|"


SET_UP = ["scp", "ssh", "ssh"]


def test_a_slice_that_was_preempted_is_made_again(gcloud):
    ran = tpu_vm("las", "jaxasr", "train", STATES="ACTIVE SUSPENDED SUSPENDED SUSPENDED ACTIVE", SUCCEEDS="2", **gcloud)
    assert ran.returncode == 0, ran.stderr
    lost = ["describe", "describe", "describe", "delete"]
    made = ["create", "describe", *SET_UP, "ssh"]
    assert calls_of(gcloud) == [*made, *lost, *made, "delete"]


def test_a_slice_that_was_preempted_before_its_use_is_asked_for_again(gcloud):
    states = "WAITING_FOR_RESOURCES WAITING_FOR_RESOURCES SUSPENDED SUSPENDED ACTIVE"
    ran = tpu_vm("las", "jaxasr", "train", STATES=states, JAXASR_TPU_WAIT_S="0", **gcloud)
    assert ran.returncode == 0, ran.stderr
    assert "las is WAITING_FOR_RESOURCES\nlas is SUSPENDED\n" in ran.stderr
    waited = ["create", "describe", "describe", "describe", "describe", "delete"]
    assert calls_of(gcloud) == [*waited, "create", "describe", *SET_UP, "ssh", "delete"]


def test_a_run_that_fails_on_a_slice_that_is_there_is_tried_three_times(gcloud):
    ran = tpu_vm("las", "jaxasr", "train", STATES="ACTIVE", SUCCEEDS="99", **gcloud)
    assert ran.returncode == 1
    assert "failed 3 times on a slice that was there" in ran.stderr
    calls = Path(gcloud["CALLS"]).read_text()
    assert [calls.count(f"run {attempt} jaxasr") for attempt in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert [calls_of(gcloud).count(name) for name in ("create", "scp", "delete")] == [1, 1, 1]


def test_a_broken_connection_is_no_end_of_the_run(gcloud):
    variables = {"STATES": "ACTIVE", "SUCCEEDS": "3", "STATE_THERE": "running", "JAXASR_TPU_WAIT_S": "0"}
    ran = tpu_vm("las", "jaxasr", "train", **variables, **gcloud)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("attached again") == 2
    assert Path(gcloud["CALLS"]).read_text().count(RUN) == 3  # of one attempt


def test_want_of_capacity_is_waited_for(gcloud):
    ran = tpu_vm("las", "jaxasr", "train", STATES="ACTIVE", FULL="2", JAXASR_TPU_WAIT_S="0", **gcloud)
    assert ran.returncode == 0, ran.stderr
    assert calls_of(gcloud) == ["create", "create", "create", "describe", *SET_UP, "ssh", "delete"]
    assert ran.stderr.count("no more capacity") == 2


def test_a_request_that_fails_ends_it(gcloud):
    ran = tpu_vm("las", "jaxasr", "train", STATES="WAITING_FOR_RESOURCES FAILED", JAXASR_TPU_WAIT_S="0", **gcloud)
    assert ran.returncode == 1
    assert "the request for the slice has failed: given up" in ran.stderr
    assert calls_of(gcloud)[-1] == "delete"


@pytest.mark.parametrize(
    ("refusal", "calls"),
    [
        ("ALREADY_EXISTS", ["create"]),
        ("INVALID_ARGUMENT", ["create", "delete"]),
        ("RESOURCE_EXHAUSTED: Quota limit 'TPUV5sPreemptible' has been exceeded", ["create", "delete"]),
    ],
)
def test_a_mistake_is_not_repeated_and_the_slice_of_another_is_not_deleted(gcloud, refusal, calls):
    ran = tpu_vm("las", "jaxasr", "train", REFUSAL=refusal, STATES="ACTIVE", **gcloud)
    assert ran.returncode == 1
    assert f"ERROR: {refusal}: las\nthe slice was refused, as it would be again: given up\n" in ran.stderr
    assert calls_of(gcloud) == calls


@pytest.mark.parametrize("given", [["las", "--dry-run", "true"], ["--dryrun", "las", "true"], ["las"], ["Las", "true"]])
def test_an_option_in_the_wrong_place_makes_no_slice(gcloud, given):
    ran = tpu_vm(*given, **gcloud)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"it was given: {' '.join(given)}" in ran.stderr
    assert not Path(gcloud["CALLS"]).exists()


def test_without_gcloud_nothing_is_begun(tmp_path):
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    ran = tpu_vm("las", "true", **SLICE, PATH=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "gcloud: not found" in ran.stderr


@pytest.mark.parametrize("missing", SLICE)
def test_what_is_not_set_is_named(missing):
    ran = tpu_vm("--dry-run", "las", "true", **{name: value for name, value in SLICE.items() if name != missing})
    assert ran.returncode != 0
    assert f"{missing}: as in" in ran.stderr
    assert ran.stdout == ""


SLOW_GCLOUD = """#!/usr/bin/env bash
echo "$4" >> "$CALLS"
[ "$4" != "$AT" ] || { touch "$NOW"; sleep 0.7; }
case "$4 ${@: -1}" in
    delete*) sleep 0.3; echo deleted >> "$CALLS" ;;
    ssh*"jaxasr train"*) exit "$FAILS" ;;
    ssh*"state "*) echo ended 1 ;;
    describe*) [ "$(grep -c describe "$CALLS")" = 1 ] && echo ACTIVE || echo SUSPENDED ;;
esac
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("reader", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize(("at", "fails"), [("create", "0"), ("ssh", "0"), ("delete", "0"), ("delete", "1")])
def test_the_slice_is_deleted_whatever_signal_comes(gcloud, tmp_path, signum, reader, at, fails):
    """Twice to the whole group, as by somebody in a hurry; unread: Ctrl-C has ended `tee` as well. A slice costs."""
    now, calls = tmp_path / "now", Path(gcloud["CALLS"])
    (tmp_path / "bin" / "gcloud").write_text(SLOW_GCLOUD)
    process = subprocess.Popen(
        ["bash", "launch/tpu_vm.sh", "las", "jaxasr", "train"],
        cwd=ROOT,
        env={**os.environ, **gcloud, "AT": at, "NOW": str(now), "FAILS": fails},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + PROCESS_S
    while not now.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert process.stdout is not None
    if not reader:
        process.stdout.close()
        process.stdout = None
    for wait_s in (0.1, 0.3):
        time.sleep(wait_s)
        if process.poll() is None:
            os.killpg(process.pid, signum)
    process.communicate(timeout=PROCESS_S)
    assert calls.read_text().split()[-1] == "deleted"
    assert process.returncode == 0 if (at, fails) == ("delete", "0") else process.returncode in (141, 143)
