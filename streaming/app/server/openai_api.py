"""OpenAI's calls for audio, so that its clients need another base address and nothing else.

``POST /v1/audio/transcriptions`` takes a form (multipart/form-data) with

=========================== ===================================================================
``file``                    the recording: anything that FFmpeg reads
``model``                   any name; the model that the server has loaded answers
``language``                a code or an English name; the server's ``--language`` without it
``prompt``                  text said before, as context
``response_format``         ``json`` (default), ``text``, ``srt``, ``vtt``, ``verbose_json``
``timestamp_granularities`` ``segment`` (default), ``word``: lists in ``verbose_json``
``stream``                  ``true``: server-sent events, for ``json`` and ``text``
``hotwords``, ``keywords``  names and terms to expect: with commas, or as a list
``languages``               a list of codes to choose from
``temperature``             is taken; decoding is always that of 0
=========================== ===================================================================

Lists may be named with brackets, as OpenAI's client does. Other fields are taken and have no
effect. A segment is an utterance: speech up to a pause of a second, or 20 s. Words keep their
punctuation.

With ``stream=true``, ``transcript.text.delta`` events carry the text as it is committed, an
utterance each, and ``transcript.text.done`` all of it: exactly what the deltas were. While there
is nothing to tell, a comment comes now and then, which readers of events ignore.

``POST /v1/audio/translations`` is the same, into English; it needs a multilingual model.

``GET /v1/models`` lists the model that is loaded, with two more fields than OpenAI's: its
``languages`` (codes) and ``tasks``. ``GET /v1/models/NAME`` shows it.

A request that is turned away is answered with OpenAI's error object: ``{"error": {"message",
"type", "code"}}``, code ``bad_request``, ``bad_parameter``, ``bad_audio``, ``too_large``,
``too_long``, ``too_slow``, ``busy``, ``not_ready`` or ``restart`` (these with Retry-After),
``no_uploads``, ``no_space``, ``unauthorized``, ``host``, ``origin``, ``model_not_found`` or
``internal``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import time
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ...errors import StreamingError
from ...languages import LANGUAGES
from ..settings import Settings
from .access import refusal_response
from .forms import Form
from .refusal import Refusal
from .service import Service
from .transcript import RunningText, Segments, Written
from .upload_endpoint import UploadEndpoint
from .uploads import hear, hear_all, public_name, wished

__all__ = ["routes"]

SIGN_EVERY_S = 10.0
"""Proxies give up what says nothing for a minute."""
_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_GRANULARITIES = ("segment", "word")
_MEDIA_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


def routes(service: Service) -> list[BaseRoute]:
    """See the module."""

    def endpoint(*, translate: bool) -> UploadEndpoint:
        return UploadEndpoint(service, functools.partial(_answer, service, translate))

    model = _described(service.settings)

    async def list_models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [model]})

    async def show_model(request: Request) -> Response:
        if request.path_params["name"] == model["id"]:
            return JSONResponse(model)
        return refusal_response(
            Refusal(
                "model_not_found",
                f"this server has the model {model['id']} alone",
                status=HTTPStatus.NOT_FOUND,
            )
        )

    post = ["POST"]
    return [
        Route("/v1/audio/transcriptions", endpoint(translate=False), methods=post),
        Route("/v1/audio/translations", endpoint(translate=True), methods=post),
        Route("/v1/models", list_models),
        Route("/v1/models/{name:path}", show_model),
    ]


def _described(settings: Settings) -> dict[str, Any]:
    """The model as an entry of the list."""
    return {
        "id": public_name(settings),
        "object": "model",
        "created": int(time.time()),
        "owned_by": "stream-transcribe",
        "languages": ["en"] if settings.english_only else sorted(LANGUAGES),
        "tasks": ["transcribe"] if settings.english_only else ["transcribe", "translate"],
    }


async def _answer(
    service: Service, translate: bool, form: Form, scope: Scope, receive: Receive, send: Send
) -> None:
    settings = wished(form, service, translate=translate)
    wanted = _choice("response_format", form.get("response_format") or "json", _FORMATS)
    granularities = form.all("timestamp_granularities")
    for each in granularities:
        _choice("timestamp_granularities", each, _GRANULARITIES)
    if granularities and wanted != "verbose_json":
        raise _bad("timestamp_granularities need response_format verbose_json")
    if form.flag("stream"):
        if wanted not in ("json", "text"):
            raise _bad(f"stream=true gives events, not {wanted}; leave out one of the two")
        await _stream(service, form, settings, send)
        return
    response: Response
    if wanted == "verbose_json":
        response = await _verbose(service, form, settings, granularities or ["segment"])
    elif wanted in _MEDIA_TYPES:
        written = Written(wanted)
        await hear_all(service, form, settings, written.push)
        response = Response(written.close(), media_type=_MEDIA_TYPES[wanted])
    else:
        heard = RunningText()
        await hear_all(service, form, settings, heard.push)
        if wanted == "text":
            response = PlainTextResponse(f"{heard.text}\n")
        else:
            response = JSONResponse({"text": heard.text, "usage": _usage(heard.audio_s)})
    await response(scope, receive, send)


async def _verbose(
    service: Service, form: Form, settings: Settings, granularities: list[str]
) -> Response:
    heard, running = Segments(settings.transcriber_options().language), RunningText()
    await hear_all(service, form, settings, heard.push, running.push)
    body: dict[str, Any] = {
        "task": "translate" if settings.translate else "transcribe",
        "language": "english" if settings.translate else heard.language,
        "duration": round(heard.audio_s, 3),
        "text": running.text,
    }
    if "segment" in granularities:
        body["segments"] = [heard.described(*each) for each in enumerate(heard.finals)]
    if "word" in granularities:
        body["words"] = [
            {
                "word": word.text.strip(),
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
            }
            for final in heard.finals
            for word in final.words
        ]
    return JSONResponse({**body, "usage": _usage(heard.audio_s)})


async def _stream(service: Service, form: Form, settings: Settings, send: Send) -> None:
    """Send text as it is committed. The response begins with the first of it, or of the comments.

    Until then a refusal still has its status; after that it is an event, like any error.
    """
    begun = False

    async def write(text: str) -> None:
        nonlocal begun
        if not begun:
            begun = True
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # nginx would keep events back
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def say(body: dict[str, Any]) -> None:
        await write(f"data: {json.dumps(body, ensure_ascii=False)}\n\n")

    async def give_signs() -> None:
        with contextlib.suppress(ClientDisconnect):  # whoever hears the file notices as well
            while True:
                await asyncio.sleep(SIGN_EVERY_S)
                await write(": waiting\n\n")

    heard = RunningText()
    signs = asyncio.create_task(give_signs())
    try:
        async with aclosing(hear(service, form, settings)) as events:
            async for event in events:
                if delta := heard.push(event):
                    await say({"type": "transcript.text.delta", "delta": delta})
        await say({"type": "transcript.text.done", "text": heard.text})
    except StreamingError as error:
        if not begun:
            raise
        code = error.code if isinstance(error, Refusal) else "internal"
        await say({"error": {"message": str(error), "type": "server_error", "code": code}})
    finally:
        signs.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _usage(audio_s: float) -> dict[str, Any]:
    """What OpenAI would charge for, which is started seconds."""
    return {"type": "duration", "seconds": math.ceil(audio_s)}


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise _bad(f"{name} is one of {', '.join(known)}, not {value[:40]!r}")
    return value


def _bad(message: str) -> Refusal:
    return Refusal("bad_parameter", message)
