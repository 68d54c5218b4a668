"""Subtitles from committed words, or refined ones: SRT and WebVTT.

Cues follow common practice in subtitling (as in Netflix's Timed Text Style Guide): at most
two rows of 42 columns, at least 5/6 of a second and at most seven seconds long. A cue is
written once, whole, as soon as it is complete; the file is valid at any moment and after
any kind of end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from streaming.events import (
    Committed,
    Event,
    Final,
    SessionEnded,
    SessionStarted,
    SpeechStarted,
    Word,
    text_of,
)

from ._output import OutputSink, Target
from ._refined import RefinedLog
from ._text import one_line, wrap

__all__ = ["SrtSink", "WebVttSink"]

_COLUMNS = 42
"""Terminal cells in a row: 42 Latin letters or 21 wide characters."""
_ROWS = 2
_MIN_S = 5 / 6
"""A shorter cue cannot be read; a full stop does not end one either (Mr. and Dr.)."""
_MAX_S = 7.0
_PAUSE_S = 1.0
"""A longer silence between two words ends the cue."""
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "؟", "।", "။", "។")  # noqa: RUF001
_CLOSING = "\"'”’»)]」』）"  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class _Cue:
    start_s: float
    end_s: float
    rows: tuple[str, ...]
    label: str


class _Track:
    """Cuts the words of one session into cues, one after the other.

    Args:
        label_in_text: whether the session's label stands before the words.
    """

    def __init__(self, *, label_in_text: bool) -> None:
        self._label_in_text = label_in_text
        self._label = ""
        self._in_step = True
        """The session runs at the pace of the others."""
        self._words: list[Word] = []
        self._end_s = 0.0
        """End of the cue before."""
        self._said_s = 0.0
        """Up to here all words are known."""
        self._speech: deque[float] = deque()
        """Starts of the speech that has no final yet."""

    @property
    def next_s(self) -> float:
        """No cue that is still to come begins earlier; infinity if nothing tells of one."""
        if self._words:
            return self._start_s
        said_s = max(self._said_s, self._end_s)
        if self._speech:
            return max(self._speech[0], said_s)
        return math.inf if self._in_step else said_s

    def push(self, event: Event) -> Iterator[_Cue]:
        """The cues that an event of the session completes."""
        if isinstance(event, SessionStarted):
            self._label = one_line(event.label)
            self._in_step = event.options.get("pace", "realtime") == "realtime"
        elif isinstance(event, SpeechStarted):
            self._speech.append(event.at_s)
        elif isinstance(event, Committed):
            for word in event.words:
                for piece in _pieces(word):
                    yield from self._add(piece)
                self._said_s = max(self._said_s, word.end_s)
        elif isinstance(event, Final):
            yield from self.close()
            self._said_s = max(self._said_s, event.end_s)
            while self._speech and self._speech[0] <= self._said_s:
                self._speech.popleft()
            if event.reason == "max_length":  # the speech goes on
                self._speech.appendleft(self._said_s)
        elif isinstance(event, SessionEnded):
            yield from self.close()

    def close(self) -> Iterator[_Cue]:
        """The cue of the words that wait, if there are any."""
        if not self._words:
            return
        start_s = self._start_s
        words, self._words = self._words, []
        rows = self._rows(words)
        if rows:
            self._end_s = max(words[-1].end_s, start_s + _MIN_S)
            yield _Cue(start_s, self._end_s, rows, self._label)

    @property
    def _start_s(self) -> float:
        return max(self._words[0].start_s, self._end_s)

    def _add(self, word: Word) -> Iterator[_Cue]:
        if self._words and (
            len(self._rows([*self._words, word])) > _ROWS
            or word.end_s - self._words[0].start_s > _MAX_S
            or word.start_s - self._words[-1].end_s > _PAUSE_S
        ):
            yield from self.close()
        self._words.append(word)
        duration_s = word.end_s - self._words[0].start_s
        if word.text.rstrip().rstrip(_CLOSING).endswith(_SENTENCE_ENDS) and duration_s >= _MIN_S:
            yield from self.close()

    def _rows(self, words: list[Word]) -> tuple[str, ...]:
        text = one_line(text_of(words)).strip()
        if not text:
            return ()
        prefix = f"{self._label}: " if self._label and self._label_in_text else ""
        return tuple(row.plain.rstrip() for row in wrap(prefix + text, _COLUMNS))


class _Cues:
    """The cues of all sessions of a log, in the order of their starts.

    A cue waits for those that may begin earlier: of another session's speech that has begun, and
    of sessions that do not run at the pace of their audio and have not come as far. Speech that
    is noticed later than its start begins where the order allows.
    """

    def __init__(self, *, label_in_text: bool) -> None:
        self._label_in_text = label_in_text
        self._tracks: dict[str, _Track] = {}
        self._complete: list[_Cue] = []
        self._last_s = 0.0
        """Where the last cue began."""

    def push(self, event: Event) -> list[_Cue]:
        """The cues that an event completes."""
        track = self._tracks.get(event.session)
        if track is None:
            track = self._tracks[event.session] = _Track(label_in_text=self._label_in_text)
        self._complete += track.push(event)
        if isinstance(event, SessionEnded):
            del self._tracks[event.session]
        return self._in_order()

    def close(self) -> list[_Cue]:
        """The cues of words that wait, if there are any."""
        for track in self._tracks.values():
            self._complete += track.close()
        self._tracks.clear()
        return self._in_order()

    def _in_order(self) -> list[_Cue]:
        """Take the cues that no other one may precede any more."""
        next_s = min((track.next_s for track in self._tracks.values()), default=math.inf)
        self._complete.sort(key=lambda cue: cue.start_s)
        due = [cue for cue in self._complete if cue.start_s <= next_s]
        self._complete = self._complete[len(due) :]
        shown = []
        for cue in due:
            self._last_s = max(self._last_s, cue.start_s)
            end_s = max(cue.end_s, self._last_s + _MIN_S)
            shown.append(replace(cue, start_s=self._last_s, end_s=end_s))
        return shown


def _pieces(word: Word) -> list[Word]:
    """The word, or its rows where it is wider than one, sharing its time by their length."""
    rows = [row.plain for row in wrap(word.text, _COLUMNS)]
    if len(rows) < 2 or not word.text:
        return [word]
    duration_s = (word.end_s - word.start_s) / len(word.text)
    pieces = []
    start_s = word.start_s
    for row in rows:
        end_s = start_s + duration_s * len(row)
        pieces.append(Word(row, start_s, end_s, word.probability))
        start_s = end_s
    return pieces


def _timestamp(time_s: float, separator: str) -> str:
    milliseconds = round(time_s * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{seconds:02}{separator}{milliseconds:03}"


class _SubtitleSink(OutputSink):
    def __init__(self, target: Target, cues: _Cues, raw: bool) -> None:
        super().__init__(target)
        self._refined = RefinedLog(raw=raw)
        self._cues = cues

    def format(self, event: Event) -> str:
        """The cues that the event completes."""
        return self._written(self._refined.push(event))

    def tail(self) -> str:
        """What was held back, and the cue of words whose utterance did not end."""
        text = self._written(self._refined.close())
        return text + "".join(map(self._cue, self._cues.close()))

    def _written(self, events: Iterable[Event]) -> str:
        return "".join(self._cue(cue) for event in events for cue in self._cues.push(event))

    def _cue(self, cue: _Cue) -> str:
        raise NotImplementedError


class SrtSink(_SubtitleSink):
    """SubRip: numbered cues; a session's label stands before the text.

    Args:
        target: a path (overwritten in place), ``"-"`` for standard output, or a stream.
        raw: committed words even where a final model refines them.
    """

    def __init__(self, target: Target, *, raw: bool = False) -> None:
        super().__init__(target, _Cues(label_in_text=True), raw)
        self._number = 0

    def _cue(self, cue: _Cue) -> str:
        self._number += 1
        start, end = _timestamp(cue.start_s, ","), _timestamp(cue.end_s, ",")
        rows = "\n".join(cue.rows)
        return f"{self._number}\n{start} --> {end}\n{rows}\n\n"


class WebVttSink(_SubtitleSink):
    """WebVTT (w3.org/TR/webvtt1): a session's label becomes the cue's voice.

    Args:
        target: a path (overwritten in place), ``"-"`` for standard output, or a stream.
        raw: committed words even where a final model refines them.
    """

    def __init__(self, target: Target, *, raw: bool = False) -> None:
        super().__init__(target, _Cues(label_in_text=False), raw)

    def head(self) -> str:
        """The signature line."""
        return "WEBVTT\n\n"

    def _cue(self, cue: _Cue) -> str:
        start, end = _timestamp(cue.start_s, "."), _timestamp(cue.end_s, ".")
        voice = f"<v {_escaped(cue.label)}>" if cue.label else ""
        rows = "\n".join(_escaped(row) for row in cue.rows)
        return f"{start} --> {end}\n{voice}{rows}\n\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
