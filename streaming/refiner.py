"""Finished utterances once more, for a larger model: which audio, and whose text stands.

Pure: it is told of every piece of audio and of every event, asks for one window after
another and answers with events. It keeps the audio itself, in a ring, as the session lets
go of its own once an utterance is final.

Every final that has words gets one `Refined`, whatever happens, so that whoever waits for
it always gets an answer. Where there is nothing better than the committed words, it repeats
them under the live model's name: the larger model heard nothing (words that somebody may
have read are not taken away for that), looped twice over, or could not be asked. That last
one is also told, by a notice.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .audio import AudioChunk, Samples, samples_from_seconds
from .context import CONTEXT_GAP_S, context_of, parrots
from .errors import StreamingError
from .events import Event, Final, Notice, Refined, Word, text_of
from .options import TranscriberOptions
from .protocols import Backend, Hypothesis, Window
from .ring_buffer import RingBuffer
from .windows import first_cut, log_mel

__all__ = ["Refiner"]

_MOST_WAITING = 8
"""Utterances that may wait for the larger model behind the one that it hears."""
_WAITING_S = 120.0
"""Audio kept for them, besides the longest utterance."""
_ROOM_SAMPLES = samples_from_seconds(2.0)
"""More than comes at once, a gap that is filled included."""
_MARGIN_SAMPLES = samples_from_seconds(0.2)
"""Audio heard on either side of an utterance: a word that is cut off is misheard."""

_RECENT_WORDS = 50
"""Refined words remembered as context; backends take fewer."""
_FRAGMENT_S = 0.1
"""A word that reaches no further into the utterance is the rest of the one before."""


@dataclass(slots=True)
class _Utterance:
    """An utterance that is heard again, or will be."""

    final: Final
    goes_on: bool
    """Speech goes on from the one before."""
    pieces: deque[tuple[int, Samples]] = field(default_factory=deque)
    """First sample and audio of what is left to decode, once it has begun."""
    words: list[Word] = field(default_factory=list)
    context: str = ""
    """That of the window which is out."""
    careful: bool = False
    """The piece in front looped; this is the second try."""

    @property
    def start_sample(self) -> int:
        return samples_from_seconds(self.final.start_s)

    def own_words(self) -> Iterator[Word]:
        """What was heard, without words of the utterances at either side."""
        after_s = self.final.start_s + _FRAGMENT_S if self.goes_on else -math.inf
        cut = self.final.reason in ("max_length", "flush")
        until_s = self.final.end_s + _FRAGMENT_S if cut else math.inf
        for word in self.words:
            # The first word of a window begins where the window does: only its end tells.
            if after_s < word.end_s <= until_s:
                yield word


class Refiner:
    """Turns finals into windows for a larger model, and what it heard into `Refined` events.

    One window is out at a time: `next_window`, then `complete`.

    Args:
        options: prompt, languages, and the longest utterance.
        live_model: whose text the finals have.
        drops: where audio cannot wait. Utterances that come while too many others wait, or
            whose audio had to make room, then keep their committed words. Otherwise feed no
            audio while `has_room` is false.
    """

    def __init__(self, options: TranscriberOptions, *, live_model: str, drops: bool) -> None:
        self._options = options
        self._live_model = live_model
        self.drops = drops
        self._ring = RingBuffer(samples_from_seconds(options.max_utterance_s + _WAITING_S))
        self._waiting: deque[_Utterance] = deque()
        self._current: _Utterance | None = None
        self._end_s = -1.0
        """Of the newest utterance."""
        self._recent: deque[Word] = deque(maxlen=_RECENT_WORDS)
        self._language = ""
        """Of these words."""
        self._stopped = False
        self.error: StreamingError | None = None
        """Why the larger model could not go on, if it failed."""

    @property
    def prompt(self) -> str:
        """Hotwords and prompt that every window gets."""
        return self._options.whole_prompt

    @property
    def idle(self) -> bool:
        """True if no utterance waits for the larger model."""
        return self._current is None and not self._waiting

    @property
    def has_room(self) -> bool:
        """False while feeding more would cost audio that is still to be heard again."""
        if self.drops or not self._waiting:
            return True
        held = self._ring.end_sample - self._waiting[0].start_sample
        return len(self._waiting) < _MOST_WAITING and held < self._ring.capacity - _ROOM_SAMPLES

    def feed(self, chunk: AudioChunk) -> list[Event]:
        """Take the next piece of audio; what is missing before it is taken for silence."""
        missing = chunk.start_sample - self._ring.end_sample
        if missing < self._ring.capacity:
            self._ring.write(np.zeros(missing, np.float32))
        else:
            self._ring.clear(chunk.start_sample)
        self._ring.write(chunk.samples)
        events: list[Event] = []
        while self._waiting and self._waiting[0].start_sample < self._ring.start_sample:
            events += self._refuse(self._waiting.popleft().final, "it had to wait for too long")
        return events

    def push(self, event: Event) -> list[Event]:
        """Take any event of the session; finals are what counts."""
        if not isinstance(event, Final):
            return []
        utterance = _Utterance(event, goes_on=event.start_s <= self._end_s)
        self._end_s = event.end_s
        if not event.words:
            return []
        if self._stopped:
            return [self._kept(event)]
        if self.drops and len(self._waiting) >= _MOST_WAITING:
            return self._refuse(event, f"{_MOST_WAITING} others wait for the final model")
        if utterance.start_sample < self._ring.start_sample:
            return self._refuse(event, "it is longer than the audio that is kept")
        if utterance.start_sample >= self._ring.end_sample:
            return self._refuse(event, "its audio is lost")
        self._waiting.append(utterance)
        return []

    def next_window(self, backend: Backend) -> Window:
        """What to decode now; not while `idle`.

        Args:
            backend: the larger model, for what it is able to hear.
        """
        if self._current is None:
            self._current = self._waiting.popleft()
            self._current.pieces.extend(self._pieces(self._current))
        utterance = self._current
        start, samples = utterance.pieces[0]
        before = [] if utterance.careful else self._before(utterance)
        utterance.context = context_of(before, len(samples))
        return Window(
            start_sample=start,
            mel=log_mel(samples, backend.n_mels),
            prompt=self.prompt,
            context=utterance.context,
            language=utterance.final.language or None,
            candidates=self._options.candidates,
            task=self._options.task,
            careful=utterance.careful,
        )

    def complete(self, hypothesis: Hypothesis, model: str) -> list[Event]:
        """Take what the larger model, called ``model``, heard in the window that was out."""
        utterance = self._current
        assert utterance is not None
        looped = hypothesis.looped or parrots(hypothesis.words, utterance.context)
        if looped and not utterance.careful:
            utterance.careful = True
            return []
        utterance.words += hypothesis.words
        utterance.pieces.popleft()
        utterance.careful = False
        if utterance.pieces and not looped:
            return []
        self._current = None
        words = tuple(utterance.own_words())
        if looped or not words:
            self._recent.clear()
            return [self._kept(utterance.final)]
        self._recent.extend(words)
        self._language = hypothesis.language
        return [
            Refined(
                utterance=utterance.final.utterance,
                text=text_of(words),
                words=words,
                language=hypothesis.language,
                model=model,
            )
        ]

    def stop(self) -> list[Event]:
        """The session ends: whatever waits keeps its committed words."""
        finals = self._give_up()
        if not finals:
            return []
        numbers = ", ".join(str(final.utterance) for final in finals)
        return [_not_refined(f"not refined before the end: utterance {numbers}"), *finals]

    def fail(self, error: StreamingError) -> list[Event]:
        """The larger model failed: every utterance keeps its committed words from now on."""
        self.error = error
        notice = Notice(level="error", code="final_model_error", message=str(error))
        return [notice, *self._give_up()]

    def _give_up(self) -> list[Refined]:
        utterances = [*([self._current] if self._current else []), *self._waiting]
        self._current, self._stopped = None, True
        self._waiting.clear()
        return [self._kept(utterance.final) for utterance in utterances]

    def _pieces(self, utterance: _Utterance) -> Iterator[tuple[int, Samples]]:
        """Its audio, in as many windows as it takes."""
        start = max(utterance.start_sample - _MARGIN_SAMPLES, self._ring.start_sample)
        end = samples_from_seconds(utterance.final.end_s) + _MARGIN_SAMPLES
        samples = self._ring.read(start, min(end, self._ring.end_sample))
        while (cut := first_cut(samples)) is not None:
            yield start, samples[:cut]
            start, samples = start + cut, samples[cut:]
        yield start, samples

    def _before(self, utterance: _Utterance) -> list[Word]:
        """What was said before the window, in the same language and not long ago."""
        said = [*self._recent, *utterance.words]
        if self._language != utterance.final.language:
            said = utterance.words
        since_s = utterance.final.start_s - CONTEXT_GAP_S
        return [word for word in said if word.end_s > since_s]

    def _refuse(self, final: Final, reason: str) -> list[Event]:
        notice = _not_refined(f"utterance {final.utterance} was not refined: {reason}")
        return [notice, self._kept(final)]

    def _kept(self, final: Final) -> Refined:
        return Refined(
            utterance=final.utterance,
            text=final.text,
            words=final.words,
            language=final.language,
            model=self._live_model,
        )


def _not_refined(message: str) -> Notice:
    return Notice(level="warning", code="not_refined", message=message)
