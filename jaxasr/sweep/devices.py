"""The accelerators of a machine, shared out among the runs of a sweep."""

from collections.abc import Mapping

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "TPU_VISIBLE_CHIPS")  # NVIDIA, AMD, TPU
_TPU_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1"}  # of the chips of a process, as libtpu wants them


class DevicePool:
    """A pool of sets of devices, one for each run at a time. A run sees its own devices alone.

    >>> pool = DevicePool(2, 4, {})
    >>> pool.take()
    (0, 1, 2, 3)
    """

    def __init__(self, runs: int, devices_per_run: int, environment: Mapping[str, str]):
        """Divides the devices.

        Args:
            runs: at once.
            devices_per_run: devices of each.
            environment: of this process. If it has a list of visible devices, these are shared out.

        Raises:
            ValueError: fewer devices are visible than the runs need together.
        """
        needed = runs * devices_per_run
        self._environment = environment
        given = {name: environment[name].split(",") for name in _VISIBLE if environment.get(name)}
        for name, devices in given.items():
            if len(devices) < needed:
                raise ValueError(
                    f"{name}={environment[name]} has {len(devices)} devices, and {runs} runs of {devices_per_run} need "
                    f"{needed}; run fewer at once (--jobs), or give each fewer"
                )
        self._names = given
        places = range(needed)
        self._free = [tuple(places[k * devices_per_run : (k + 1) * devices_per_run]) for k in range(runs)]

    def take(self) -> tuple[int, ...] | None:
        """Returns the places of devices that are free from now on no more; None if all are taken."""
        return self._free.pop(0) if self._free else None

    def give_back(self, places: tuple[int, ...]) -> None:
        """Takes devices back from a run that has ended."""
        self._free.append(places)

    def environment_of(self, places: tuple[int, ...]) -> dict[str, str]:
        """Returns the environment of a run that sees these devices."""
        visible = {
            name: ",".join(self._names[name][place] if name in self._names else str(place) for place in places)
            for name in _VISIBLE
        }
        bounds = _TPU_BOUNDS.get(len(places))
        tpu = {"TPU_CHIPS_PER_PROCESS_BOUNDS": bounds, "TPU_PROCESS_BOUNDS": "1,1,1"} if bounds else {}
        return {**self._environment, **visible, **tpu}
