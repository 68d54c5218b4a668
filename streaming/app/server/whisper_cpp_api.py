"""``POST /inference``, as the example server of whisper.cpp has it.

It takes a form (multipart/form-data) with

=================== ===========================================================================
``file``            the recording: anything that FFmpeg reads
``response_format`` ``json`` (default), ``text``, ``srt``, ``vtt``, ``verbose_json``
``language``        a code, an English name or ``auto``; the server's ``--language`` without it
``detect_language`` ``true`` is ``language=auto``
``translate``       ``true``: into English; needs a multilingual model
``prompt``          text said before, as context
``no_timestamps``   ``true`` leaves the times out of the words
=================== ===========================================================================

Text has an utterance a line. ``verbose_json`` has what whisper.cpp's has, but for the numbers of
tokens and the probabilities of languages; its ``words`` are words, not tokens.

``offset_t``, ``offset_n``, ``duration``, ``diarize`` and ``tinydiarize`` would change the answer
and are refused. The other fields of that server (``temperature``, ``beam_size``, thresholds, ...)
are taken and have no effect. Errors are those of `openai_api`.
"""

from __future__ import annotations

import functools
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ...events import Final
from ..settings import Settings
from .forms import Form
from .refusal import Refusal
from .service import Service
from .transcript import Segments, Written
from .upload_endpoint import UploadEndpoint
from .uploads import hear_all, wished

__all__ = ["routes"]

_MEDIA_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}
_FORMATS = ("json", "verbose_json", *_MEDIA_TYPES)
_REFUSED = ("offset_t", "offset_n", "duration", "diarize", "tinydiarize")


def routes(service: Service) -> list[BaseRoute]:
    """See the module."""
    endpoint = UploadEndpoint(service, functools.partial(_answer, service))
    return [Route("/inference", endpoint, methods=["POST"])]


async def _answer(service: Service, form: Form, scope: Scope, receive: Receive, send: Send) -> None:
    wanted = form.get("response_format") or "json"
    if wanted not in _FORMATS:
        raise _bad(f"response_format is one of {', '.join(_FORMATS)}, not {wanted[:40]!r}")
    for name in _REFUSED:
        if not form.is_off(name):
            raise _bad(f"{name} is not known here; cut or split the recording before")
    translate, detect = form.flag("translate"), form.flag("detect_language")
    settings = wished(form, service, translate=translate, detect=detect)
    timed = not form.flag("no_timestamps")
    lines = Written("text" if wanted.endswith("json") else wanted)
    segments = Segments(settings.transcriber_options().language)
    await hear_all(service, form, settings, lines.push, segments.push)
    text = lines.close()
    response: Response
    if wanted == "verbose_json":
        response = JSONResponse(_verbose(settings, segments, text, timed=timed))
    elif wanted == "json":
        response = JSONResponse({"text": text})
    else:
        response = Response(text, media_type=_MEDIA_TYPES[wanted])
    await response(scope, receive, send)


def _verbose(settings: Settings, heard: Segments, text: str, *, timed: bool) -> dict[str, Any]:
    return {
        "task": "translate" if settings.translate else "transcribe",
        "language": heard.language,
        "duration": heard.audio_s,
        "text": text,
        "segments": [
            {**heard.described(number, final), "words": _words(final, timed=timed)}
            for number, final in enumerate(heard.finals)
        ],
        "detected_language": heard.language,
    }


def _words(final: Final, *, timed: bool) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = []
    for word in final.words:
        words.append({"word": word.text, "probability": round(word.probability, 4)})
        if timed:
            start_s, end_s = round(word.start_s, 3), round(word.end_s, 3)
            words[-1] |= {"start": start_s, "end": end_s, "t_dtw": -1}
    return words


def _bad(message: str) -> Refusal:
    return Refusal("bad_parameter", message)
