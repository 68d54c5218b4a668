"""What was heard of a file, in the forms that clients ask for.

Each collects what its form needs of the events and nothing else: text takes no more memory than
itself, however long the recording is.
"""

from __future__ import annotations

import io
import math
import zlib
from collections import Counter
from typing import Any

from sinks.subtitles import SrtSink, WebVttSink
from sinks.text import TextSink

from ...events import Committed, Event, Final, Stats, Word
from ...languages import LANGUAGE_NAMES
from ...words import UNSPACED_LANGUAGES

__all__ = ["RunningText", "Segments", "Written"]


class RunningText:
    """The text as one run, which only grows."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._utterance = -1
        self.audio_s = 0.0
        """Length of the recording, once it has ended."""

    @property
    def text(self) -> str:
        """All that `push` has returned."""
        return "".join(self._pieces)

    def push(self, event: Event) -> str:
        """What an event appends; "" for most of them."""
        if isinstance(event, Stats):
            self.audio_s = event.audio_s
        if not isinstance(event, Committed):
            return ""
        text = event.text
        if not self._pieces:
            text = text.lstrip()
        elif event.utterance != self._utterance:
            spaced = event.language not in UNSPACED_LANGUAGES
            text = " " * (spaced and not text[:1].isspace()) + text
        self._utterance = event.utterance
        if text:
            self._pieces.append(text)
        return text


class Written:
    """The lines of a sink: ``text``, an utterance each, or the cues of ``srt`` or ``vtt``."""

    def __init__(self, form: str) -> None:
        sinks = {"text": TextSink, "srt": SrtSink, "vtt": WebVttSink}
        self._sink = sinks[form](io.StringIO())  # asked for its text, never opened
        self._pieces = [self._sink.head()]

    def push(self, event: Event) -> None:
        """Take the next event."""
        if text := self._sink.format(event):
            self._pieces.append(text)

    def close(self) -> str:
        """All of it; nothing may follow."""
        return "".join([*self._pieces, self._sink.tail()])


class Segments:
    """Utterances with their places in the recording, and their words if asked for."""

    def __init__(self, language: str | None) -> None:
        self.finals: list[Final] = []
        """Those that have words."""
        self.audio_s = 0.0
        """Length of the recording, once it has ended."""
        self._asked = language
        self._heard: Counter[str] = Counter()

    def push(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, Stats):
            self.audio_s = event.audio_s
        elif isinstance(event, Final) and event.words:
            self.finals.append(event)
            self._heard[event.language] += len(event.words)

    @property
    def language(self) -> str:
        """English name of the language of most words; of the one asked for where there are none."""
        heard = self._heard.most_common(1)
        code = heard[0][0] if heard else self._asked or ""
        return LANGUAGE_NAMES.get(code, code)

    @staticmethod
    def described(number: int, final: Final) -> dict[str, Any]:
        """A segment as OpenAI's clients and whisper.cpp's read it; times in seconds.

        There are no token numbers. Where no speech is, there is no segment either.
        """
        words = final.words
        return {
            "id": number,
            "seek": round(100 * words[0].start_s),
            "start": round(words[0].start_s, 3),
            "end": round(words[-1].end_s, 3),
            "text": final.text,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": round(_mean_log(words), 4),
            "compression_ratio": round(_compression(final.text), 3),
            "no_speech_prob": 0.0,
        }


def _mean_log(words: tuple[Word, ...]) -> float:
    """Of the words' probabilities, each of which is a mean over tokens."""
    return sum(math.log(max(word.probability, 1e-6)) for word in words) / len(words)


def _compression(text: str) -> float:
    """How much shorter zlib makes it, as Whisper measures repetition."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
