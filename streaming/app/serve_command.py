"""``stream-transcribe serve``: the caption server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from socket import socket

from sinks.publisher import is_loopback

from ..backends.pool import BackendPool
from ..errors import StreamingError
from .compose import server_workers
from .console import say
from .options import CommandParser, add_run_options, finite_number, settings_from
from .progress import command_workers
from .server.access import Access
from .server.application import make_application
from .server.calibration import calibrate
from .server.door import Door
from .server.limits import Limits
from .server.load import Load
from .server.metrics import Metrics
from .server.service import Service
from .server.serving import WebServer, listen
from .server.sessions import Sessions
from .server.tls import tls_context
from .server.tokens import Tokens, new_token
from .server.uploads import Uploads
from .settings import Settings
from .signals import Told, signals
from .watchdog import watchdog

__all__ = ["serve_command"]

_LOG = logging.getLogger(__name__)
_DEFAULT = Limits()
_EPILOG = """\
examples:
  stream-transcribe serve
  stream-transcribe serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem \\
      --tokens-file tokens.txt

The page is at /, live audio goes to /v1/stream, files to /v1/audio/transcriptions.
SIGTERM and Ctrl-C finish what was said, for at most --drain seconds; a second one does not wait."""


def serve_command(argv: Sequence[str]) -> int:
    """Serve the page, live sessions and files until told to end."""
    arguments = _parser().parse_args(argv)
    if arguments.new_token is not None:
        return _make_token(arguments.new_token)
    if arguments.workers is None:
        arguments.workers = server_workers(arguments.backend, arguments.model)
    settings = settings_from(arguments)
    limits = _limits(arguments)
    tls = None
    if arguments.tls_cert or arguments.tls_key:
        tls = tls_context(arguments.tls_cert, arguments.tls_key)
    tokens = Tokens.read(arguments.tokens_file)
    with listen(arguments.host, arguments.port) as listener:
        access = Access(
            tokens,
            address=listener.getsockname()[0],
            name=arguments.host,
            hosts=arguments.allow_host,
            origins=arguments.allow_origin,
        )
        with command_workers(settings) as (worker, _):
            return asyncio.run(_serve(_Parts(settings, limits, worker, access, listener, tls)))


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    limits: Limits
    worker: BackendPool
    access: Access
    listener: socket
    tls: ssl.SSLContext | None


async def _serve(parts: _Parts) -> int:
    worker, metrics = parts.worker, Metrics()
    load = Load(workers=parts.settings.workers, waits_s=lambda: worker.statistics().waits_s)
    sessions = Sessions(parts.worker, parts.limits, load, metrics)
    service = Service(
        settings=parts.settings,
        limits=parts.limits,
        worker=parts.worker,
        load=load,
        metrics=metrics,
        sessions=sessions,
        uploads=Uploads(parts.limits, workers=parts.settings.workers),
    )
    door = Door(parts.limits)
    metrics.watch("connections", lambda: len(door))
    metrics.watch("connections_refused", lambda: door.turned_away)
    metrics.watch("uploads", lambda: service.uploads.running)
    application = make_application(service, parts.access)
    server = WebServer(application, parts.limits, door, parts.tls)
    with signals() as told, watchdog():
        serving = asyncio.create_task(server.serve(sockets=[parts.listener]))
        others = [
            asyncio.create_task(_prepare(service)),
            asyncio.create_task(sessions.watch(lambda: _refresh(parts.access, service))),
            asyncio.create_task(_failure(worker)),
        ]
        failed: StreamingError | None = None
        try:
            _tell(parts)
            try:
                await _until_told(told, serving, *others)
            except StreamingError as error:
                failed = error  # whoever watches over the server starts it again
            await asyncio.gather(
                sessions.drain(parts.limits.drain_s), service.uploads.drain(parts.limits.drain_s)
            )
            server.should_exit = True
            await serving
            if failed is not None:
                raise failed
        except asyncio.CancelledError:
            if not told.number:
                raise
        finally:
            await _cancel([serving, *others])
    return 128 + told.number


async def _prepare(service: Service) -> None:
    """Load the model, and see how fast it is here."""
    service.worker.start()
    await service.worker.ready()
    service.load.calibrated(await calibrate(service.worker, service.settings))
    service.metrics.ready()
    _LOG.info("ready")


async def _failure(worker: BackendPool) -> None:
    """Wait for what keeps the model from taking passes any more, a hang say, and raise it."""
    raise await asyncio.wrap_future(worker.ended)


async def _until_told(told: Told, *tasks: asyncio.Task[None]) -> None:
    """Return when the server should end; raise what a task raises."""
    asked = asyncio.create_task(told.first.wait())
    try:
        running = {asked, *tasks}
        while asked in running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        asked.cancel()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _refresh(access: Access, service: Service) -> None:
    """Tokens that were taken out of their file end their sessions and uploads."""
    if revoked := access.refresh():
        service.sessions.end_those_of(revoked)
        service.uploads.end_those_of(revoked)


def _tell(parts: _Parts) -> None:
    address, port = parts.listener.getsockname()[:2]
    everywhere = address in ("0.0.0.0", "::")
    shown = "127.0.0.1" if everywhere else f"[{address}]" if ":" in address else address
    scheme = "http" if parts.tls is None else "https"
    lines = [f"info: serving at {scheme}://{shown}:{port}/"]
    if not is_loopback(address):
        if everywhere:
            lines.append(f"info: others reach port {port} at any address or name of this machine")
        if not parts.access.wants_tokens:
            lines.append("warning: without --tokens-file whoever reaches it may use it")
        if parts.tls is None:
            lines.append(
                "warning: without --tls-cert, or a proxy with HTTPS, browsers elsewhere give its "
                "page no microphone"
            )
    with contextlib.suppress(OSError):
        print("\n".join(lines), file=sys.stderr, flush=True)


def _make_token(name: str) -> int:
    token, line = new_token(name)
    say(line)
    print(
        "info: the line above is for the --tokens-file and holds a digest; "
        f"{name} uses this token, which is shown only now: {token}",
        file=sys.stderr,
    )
    return 0


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(
        max_sessions=arguments.max_sessions,
        max_session_s=arguments.max_session,
        idle_s=arguments.idle,
        resume_s=arguments.resume,
        max_rate=arguments.max_rate,
        max_frame_bytes=arguments.max_frame,
        max_upload_bytes=round(arguments.max_upload * 1e6),
        max_upload_s=arguments.max_upload_duration,
        max_uploads=arguments.max_uploads,
        max_connections=arguments.max_connections,
        drain_s=arguments.drain,
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="stream-transcribe serve",
        description="Serve live captions: a page with a microphone, sessions over WebSocket, "
        "and files over HTTP. Nothing is stored.",
        epilog=_EPILOG,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and more messages")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for everybody who can reach this machine "
        "(default: %(default)s)",
    )
    where.add_argument(
        "--port", type=_port, default=8766, help="0 takes any free one (default: %(default)s)"
    )
    where.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM: https and wss")
    where.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    who = parser.add_argument_group("who may come in")
    who.add_argument(
        "--tokens-file",
        metavar="FILE",
        help="lines of `NAME TOKEN`; without one, and without STREAM_TRANSCRIBE_TOKEN, anybody "
        "who reaches the address; taking a line out revokes it, and ends its sessions and uploads",
    )
    who.add_argument(
        "--new-token",
        metavar="NAME",
        help="make a token, print its line for the file, and end",
    )
    who.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a site whose pages may use this server, as https://a.example; can be repeated",
    )
    who.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that requests may give this machine, as behind a proxy; can be repeated. "
        "On a loopback address others are refused, and with this option on any address: "
        "pages of strangers come under names of their own (DNS rebinding)",
    )
    limits = parser.add_argument_group("limits")
    for flag, field, metavar, kind, text in (
        ("--max-sessions", "max_sessions", "N", int, "live sessions at once"),
        ("--max-session", "max_session_s", "S", float, "length of a session"),
        ("--idle", "idle_s", "S", float, "a client that sends nothing for this long is closed"),
        ("--resume", "resume_s", "S", float, "how long a session waits for its client"),
        ("--max-rate", "max_rate", "K", float, "speed of live audio, times real time; 0: any"),
        ("--max-frame", "max_frame_bytes", "BYTES", int, "of a WebSocket message"),
        ("--max-upload-duration", "max_upload_s", "S", float, "audio in one upload"),
        ("--max-uploads", "max_uploads", "N", int, "uploads at once, waiting ones included"),
        ("--max-connections", "max_connections", "N", int, "of all kinds at once"),
        ("--drain", "drain_s", "S", float, "what sessions have to finish at the end"),
    ):
        limits.add_argument(
            flag,
            type=finite_number if kind is float else int,
            default=getattr(_DEFAULT, field),
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )
    limits.add_argument(
        "--max-upload",
        type=finite_number,
        default=_DEFAULT.max_upload_bytes / 1e6,
        metavar="MB",
        help="size of an upload (default: %(default)s)",
    )
    add_run_options(parser, server=True)
    return parser


def _port(text: str) -> int:
    if text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port; choose one from 0 to 65535")
