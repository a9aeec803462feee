"""The server process: the port opens when the models are warm, and SIGTERM lets running requests finish."""

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from jaxasr.serving.application import ServerLimits, build_application
from jaxasr.serving.gate import Gate
from jaxasr.serving.models import ServedModel

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(
    load_models: Callable[[], Sequence[ServedModel]],
    *,
    host: str,
    port: int,
    limits: ServerLimits,
    print_fn: Callable[[str], None],
) -> None:
    """Serves models until SIGTERM or SIGINT.

    The address is reserved first, so that one in use is an error at once; connections are refused until the models are warm.
    After the first signal requests are answered with 503, and the function returns when the admitted ones are finished;
    a second signal drops them.

    Args:
        load_models: loads the models.
        host: the address to bind; one of the loopback interface makes `Host` headers be checked.
        port: 0 takes a free one.
        limits: what the server accepts.
        print_fn: is told when the server is ready.

    Raises:
        OSError: the address cannot be bound.
    """
    with bind(host, port) as listener:
        models = load_models()
        for model in models:
            print_fn(f"{model.name}: compiled in {model.warm_up():.1f} s")
        hosts = LOOPBACK if is_loopback(host) else None
        application = build_application(models, limits, hosts=hosts)
        config = uvicorn.Config(application, lifespan="off", ws="none", http="h11", loop="asyncio", log_level="warning")
        server = DrainingServer(config, application.state.gate, lambda: print_fn(f"ready: {address(listener)}"))
        before = {signum: signal.signal(signum, lambda *_: None) for signum in (signal.SIGTERM, signal.SIGINT)}
        try:
            server.run(sockets=[listener])  # at its end it raises the signal again, which then ends nothing
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
    print_fn(f"shut down after {application.state.gate.finished} requests; none is left")


class DrainingServer(uvicorn.Server):
    """A server that still answers between the first signal and the end of its running requests."""

    def __init__(self, config: uvicorn.Config, gate: Gate, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._gate = gate
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to listen, and says so."""
        await super().startup(sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Returns True if the server is to end."""
        return await super().on_tick(counter) or (self._gate.draining and not self._gate.admitted)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops the admission of requests; at the second signal, ends without waiting for those that run."""
        if not self._gate.draining:
            self._gate.draining = True
            return
        self.force_exit = True
        super().handle_exit(sig, frame)


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket with the address, which does not listen yet.

    Raises:
        OSError: the address is in use, is not of this machine, or is no address.
    """
    with contextlib.ExitStack() as stack:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except OSError as error:
            raise OSError(
                f"{host} port {port} cannot be bound ({error}): give another --port (0: a free one) or --host"
            ) from error
        stack.pop_all()
        return listener


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(listener: socket.socket) -> str:
    """Returns the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
