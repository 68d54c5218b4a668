from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sinks.jsonl import JsonlSink
from streaming.events import (
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    SessionStarted,
    Word,
    event_from_json,
)
from streaming.protocols import Sink

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def test_it_is_a_sink() -> None:
    assert isinstance(JsonlSink("-"), Sink)


def test_every_event_is_one_line_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    word = Word(" été\u2028", 1.0, 1.5, 0.5)

    @given(st.lists(st.builds(Committed, text=TEXT) | st.builds(Notice, message=TEXT)))
    def check(drawn: list[Event]) -> None:
        events = [
            SessionStarted(model="tiny.en", options={"chunk": 0.5}),
            Partial(tentative=word.text, words=(word,)),
            *drawn,
            Final(words=(word,), reason="flush"),
        ]

        async def main() -> None:
            async with JsonlSink(path) as sink:
                for event in events:
                    await sink.write(event)

        asyncio.run(main())
        lines = path.read_text(encoding="utf-8").split("\n")
        assert lines.pop() == ""
        assert [event_from_json(line) for line in lines] == events

    check()
