"""Arrays of a checkpoint, read and written by Orbax. No other module imports Orbax (.github/CONTRIBUTING.md has the reason).

The format is that of Orbax's v0 interface: a folder for each item, an OCDBT database of arrays, a JSON file.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from jaxasr.training.checkpoints.flat_tree import Leaf


class ArrayWriter:
    """A writer of checkpoints in the background. Every process of a job calls its methods in the same order."""

    def __init__(self):
        self._checkpointer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())

    def start(
        self, folder: Path, *, arrays: tuple[str, Mapping[str, Leaf]], document: tuple[str, Mapping[str, Any]]
    ) -> None:
        """Waits until the folder before is written, then starts to write one. It gets its name when it is complete.

        Args:
            folder: the folder of the checkpoint; does not exist.
            arrays: the name of an item, and its arrays by path.
            document: the name of an item, and its JSON.

        Raises:
            Exception: any error of Orbax or TensorStore of this write or the one before, such as a full disk.
        """
        items = {arrays[0]: ocp.args.PyTreeSave(arrays[1]), document[0]: ocp.args.JsonSave(document[1])}
        self._checkpointer.save(folder.absolute(), args=ocp.args.Composite(**items))

    def wait(self) -> None:
        """Waits until nothing is being written. Errors are those of `start`."""
        self._checkpointer.wait_until_finished()

    def close(self) -> None:
        """Ends the writer's threads."""
        self._checkpointer.close()


def read_arrays(folder: Path, targets: Mapping[str, Leaf], *, whole: bool) -> dict[str, Leaf]:
    """Returns the arrays that Orbax has saved in a folder.

    Args:
        folder: the item of the checkpoint that holds arrays.
        targets: arrays by path that have the shapes, dtypes and devices of the result.
        whole: True: the folder has no other arrays.

    Raises:
        Exception: any error of Orbax, TensorStore or a decompressor, if the files are damaged.
    """
    arguments = ocp.args.PyTreeRestore(
        dict(targets), restore_args=ocp.checkpoint_utils.construct_restore_args(targets), partial_restore=not whole
    )
    with _draining_event_loops():
        return ocp.PyTreeCheckpointHandler().restore(folder.absolute(), args=arguments)  # pyright: ignore[reportArgumentType]


class _DrainingEventLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for its tasks before it is closed.

    Orbax closes its loop after the first error. The reads that are still under way would print pages of messages then.
    """

    def close(self) -> None:
        """Waits for the tasks and closes the loop."""
        if not self.is_closed() and not self.is_running() and asyncio.all_tasks(self):
            self.run_until_complete(_drain())
        super().close()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Does nothing: the first error is raised, others that follow from it are not printed."""


async def _drain() -> None:
    """Waits for all other tasks of the loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


class _DrainingPolicy(asyncio.DefaultEventLoopPolicy):
    """A policy by which new event loops are draining ones."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Returns a new event loop."""
        return _DrainingEventLoop()


@contextlib.contextmanager
def _draining_event_loops() -> Iterator[None]:
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_DrainingPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)
