"""What a viewer knows of the captions, from the messages it gets: the page's rules, in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streaming.events import Committed, Final, Partial, SessionStarted, Word

__all__ = ["Reader", "Speech", "words_of"]


@dataclass
class Shown:
    """The lines of one session by their numbers, and what may come after them."""

    lines: dict[int, str] = field(default_factory=dict)
    end: int = 0
    tentative: list[str] = field(default_factory=lambda: [""])

    def take(self, update: Mapping[str, Any]) -> None:
        texts = [line["text"] for line in update["lines"]]
        kept = {n: text for n, text in self.lines.items() if n < update["from"]}
        self.lines = kept | dict(enumerate(texts, update["from"]))
        self.end = update["from"] + len(texts)
        self.tentative = list(update["tentative"])


@dataclass
class Reader:
    """Takes messages; checks that committed lines only grow."""

    sessions: dict[str, Shown] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0

    def take(self, data: str | bytes) -> Reader:
        message = json.loads(data)
        if "seq" in message:
            self.events.append(message)
        elif message["type"] == "snapshot":
            for session in message["sessions"]:
                self._take(session)
        elif message["type"] == "lines":
            self._take(message)
        elif message["type"] == "skipped":
            self.skipped += message["events"]
        else:
            assert message["type"] == "alive"
        return self

    def known(self) -> dict[str, Shown]:
        """What there is to show; a session that has said nothing shows nothing."""
        return {name: shown for name, shown in self.sessions.items() if shown != Shown()}

    def _take(self, update: Mapping[str, Any]) -> None:
        shown = self.sessions.setdefault(update["session"], Shown())
        before, end = dict(shown.lines), shown.end
        shown.take(update)
        assert shown.end >= end
        for n, text in shown.lines.items():
            if n < end - 1 and n in before:
                assert text == before[n], "a line that was full has changed"
            elif n == end - 1 and n in before and not text.startswith("[audio"):
                assert text.startswith(before[n]), "a committed word has moved"

    def text(self, session: str) -> str:
        return "".join(self.sessions[session].lines.values())


def words_of(text: str) -> tuple[Word, ...]:
    """One a space."""
    return tuple(Word(part, 0.0, 0.0, 1.0) for part in re.findall(r"\s*\S+", text))


class Speech:
    """Makes the events of a session that is said by hand."""

    def __init__(self, session: str = "a", language: str = "en") -> None:
        self.session, self.language = session, language
        self.utterance = 0
        self.committed = ""
        self._seq = -1

    def start(self, label: str = "") -> SessionStarted:
        return SessionStarted(label=label, language=self.language, **self._stamp())

    def commit(self, text: str, words: Sequence[Word] | None = None) -> Committed:
        self.committed += text
        return Committed(
            utterance=self.utterance,
            text=text,
            words=words_of(text) if words is None else tuple(words),
            language=self.language,
            **self._stamp(),
        )

    def partial(self, tentative: str) -> Partial:
        return Partial(
            utterance=self.utterance,
            committed=self.committed,
            tentative=tentative,
            words=words_of(tentative),
            language=self.language,
            **self._stamp(),
        )

    def final(self) -> Final:
        text, self.committed = self.committed, ""
        self.utterance += 1
        return Final(utterance=self.utterance - 1, text=text, words=words_of(text), **self._stamp())

    def _stamp(self) -> dict[str, Any]:
        self._seq += 1
        return {"session": self.session, "seq": self._seq}
