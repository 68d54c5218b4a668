"""``stream-transcribe wyoming``: speech to text for voice assistants."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from sinks.publisher import is_loopback

from ..backends.pool import BackendPool
from ..errors import ConfigurationError
from .compose import make_parts, server_workers
from .options import CommandParser, add_run_options, finite_number, settings_from
from .progress import command_workers
from .server.calibration import calibrate
from .server.uploads import public_name
from .settings import Settings
from .signals import Told, signals
from .watchdog import watchdog

if TYPE_CHECKING:
    from socket import socket

    from .wyoming.service import Limits, Service

__all__ = ["wyoming_command"]

_T = TypeVar("_T")
_URI = "tcp://127.0.0.1:10300"
_EPILOG = """\
examples:
  stream-transcribe wyoming
  stream-transcribe wyoming --uri tcp://0.0.0.0:10300 --model base
  stream-transcribe wyoming --uri unix:///run/user/1000/wyoming.sock

In Home Assistant: Settings, Devices & services, Add integration, Wyoming Protocol; then this
machine's address and the port. The protocol has no authentication and no encryption: whoever
reaches the address may use it, so let a firewall admit Home Assistant alone.
SIGTERM and Ctrl-C let running transcriptions finish, for at most --drain seconds; a second one
does not wait."""


def wyoming_command(argv: Sequence[str]) -> int:
    """Serve speech to text over the Wyoming protocol until told to end."""
    if find_spec("wyoming") is None:
        raise ConfigurationError(
            'the package wyoming is not installed: pip install "stream-transcribe[wyoming]"'
        )
    from .wyoming.address import listening, parse_uri
    from .wyoming.service import Limits

    arguments = _parser(Limits()).parse_args(argv)
    where = parse_uri(arguments.uri)
    if arguments.workers is None:
        arguments.workers = server_workers(arguments.backend, arguments.model)
    settings = settings_from(arguments)
    make_parts(settings)  # before a model is loaded for choices that cannot be had
    limits = Limits(
        max_sessions=arguments.max_sessions, idle_s=arguments.idle, drain_s=arguments.drain
    )
    with listening(where) as listener, command_workers(settings) as (worker, _):
        return asyncio.run(_run(settings, limits, worker, listener))


async def _run(
    settings: Settings, limits: Limits, worker: BackendPool, listener: socket | None
) -> int:
    """Serve whoever connects; without a listener, standard input and output."""
    from .wyoming.address import standard_streams
    from .wyoming.server import WyomingServer

    with signals() as told, watchdog():
        try:
            async with AsyncExitStack() as stack:
                streams = None
                if listener is None:
                    streams = await stack.enter_async_context(standard_streams())
                service = await _unless_told(told, _load(settings, limits, worker))
                if service is not None:
                    server = WyomingServer(service)
                    _tell(listener)
                    if streams is not None:
                        await _unless_told(told, server.serve_one(*streams))
                    elif listener is not None:
                        await _unless_told(told, server.serve(listener))
                    await server.stop()
        except asyncio.CancelledError:
            if not told.number:
                raise
    return told.exit_code


async def _load(settings: Settings, limits: Limits, worker: BackendPool) -> Service:
    """Load the model, and have it hear something: its first passes take longer."""
    from .wyoming.service import Service

    worker.start()
    backend = await worker.ready()
    await calibrate(worker, settings)
    return Service(
        settings=settings,
        limits=limits,
        worker=worker,
        model=public_name(settings),
        multilingual=backend.multilingual and not settings.english_only,
    )


async def _unless_told(told: Told, work: Coroutine[Any, Any, _T]) -> _T | None:
    """What comes of the work; None where the server was asked to end before."""
    tasks = asyncio.create_task(work), asyncio.create_task(told.first.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell(listener: socket | None) -> None:
    if listener is None:
        lines = ["info: serving at stdio://"]
    elif isinstance(address := listener.getsockname(), str):
        lines = [f"info: serving at unix://{address}"]
    else:
        host, port = address[:2]
        lines = [f"info: serving at tcp://{f'[{host}]' if ':' in host else host}:{port}"]
        if not is_loopback(host):
            lines.append(
                f"warning: whoever reaches port {port} may use it, as the protocol has no "
                "authentication; let a firewall admit your assistant alone"
            )
    with contextlib.suppress(OSError):
        print("\n".join(lines), file=sys.stderr, flush=True)


def _parser(default: Limits) -> CommandParser:
    parser = CommandParser(
        prog="stream-transcribe wyoming",
        description="Speech to text for Home Assistant and other voice assistants that speak the "
        "Wyoming protocol. Text goes out while people speak. Nothing is stored.",
        epilog=_EPILOG,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and more messages")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--uri",
        default=_URI,
        help="tcp://HOST:PORT, where port 0 takes any free one and host 0.0.0.0 is for everybody "
        "who can reach this machine: the protocol has no authentication, so that needs a "
        "firewall; unix:///PATH; or stdio:// (default: %(default)s)",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-sessions",
        type=int,
        default=default.max_sessions,
        metavar="N",
        help="transcriptions at once (default: %(default)s)",
    )
    for flag, value, text in (
        ("--idle", default.idle_s, "a client that stops sending in the middle is closed"),
        ("--drain", default.drain_s, "what transcriptions have to finish at the end"),
    ):
        limits.add_argument(
            flag,
            type=finite_number,
            default=value,
            metavar="S",
            help=f"{text} (default: %(default)s)",
        )
    add_run_options(parser, server=True)
    return parser
