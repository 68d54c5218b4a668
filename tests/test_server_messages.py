"""Parameters and text frames."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.app.server.messages import (
    Configuration,
    Finish,
    FlushHere,
    KeepAlive,
    Resume,
    Skip,
    parse_message,
    parse_opening,
)
from streaming.app.server.refusal import INVALID, POLICY, Refusal
from streaming.app.settings import Settings

SETTINGS = Settings(model="base", prompt="before", language="de")


def test_parameters_shape_the_session_and_the_rest_stays_the_servers() -> None:
    opening = parse_opening(
        [
            ("language", "en,ja"),
            ("task", "translate"),
            ("encoding", "f32le"),
            ("sample_rate", "48000"),
            ("channels", "2"),
            ("hotwords", "Ada, Grace,,Ada"),
            ("interim", "false"),
            ("label", "me"),
            ("token", "never looked at here"),
        ],
        SETTINGS,
    )
    assert opening.settings.languages == (None, ("en", "ja"))
    assert opening.settings.translate
    assert opening.settings.hotwords == ("Ada", "Grace")
    assert (opening.settings.prompt, opening.settings.label) == ("before", "me")
    assert (opening.encoding, opening.sample_rate, opening.channels) == ("f32le", 48_000, 2)
    assert (opening.interim, opening.resumes) == (False, None)


def test_without_parameters_it_is_as_the_server_was_started() -> None:
    opening = parse_opening([], SETTINGS)
    assert opening.settings == SETTINGS
    assert (opening.encoding, opening.sample_rate, opening.channels) == ("s16le", 16_000, 1)
    assert opening.interim


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("languge=de", "there is no parameter 'languge'"),
        ("language=klingon", "klingon"),
        ("task=sing", "task is transcribe or translate"),
        ("encoding=mp3", "s16le, f32le, opus"),
        ("encoding=opus&sample_rate=48000", "opus tells its own"),
        ("sample_rate=7999", "sample_rate lies between 8000 and 192000"),
        ("sample_rate=1e5", "sample_rate lies between"),
        ("channels=0", "channels lies between 1 and 8"),
        ("channels=\u0662", "channels lies between 1 and 8"),
        ("interim=yes", "interim is true or false"),
        ("interim=true&interim=true", "given twice"),
        ("session=abc&language=de", "resumed as it was"),
        (f"prompt={'x' * 5000}", "prompt has at most 4000 characters"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(query: str, says: str) -> None:
    pairs = [tuple(part.split("=", 1)) for part in query.split("&")]
    with pytest.raises(Refusal) as refused:
        parse_opening(pairs, SETTINGS)  # type: ignore[arg-type]
    assert says in refused.value.message
    assert (refused.value.code, refused.value.close_code) == ("bad_parameter", POLICY)


def test_a_model_for_english_refuses_other_languages() -> None:
    with pytest.raises(Refusal, match=r"tiny\.en knows only English"):
        parse_opening([("language", "de")], Settings())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"type": "keepalive"}, KeepAlive()),
        ({"type": "flush", "unknown": 1}, FlushHere()),
        ({"type": "finish"}, Finish()),
        ({"type": "skip", "count": 480}, Skip(480)),
        ({"type": "configure", "interim": False}, Configuration(None, False)),
        (
            {"type": "resume", "secret": "s", "last_seq": -1, "sent": 7},
            Resume("s", -1, 7),
        ),
    ],
)
def test_every_message_is_read(body: dict[str, Any], expected: object) -> None:
    assert parse_message(json.dumps(body), SETTINGS) == expected


def test_a_configuration_changes_what_it_names() -> None:
    body = {"type": "configure", "language": "fr", "hotwords": ["Ada", "Grace"], "interim": True}
    wanted = parse_message(json.dumps(body), SETTINGS)
    assert isinstance(wanted, Configuration)
    assert wanted.settings is not None
    assert (wanted.settings.language, wanted.settings.prompt) == ("fr", "before")
    assert wanted.settings.hotwords == ("Ada", "Grace")
    assert wanted.interim is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "7",
        "{}",
        '{"type": "sing"}',
        '{"type": ["flush"]}',
        '{"type": "skip"}',
        '{"type": "skip", "count": 0}',
        '{"type": "skip", "count": true}',
        '{"type": "skip", "count": 1e30}',
        '{"type": "resume", "secret": 1, "last_seq": 0, "sent": 0}',
        '{"type": "resume", "secret": "s", "last_seq": -2, "sent": 0}',
        '{"type": "configure", "label": "me"}',
        '{"type": "configure", "prompt": 7}',
        '{"type": "configure", "interim": "false"}',
        "[" * 100_000,
        '{"type": "keepalive", "x": "' + "x" * 70_000 + '"}',
    ],
)
def test_anything_else_is_refused_as_a_bad_message(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_message(text, SETTINGS)
    assert (refused.value.code, refused.value.close_code) == ("bad_message", INVALID)


def test_half_a_character_reaches_no_model() -> None:
    wanted = parse_message('{"type": "configure", "prompt": "a\\ud800b"}', SETTINGS)
    assert isinstance(wanted, Configuration)
    assert wanted.settings is not None
    assert wanted.settings.prompt == "a?b"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KINDS = st.sampled_from(["keepalive", "flush", "finish", "skip", "resume", "configure", "x"])


@given(
    st.dictionaries(
        st.sampled_from(["count", "secret", "last_seq", "sent", "language", "hotwords", "task"]),
        JSON,
    ),
    KINDS,
)
def test_a_message_is_read_or_refused_and_nothing_else_happens(body: Any, kind: str) -> None:
    with suppress(Refusal):
        parse_message(json.dumps({**body, "type": kind}), SETTINGS)


@given(st.lists(st.tuples(st.text(max_size=12) | st.just("language"), st.text(max_size=12))))
def test_so_are_parameters(query: list[tuple[str, str]]) -> None:
    with suppress(Refusal):
        parse_opening(query, SETTINGS)
