"""A job whose processes were given different things begins no run."""

from tests.scale.multi_process import ended, several

JOB = """
    import os
    from dataclasses import replace
    from types import SimpleNamespace
    from jaxasr.run.same_run import check_same_run_on_all_hosts
    from jaxasr.scale import hosts
    from tests import tiny_experiments as tiny
    with hosts.distributed():
        second = hosts.process()[0] == 1
        check_same_run_on_all_hosts(tiny.experiment(), SimpleNamespace(hash="0123"), 80)
        print("one run", flush=True)
        changed = replace(tiny.experiment(), seed=7) if second else tiny.experiment()
        check_same_run_on_all_hosts(changed, SimpleNamespace(hash="4567" if second else "0123"), 0 if second else 80)
        hosts.barrier("never reached by both")
"""


def test_each_compares_itself_with_the_first():
    with several(JOB, JAXASR_HEARTBEAT_S="5") as processes:
        first, second = ended(processes)
    assert first.out.split("\n")[0] == second.out.split("\n")[0] == "one run"
    assert first.status != 0
    assert second.status == 1
    assert "is about to make another run than process 0" in second.err
    for line in ("data: 0123 -> 4567", "seed: 0 -> 7", "steps in the workdir: 80 -> 0"):
        assert f"\n  {line}\n" in second.err
    assert "model" not in second.err.rpartition("From there")[2]
