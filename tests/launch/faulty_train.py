"""`jaxasr train` of which a process meets a fault: python tests/launch/faulty_train.py FAULT STEP ARGUMENTS...

Process 1 meets it in the first start of a Slurm job, when it has finished STEP steps.

* reset: its connections to other processes are reset.
* stale: its writes to the workdir fail, as on a mount of NFS whose server has forgotten it.
"""

import errno
import os
import sys
import threading
import time
from typing import NoReturn

from jaxasr.cli.main import main
from jaxasr.scale import Watchdog
from tests.scale.connections import reset_connections


def meet(fault: str, step: int) -> None:
    """Waits until a step is finished, then makes the fault."""
    while Watchdog.last_beat < step:
        time.sleep(0.02)
    if fault == "reset":
        reset_connections()
    else:
        os.pwrite = stale


def stale(*_: object) -> NoReturn:
    """Raises the error of a stale mount."""
    raise OSError(errno.ESTALE, "Stale file handle")


if __name__ == "__main__":
    if (os.environ["JAXASR_PROCESS"], os.environ.get("SLURM_RESTART_COUNT", "0")) == ("1", "0"):
        threading.Thread(target=meet, args=(sys.argv[1], int(sys.argv[2])), daemon=True).start()
    sys.argv[:3] = ["jaxasr", "train"]
    sys.exit(main())
