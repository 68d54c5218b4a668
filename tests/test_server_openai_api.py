from __future__ import annotations

import json
import math
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cli_plugin
import httpx
import openai
import pytest
from fakes import HangingBackend, Script, ScriptedBackend
from openai import OpenAI
from server_process import serving
from upload_server import TALK, UploadServer, serve, wav

from streaming.app.compose import make_worker
from streaming.app.server import openai_api
from streaming.app.settings import Settings
from streaming.evaluation.text import count_errors
from streaming.events import text_of
from streaming.protocols import Hypothesis, Window

SAID = text_of(TALK.words).strip()
JFK = (
    "And so my fellow Americans ask not what your country can do for you "
    "ask what you can do for your country"
)


class HangsLater(ScriptedBackend):
    """Hangs in every pass but the first until it is released."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.release = threading.Event()

    def decode(self, window: Window) -> Hypothesis:
        if self.passes:
            self.release.wait(20)
        return super().decode(window)


def client_of(server: UploadServer) -> OpenAI:
    """OpenAI's own client; only the address and a key that nobody asks for differ."""
    return OpenAI(base_url=f"{server.url}v1", api_key="-", max_retries=0)


def translated(server: UploadServer, **fields: str) -> dict[str, Any]:
    """Without OpenAI's client, which calls this deprecated."""
    address = f"{server.url}v1/audio/translations"
    body: dict[str, Any] = httpx.post(address, files={"file": wav()}, data=fields).json()
    return body


@pytest.fixture
def server() -> Iterator[UploadServer]:
    with serve() as server:
        yield server


@pytest.fixture
def client(server: UploadServer) -> Iterator[OpenAI]:
    with client_of(server) as client:
        yield client


def test_the_client_gets_the_text(client: OpenAI, server: UploadServer) -> None:
    heard = client.audio.transcriptions.create(file=("talk.wav", wav()), model="whisper-1")
    assert heard.text == SAID
    [(audio_s, compute_s)] = server.metrics.uploads
    assert audio_s == pytest.approx(TALK.duration_s)
    assert compute_s > 0


def test_each_utterance_is_heard_once() -> None:
    backend = ScriptedBackend(TALK)
    with serve(backend) as server, client_of(server) as client:
        client.audio.transcriptions.create(file=wav(), model="whisper-1")
    assert len(backend.windows) == 3


def test_a_stream_brings_the_text_in_utterances(client: OpenAI) -> None:
    events = list(client.audio.transcriptions.create(file=wav(), model="whisper-1", stream=True))
    *deltas, done = events
    assert done.type == "transcript.text.done"
    assert done.text == SAID
    texts = [event.delta for event in deltas if event.type == "transcript.text.delta"]
    assert len(texts) == len(deltas) == 3
    assert "".join(texts) == SAID


def test_a_delta_is_there_before_the_end() -> None:
    backend = HangsLater(TALK)
    with serve(backend) as server, client_of(server) as client:
        stream = client.audio.transcriptions.create(file=wav(), model="any", stream=True)
        assert next(stream).type == "transcript.text.delta"
        assert not server.metrics.uploads  # which are counted at the end
        backend.release.set()
        assert list(stream)[-1].type == "transcript.text.done"


def test_a_stream_that_waits_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_api, "SIGN_EVERY_S", 0.02)
    backend = HangingBackend(TALK)
    with serve(backend) as server:
        address = f"{server.url}v1/audio/transcriptions"
        fields = {"stream": "true"}
        with httpx.stream("POST", address, files={"file": wav()}, data=fields) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert [next(lines) for _ in range(4)] == [": waiting", "", ": waiting", ""]
            with client_of(server) as client:
                stream = client.audio.transcriptions.create(file=wav(), model="any", stream=True)
                backend.release.set()
                assert [event.type for event in stream][-1] == "transcript.text.done"
            told = [line for line in lines if line.startswith("data: ")]
        assert len(told) == 4
        assert json.loads(told[-1].removeprefix("data: "))["text"] == SAID


def test_text_is_plain(client: OpenAI) -> None:
    text = client.audio.transcriptions.create(file=wav(), model="any", response_format="text")
    assert text == SAID + "\n"


def test_subtitles_have_a_cue_for_each_utterance(client: OpenAI) -> None:
    srt = client.audio.transcriptions.create(file=wav(), model="any", response_format="srt")
    assert srt.startswith("1\n00:00:00,500 --> ")
    assert srt.count(" --> ") == 3
    vtt = client.audio.transcriptions.create(file=wav(), model="any", response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.500 --> ")
    assert vtt.count(" --> ") == 3


def test_verbose_has_segments_and_words_if_asked_for(client: OpenAI) -> None:
    def ask(**more: list[str]) -> openai.types.audio.TranscriptionVerbose:
        return client.audio.transcriptions.create(  # type: ignore[call-overload,no-any-return]
            file=wav(), model="any", response_format="verbose_json", **more
        )

    heard = ask()
    assert (heard.language, heard.text) == ("english", SAID)
    assert heard.duration == pytest.approx(TALK.duration_s)
    assert heard.usage is not None
    assert heard.usage.seconds == 9
    assert heard.words is None
    assert heard.segments is not None
    assert [segment.id for segment in heard.segments] == [0, 1, 2]
    assert "".join(segment.text for segment in heard.segments).strip() == SAID
    ends = [(TALK.words[first], TALK.words[last]) for first, last in ((0, 3), (4, 6), (7, 11))]
    for segment, (first, last) in zip(heard.segments, ends, strict=True):
        assert segment.start == pytest.approx(first.start_s)
        assert segment.end == pytest.approx(last.end_s)
        assert segment.avg_logprob < 0
        assert segment.compression_ratio > 0
        assert (segment.temperature, segment.no_speech_prob) == (0, 0)

    heard = ask(timestamp_granularities=["word"])
    assert heard.segments is None
    assert heard.words is not None
    assert [word.word for word in heard.words] == SAID.split()
    assert [word.start for word in heard.words] == pytest.approx([w.start_s for w in TALK.words])
    assert [word.end for word in heard.words] == pytest.approx([w.end_s for w in TALK.words])
    heard = ask(timestamp_granularities=["word", "segment"])
    assert heard.segments
    assert heard.words


def test_what_is_asked_for_reaches_the_model() -> None:
    backend = ScriptedBackend(TALK)
    with serve(backend) as server, client_of(server) as client:
        client.audio.transcriptions.create(
            file=wav(),
            model="any",
            language="German",
            prompt="Guten Tag.",
            temperature=0.4,
            keywords=["Quux"],
            extra_body={"hotwords": "Foo, Bar"},
        )
        window = backend.windows[-1]
        assert window.language == "de"
        assert window.prompt == "Foo, Bar, Quux, Guten Tag."
        assert window.task == "transcribe"
        heard = translated(server, response_format="verbose_json")
        window = backend.windows[-1]
        assert (window.language, window.prompt, window.task) == (None, "", "translate")
        assert (heard["language"], heard["text"]) == ("english", SAID)
        client.audio.transcriptions.create(file=wav(), model="any", languages=["ja", "en"])
        assert backend.windows[-1].candidates == ("ja", "en")


def test_a_form_without_a_model_is_answered(server: UploadServer) -> None:
    answer = httpx.post(f"{server.url}v1/audio/transcriptions", files={"file": wav()})
    assert answer.json() == {"text": SAID, "usage": {"type": "duration", "seconds": 9}}


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"language": "klingon"}, "unknown language 'klingon'"),
        ({"response_format": "docx"}, "json, text, srt, vtt, verbose_json"),
        ({"timestamp_granularities": ["word"]}, "need response_format verbose_json"),
        (
            {"timestamp_granularities": ["letter"], "response_format": "verbose_json"},
            "is one of segment, word",
        ),
        ({"stream": True, "response_format": "srt"}, "leave out one of the two"),
        ({"extra_body": {"stream": "perhaps"}}, "stream is true or false"),
        ({"extra_body": {"prompt": ["a", "b"]}}, "prompt is given 2 times"),
        ({"prompt": "x" * 5000}, "prompt has at most 4000 characters"),
    ],
)
def test_a_wrong_value_is_refused_with_the_way_out(
    client: OpenAI, more: dict[str, object], word: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=word) as refused:
        client.audio.transcriptions.create(  # type: ignore[call-overload]
            file=wav(), model="any", **more
        )
    assert refused.value.code == "bad_parameter"


def test_an_english_model_refuses_other_languages_and_says_what_to_do() -> None:
    with serve(model="tiny.en") as server, client_of(server) as client:
        for language in ("en", "english"):
            assert (
                client.audio.transcriptions.create(file=wav(), model="any", language=language).text
                == SAID
            )
        with pytest.raises(openai.BadRequestError, match="multilingual one: --model base"):
            client.audio.transcriptions.create(file=wav(), model="any", language="fr")
        assert "multilingual one: --model base" in translated(server)["error"]["message"]
        [model] = client.models.list()
        assert model.to_dict()["languages"] == ["en"]
        assert model.to_dict()["tasks"] == ["transcribe"]


def test_the_models_are_listed(client: OpenAI) -> None:
    [model] = client.models.list()
    assert (model.id, model.object) == ("base", "model")
    more = model.to_dict()
    assert {"en", "de", "ja"} <= set(more["languages"])  # type: ignore[call-overload]
    assert more["tasks"] == ["transcribe", "translate"]
    assert client.models.retrieve("base") == model
    with pytest.raises(openai.NotFoundError, match="the model base alone"):
        client.models.retrieve("gpt-4o-transcribe")


def test_the_folder_of_a_model_is_not_told(tmp_path: Path) -> None:
    model = tmp_path / "mine.bin"
    model.touch()
    with serve(model=str(model)) as server, client_of(server) as client:
        assert [each.id for each in client.models.list()] == ["mine.bin"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_any_text_has_its_status(stream: bool) -> None:
    backend = ScriptedBackend(TALK, fails_from=0)
    with serve(backend) as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError, match="this pass fails") as refused:
            client.audio.transcriptions.create(file=wav(), model="any", stream=stream)
        assert refused.value.code == "internal"
        backend.fails_from = math.inf
        assert client.audio.transcriptions.create(file=wav(), model="any").text == SAID


def test_a_failure_in_the_middle_of_a_stream_reaches_the_client() -> None:
    with serve(ScriptedBackend(TALK, fails_from=1)) as server, client_of(server) as client:
        stream = client.audio.transcriptions.create(file=wav(), model="any", stream=True)
        assert next(stream).type == "transcript.text.delta"
        with pytest.raises(openai.APIError, match="this pass fails"):
            list(stream)
        [(audio_s, compute_s)] = server.metrics.uploads
        assert 0 < audio_s <= TALK.duration_s
        assert compute_s > 0


def test_events_are_lines_that_any_reader_of_them_reads(server: UploadServer) -> None:
    answer = httpx.post(
        f"{server.url}v1/audio/transcriptions", files={"file": wav()}, data={"stream": "true"}
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, rest = answer.text.split("\n\n")
    assert rest == ""
    bodies = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [body["type"].rpartition(".")[2] for body in bodies] == ["delta"] * 3 + ["done"]


@pytest.mark.needs_model
@pytest.mark.parametrize("backend", ["ctranslate2", "whisper.cpp"])
def test_the_real_model_hears_every_word(jfk: Path, backend: str) -> None:
    worker = make_worker(Settings(model="tiny.en", backend=backend))
    with (
        serve(worker=worker, model="tiny.en", vad="silero") as server,
        client_of(server) as client,
    ):
        text = client.audio.transcriptions.create(file=jfk, model="whisper-1").text
        assert count_errors(JFK, text, "en").errors == 0
        *deltas, done = client.audio.transcriptions.create(file=jfk, model="whisper-1", stream=True)
        assert done.type == "transcript.text.done"
        assert done.text == text
        assert len(deltas) > 1


def test_the_readme_s_program_prints_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).resolve().parents[1]
    readme = (root / "README.md").read_text("utf-8")
    (program,) = re.findall(r"^```python\n(from openai .*?)^```$", readme, re.M | re.S)
    monkeypatch.chdir(root)
    with serving(tmp_path) as served:
        served.until_ready()
        exec(program.replace(":8766/", f":{served.port}/"), {})
    said = capsys.readouterr().out.split()
    assert len(said) > 10
    assert set(said) <= {word.text.strip() for word in cli_plugin.SAID.words}


def test_the_command_serves_files(tmp_path: Path) -> None:
    with serving(tmp_path, "--vad", "loud", "--model", "base") as served:
        served.until_ready()
        with OpenAI(base_url=f"{served.url}v1", api_key="-", max_retries=0) as client:
            text = client.audio.transcriptions.create(file=wav(cli_plugin.SAID), model="any").text
            assert text == text_of(cli_plugin.SAID.words).strip()
            assert [model.id for model in client.models.list()] == ["base"]
        assert served.stop() == 128 + signal.SIGTERM


@pytest.mark.needs_model
def test_the_command_hears_every_word_with_the_real_model(tmp_path: Path, jfk: Path) -> None:
    with (
        serving(tmp_path, backend="auto") as served,
        OpenAI(base_url=f"{served.url}v1", api_key="-", max_retries=0) as client,
    ):
        served.until_ready()
        *deltas, done = client.audio.transcriptions.create(file=jfk, model="any", stream=True)
        assert done.type == "transcript.text.done"
        assert count_errors(JFK, done.text, "en").errors == 0
        assert len(deltas) > 1
