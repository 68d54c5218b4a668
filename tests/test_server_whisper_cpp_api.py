from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fakes import ScriptedBackend
from upload_server import TALK, UploadServer, serve, wav

from streaming.app.compose import make_worker
from streaming.app.settings import Settings
from streaming.evaluation.text import count_errors
from streaming.events import text_of

LINES = [text_of(TALK.words[first:last]) for first, last in ((0, 4), (4, 7), (7, 12))]
TEXT = "".join(f"{line.strip()}\n" for line in LINES)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(TALK)


@pytest.fixture
def server(backend: ScriptedBackend) -> Iterator[UploadServer]:
    with serve(backend) as server:
        yield server


def ask(server: UploadServer, **fields: str) -> httpx.Response:
    """As its README does with curl: a file and fields."""
    return httpx.post(f"{server.url}inference", files={"file": ("a.wav", wav())}, data=fields)


def test_the_answer_is_json_with_an_utterance_a_line(server: UploadServer) -> None:
    answer = ask(server, temperature="0.0", temperature_inc="0.2", response_format="json")
    assert answer.json() == {"text": TEXT}
    assert ask(server).json() == {"text": TEXT}


def test_text_and_subtitles_come_as_they_are(server: UploadServer) -> None:
    text = ask(server, response_format="text")
    assert text.text == TEXT
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    srt = ask(server, response_format="srt")
    assert srt.text.startswith("1\n00:00:00,500 --> ")
    assert srt.headers["content-type"].startswith("application/x-subrip")
    vtt = ask(server, response_format="vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.500 --> ")
    assert vtt.headers["content-type"].startswith("text/vtt")


def test_verbose_json_has_segments_with_their_words(server: UploadServer) -> None:
    body = ask(server, response_format="verbose_json").json()
    assert (body["task"], body["language"], body["text"]) == ("transcribe", "english", TEXT)
    assert body["detected_language"] == "english"
    assert body["duration"] == pytest.approx(TALK.duration_s)
    assert [segment["text"] for segment in body["segments"]] == LINES
    assert [segment["id"] for segment in body["segments"]] == [0, 1, 2]
    words = [word for segment in body["segments"] for word in segment["words"]]
    assert [word["word"] for word in words] == [word.text for word in TALK.words]
    assert [word["start"] for word in words] == pytest.approx([w.start_s for w in TALK.words])
    assert {"end", "probability", "t_dtw"} < set(words[0])
    for name in ("start", "end", "temperature", "avg_logprob", "no_speech_prob", "tokens"):
        assert name in body["segments"][0]


def test_words_have_no_times_where_none_are_wanted(server: UploadServer) -> None:
    body = ask(server, response_format="verbose_json", no_timestamps="true").json()
    assert set(body["segments"][0]["words"][0]) == {"word", "probability"}


def test_what_is_asked_for_reaches_the_model(
    server: UploadServer, backend: ScriptedBackend
) -> None:
    answer = ask(
        server, language="de", translate="true", prompt="So far.", response_format="verbose_json"
    )
    window = backend.windows[-1]
    assert (window.language, window.task, window.prompt) == ("de", "translate", "So far.")
    assert (answer.json()["task"], answer.json()["language"]) == ("translate", "german")
    ask(server, language="de", detect_language="1")
    assert backend.windows[0].language == "de"
    detected = backend.windows[3:]
    assert [window.language for window in detected] == [None, None, None]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"response_format": "lrc"}, "json, verbose_json, text, srt, vtt"),
        ({"language": "xx"}, "unknown language 'xx'"),
        ({"translate": "maybe"}, "translate is true or false"),
        ({"offset_t": "5000"}, "offset_t is not known here"),
        ({"diarize": "True"}, "diarize is not known here"),
        ({"duration": "0.01"}, "duration is not known here"),
        ({"duration": "nan"}, "duration is not known here"),
    ],
)
def test_a_wrong_value_is_refused(server: UploadServer, fields: dict[str, str], word: str) -> None:
    answer = ask(server, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_parameter"
    assert word in answer.json()["error"]["message"]


def test_fields_that_change_nothing_are_taken(server: UploadServer) -> None:
    answer = ask(server, offset_t="0", offset_n="0", duration="0", beam_size="5", diarize="false")
    assert answer.json() == {"text": TEXT}


@pytest.mark.parametrize(("false", "zero"), [("False", "0.00"), ("None", "-0"), ("off", "0e0")])
def test_what_is_off_may_be_written_in_any_way(server: UploadServer, false: str, zero: str) -> None:
    answer = ask(server, diarize=false, translate=false, offset_t=zero, duration=f" {zero} ")
    assert answer.json() == {"text": TEXT}


@pytest.mark.needs_model
def test_the_real_model_hears_every_word(jfk: Path) -> None:
    with serve(
        worker=make_worker(Settings(model="tiny.en")), model="tiny.en", vad="silero"
    ) as server:
        answer = httpx.post(
            f"{server.url}inference", files={"file": jfk.read_bytes()}, timeout=60
        ).json()
    said = (
        "And so my fellow Americans ask not what your country can do for you "
        "ask what you can do for your country"
    )
    assert count_errors(said, answer["text"], "en").errors == 0
