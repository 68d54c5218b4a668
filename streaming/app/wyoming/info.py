"""What a client is told about this server when it asks what there is."""

from __future__ import annotations

from ... import __version__
from ...languages import LANGUAGES
from .service import Service
from .vocabulary import AsrModel, AsrProgram, Attribution, Event, Info

__all__ = ["PROGRAM", "WHISPER_CODES", "info_event"]

PROGRAM = "stream-transcribe"
"""Assistants show this name."""
WHISPER_CODES = {"fil": "tl", "jv": "jw", "nb": "no"}
"""Usual codes of languages, where Whisper has other ones."""


def info_event(service: Service) -> Event:
    """One program with one model, and the languages that this one knows."""
    languages = ["en"]
    if service.multilingual:
        languages = sorted({*LANGUAGES, *WHISPER_CODES})
    model = AsrModel(
        name=service.model,
        attribution=Attribution("OpenAI", "https://github.com/openai/whisper"),
        installed=True,
        description=f"Whisper {service.model}",
        version=None,
        languages=languages,
    )
    program = AsrProgram(
        name=PROGRAM,
        attribution=Attribution("The stream-transcribe authors", ""),
        installed=True,
        description="Text while people speak: streaming Whisper",
        version=__version__,
        models=[model],
        supports_transcript_streaming=True,
        requires_external_vad=True,  # who records decides when a command is over
    )
    return Info(asr=[program]).event()
