"""Files that are sent whole: how many at once, who is next, and how they are heard.

A request passes through these stages, each bounded (`Limits`):

1. It is let in, or refused as ``busy``: so many at once, waiting ones included.
2. Its form arrives, piece by piece: `forms`.
3. It waits for its turn, in order. At least one worker, if there are two, is left to live sessions;
   passes over files give way to theirs, for ten seconds at most.
4. Its audio is decoded as it is heard, so that length costs time, not memory. Each utterance is
   heard once, when it is over, with all its context. On eight minutes of English that is a
   twenty-fifth of the passes of a live session, with fewer errors than live or in offline windows
   of half a minute (4.1 against 5.6 and 4.5 %; tiny.en, CTranslate2), and nothing is invented in
   silence.

Whoever goes away stops all that at once: `upload_endpoint`. Whose token is revoked is stopped at
the end of an utterance.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Container, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sources.file import FileSource

from ...audio import AudioChunk, samples_from_seconds
from ...errors import ConfigurationError, SourceError
from ...events import Event
from ...languages import LANGUAGE_NAMES
from ...pipeline import Pipeline
from ..compose import make_parts
from ..settings import Settings
from .forms import Form
from .limits import Limits
from .refusal import RESTART, TRY_LATER, Refusal

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Uploads", "hear", "hear_all", "public_name", "wished"]

_RETRY_AFTER_S = 10
_MOST_WORDS = 4_000
"""Characters of a prompt or of hotwords."""
_UTTERANCES: dict[str, Any] = {
    "policy": "endpoint",
    "window_s": 20.0,
    # A pass over half a minute would keep a live one waiting for longer, and hears no better.
    "max_utterance_s": 20.0,
    # With less, sentences are torn; nobody waits for the end of this one.
    "endpoint_silence_s": 1.0,
}
_ALIASES = {
    "castilian": "es",
    "flemish": "nl",
    "mandarin": "zh",
    "burmese": "my",
    "haitian": "ht",
    "moldovan": "ro",
    "pushto": "ps",
    "panjabi": "pa",
    "sinhalese": "si",
    "valencian": "ca",
    "letzeburgesch": "lb",
}
_CODES = {name: code for code, name in LANGUAGE_NAMES.items()} | _ALIASES


class Uploads:
    """Who is let in, and who is next.

    Args:
        limits: bounds.
        workers: of the model that live sessions share.
    """

    def __init__(self, limits: Limits, *, workers: int) -> None:
        self._most = limits.max_uploads
        self.turn = asyncio.Semaphore(max(1, workers - 1))
        """Held while a file is heard; first come, first served."""
        self._visits: set[_Visit] = set()
        self._draining = False
        self._left = asyncio.Event()

    @property
    def running(self) -> int:
        """Uploads that are in, waiting ones included."""
        return len(self._visits)

    @contextmanager
    def let_in(self, client: str = "") -> Iterator[Callable[[], None]]:
        """Count one in for as long as the block takes.

        Args:
            client: name of its token, "" where none was asked for.

        Yields:
            What raises a `Refusal` once that token is revoked.

        Raises:
            Refusal: so many are in already.
        """
        if self._draining:
            raise Refusal(
                "restart",
                "the server ends; try again once it is back",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                close_code=RESTART,
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._most == 0:
            raise Refusal("no_uploads", "this server takes no files", status=HTTPStatus.FORBIDDEN)
        if self.running >= self._most:
            raise Refusal(
                "busy",
                f"the server is busy with {self._most} files already; try again later",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                close_code=TRY_LATER,
                retry_after_s=_RETRY_AFTER_S,
            )
        visit = _Visit(client)
        self._visits.add(visit)
        try:
            yield visit.check
        finally:
            self._visits.remove(visit)
            self._left.set()

    def end_those_of(self, clients: Container[str]) -> None:
        """Tokens were revoked."""
        for visit in self._visits:
            visit.revoked = visit.revoked or visit.client in clients

    async def drain(self, within_s: float) -> None:
        """Let nobody in any more, and wait for those that are in, but only so long."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.running:
                    self._left.clear()
                    await self._left.wait()


class _Visit:
    """An upload that is in."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.revoked = False

    def check(self) -> None:
        if self.revoked:
            raise Refusal(
                "token_revoked",
                "the token is not valid any more",
                status=HTTPStatus.UNAUTHORIZED,
            )


def public_name(settings: Settings) -> str:
    """The model's name; where it is a file, its folder is nobody's business."""
    path = Path(settings.model)
    return path.name if path.exists() else settings.model


def wished(
    form: Form, service: Service, *, translate: bool = False, detect: bool = False
) -> Settings:
    """The server's settings, as a form changes them: language, prompt, hotwords.

    Args:
        form: the request. ``languages`` and ``keywords`` are lists.
        service: its settings.
        translate: into English.
        detect: the language, whatever the form says.

    Raises:
        Refusal: a value that cannot be, or that the model cannot do.
    """
    settings = service.settings
    changes: dict[str, Any] = {"translate": translate}
    named = [form.get("language"), *form.all("languages")]
    codes = [_code(name) for each in named if each for name in each.split(",")]
    if codes or detect:
        changes["language"] = "auto" if detect or "auto" in codes else ",".join(codes)
    if (prompt := form.get("prompt")) is not None:
        changes["prompt"] = _short("prompt", prompt)
    words = _short("hotwords", ",".join([*form.all("hotwords"), *form.all("keywords")])).split(",")
    if hotwords := tuple(dict.fromkeys(word.strip() for word in words if word.strip())):
        changes["hotwords"] = hotwords
    if settings.english_only and (translate or set(codes) - {"en", "auto"}):
        raise Refusal(
            "bad_parameter",
            f"{public_name(settings)} knows only English; leave out the language, "
            "or start the server with a multilingual one: --model base",
        )
    if settings.english_only:
        changes.pop("language", None)
    try:
        return replace(settings, final_model=None, pace="fast", **_UTTERANCES, **changes)
    except ConfigurationError as error:
        raise Refusal("bad_parameter", str(error)) from error


def _code(name: str) -> str:
    name = name.strip().lower()
    code = _CODES.get(name, name)
    if code != "auto" and code not in LANGUAGE_NAMES:
        raise Refusal(
            "bad_parameter",
            f"unknown language {name[:40]!r}; use auto, a code or a name, such as de or german: "
            f"{', '.join(sorted(LANGUAGE_NAMES))}",
        )
    return code


def _short(name: str, text: str) -> str:
    if len(text) > _MOST_WORDS:
        raise Refusal("bad_parameter", f"{name} has at most {_MOST_WORDS} characters")
    return text


async def hear(service: Service, form: Form, settings: Settings) -> AsyncGenerator[Event, None]:
    """Wait for the turn, then yield the events of a file, text in utterances. Close it.

    Args:
        service: its model hears; its metrics are told what that took.
        form: with the recording; anybody's.
        settings: as `wished` makes them.

    Raises:
        Refusal: the file is no audio, or is too long; or a value that cannot be; or the token
            was revoked.
        StreamingError: the model failed.
    """
    async with service.uploads.turn:
        form.check()
        parts = await asyncio.to_thread(make_parts, settings)
        parts = replace(parts, options=replace(parts.options, partials=False))
        source = _Upload(form.file, service.limits.max_upload_s)
        try:
            async with (
                Pipeline(source, service.worker, parts, pace="fast") as pipeline,
                aclosing(pipeline.events()) as events,
            ):
                try:
                    async for event in events:
                        form.check()
                        yield event
                finally:  # work that was for nothing was work, too
                    status = pipeline.status()
                    service.metrics.upload(status.heard_s, status.compute_s)
        except SourceError as error:
            raise Refusal("bad_audio", str(error)) from error
        except ConfigurationError as error:
            raise Refusal("bad_parameter", str(error)) from error


async def hear_all(
    service: Service, form: Form, settings: Settings, *takers: Callable[[Event], object]
) -> None:
    """As `hear`; each event goes to all takers, in order."""
    async with aclosing(hear(service, form, settings)) as events:
        async for event in events:
            for take in takers:
                take(event)


class _Upload(FileSource):
    """A file that may not be too long."""

    def __init__(self, file: BinaryIO, longest_s: float) -> None:
        super().__init__(file, pace="fast")
        self._longest_s = longest_s

    async def __anext__(self) -> AudioChunk:
        chunk = await super().__anext__()
        end = max(chunk.end_sample, samples_from_seconds(self.length_s or 0.0))
        if end > samples_from_seconds(self._longest_s):
            raise Refusal(
                "too_long",
                f"an upload has at most {self._longest_s:g} s of audio; cut it into parts",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        return chunk
