"""What a client asks for in a ``transcribe`` event: a language, and the model by its name."""

from __future__ import annotations

import re
from dataclasses import replace

from ...languages import LANGUAGES
from ..server.refusal import Refusal
from ..settings import Settings
from .info import PROGRAM, WHISPER_CODES
from .service import Service
from .vocabulary import Event, Transcribe

__all__ = ["wished"]


def wished(service: Service, event: Event) -> Settings:
    """The server's settings, as a client wants them.

    Names and terms to expect are left to the server's ``--hotwords``. Whether audio is over the
    client decides itself, with its audio-stop.

    Raises:
        Refusal: "bad_event", "unknown_model", or "bad_language": the model does not know it.
    """
    asked = Transcribe.from_event(event)
    for value in (asked.name, asked.language):
        if not isinstance(value, str | None):
            raise Refusal("bad_event", "name and language of a transcribe event are strings")
    if asked.name and asked.name not in (service.model, PROGRAM):
        raise Refusal(
            "unknown_model", f"there is no model {asked.name[:40]!r} here, only {service.model}"
        )
    if not asked.language:
        return service.settings
    code = _code(asked.language)
    if service.multilingual:
        return replace(service.settings, language=code)
    if code not in ("en", "auto"):
        raise Refusal(
            "bad_language",
            f"{service.model} knows only English, not {asked.language[:40]!r}; "
            "start the server with a multilingual model: --model base",
        )
    return service.settings


def _code(language: str) -> str:
    """Whisper's code; of a tag such as en-GB, pt_BR or zh-Hans the language counts."""
    code = re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
    code = WHISPER_CODES.get(code, code)
    if code != "auto" and code not in LANGUAGES:
        raise Refusal(
            "bad_language",
            f"unknown language {language[:40]!r}; use auto or a code, such as en, de or pt-BR",
        )
    return code
