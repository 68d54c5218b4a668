"""Whatever a line or a file holds, reading it gives what it says or one clear error."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import io
import json
import math
import struct
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from bounded import bounded
from encoded_audio import encode, tone, wav_header
from hypothesis import example, given
from hypothesis import strategies as st
from model_files import ct2_model, ggml_model
from numpy.typing import NDArray
from opus_streams import OPUS_RATE, ogg

from sinks._captions.address import parse_address
from sinks._captions.wire import answer
from sources.file import FileSource
from streaming import events as all_events
from streaming.app.server.decoders import make_decoder
from streaming.app.server.refusal import Refusal
from streaming.errors import ConfigurationError, ModelError, SourceError
from streaming.evaluation.event_log import is_log, read_log
from streaming.evaluation.manifest import load_manifest
from streaming.events import Event, SessionStarted, Word, event_from_json, event_to_json
from streaming.models.cache import ModelCache
from streaming.models.ct2_file import Ct2File
from streaming.models.ggml_file import read_header, read_index
from streaming.models.vocabulary_file import read_token_names, token_bytes
from streaming.replacements import Replacements
from streaming.word_files import read_hotwords

TYPES: dict[str, type[Event]] = {
    cls.type: cls
    for cls in vars(all_events).values()
    if inspect.isclass(cls) and issubclass(cls, Event) and cls is not Event
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ROUNDED = st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
DEEP = "[" * 50_000


def json_of(numbers: st.SearchStrategy[Any], texts: st.SearchStrategy[str]) -> Any:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )


SOUND = json_of(ROUNDED, TEXT)
"""What can be written and read back."""
WILD = json_of(st.floats(), st.text(max_size=5))
"""NaN, infinities and halves of characters, too."""


@contextmanager
def memory_within(n_bytes: int) -> Iterator[None]:
    """Fails where so much more was in use at any moment than at the beginning."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


Edits = list[tuple[float, int, bytes]]
edits: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0]) | st.floats(0, 1),
        st.sampled_from([0, 4, 4, 4, 1, 30]) | st.integers(0, 100),
        st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\0\0\0", b"\0\0\0\x7f"])
        | st.binary(max_size=40),
    ),
    max_size=6,
)


def edited(data: bytes, changes: Edits, spread: int) -> bytes:
    """Bytes replaced near the beginning (up to ``spread``) or, the place being 1, cut off."""
    for place, lost, new in changes:
        at = round(place * min(spread, len(data)))
        data = data[:at] + new + data[at + lost :] if place < 1 else data[: len(data) - lost]
    return data


# -- events ---------------------------------------------------------------------------------------


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Anything that a field of this kind can have."""
    inner = get_args(kind)
    if kind in (int, bool):
        return st.integers() if kind is int else st.booleans()
    if kind in (float, str):
        return ROUNDED if kind is float else TEXT
    if get_origin(kind) is Literal:
        return st.sampled_from(inner)
    if get_origin(kind) is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if get_origin(kind) is Mapping:
        return st.dictionaries(TEXT, SOUND, max_size=3)
    if dataclasses.is_dataclass(kind):
        return instances(kind)
    choices = [st.none() if each is type(None) else values(each) for each in inner]
    return st.one_of(choices)


def instances(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    fields = {field.name: values(hints[field.name]) for field in dataclasses.fields(cls)}
    return st.builds(cls, **fields)


@bounded(300)
@given(st.sampled_from(sorted(TYPES)).flatmap(lambda name: instances(TYPES[name])))
def test_every_event_is_read_back_as_it_was_written(event: Event) -> None:
    line = event_to_json(event)
    assert event_from_json(line) == event
    body = json.loads(line)
    assert event_from_json(json.dumps({**body, "newer": {"a": [1]}})) == event


def read_or_refused(line: str) -> None:
    """What can be read can be written again."""
    try:
        event = event_from_json(line)
    except ValueError:
        return
    if event is not None:
        event_to_json(event).encode()


NAMES = sorted({field.name for cls in TYPES.values() for field in dataclasses.fields(cls)})
word_like = st.dictionaries(
    st.sampled_from([field.name for field in dataclasses.fields(Word)]), TEXT | ROUNDED | WILD
)


@bounded(500)
@given(
    st.sampled_from([*sorted(TYPES), "newer"]),
    st.dictionaries(st.sampled_from(NAMES), WILD | st.lists(word_like | WILD, max_size=3)),
)
def test_an_object_is_an_event_or_a_value_error(name: str, body: dict[str, Any]) -> None:
    read_or_refused(json.dumps({**body, "type": name}))


@bounded(300)
@given(st.text() | WILD.map(json.dumps))
@example(DEEP)
@example('{"type": "notice", "seq": ' + DEEP)
@example('{"type": "session_started", "options": {"a": ' + "[" * 900 + "]" * 900 + "}}")
@example('{"type": "notice", "seq": ' + "9" * 5_000 + "}")
@example('{"type": "notice", "clock_s": ' + "9" * 4_000 + "}")
@example('{"type": "final", "words": [{"text": " a", "start_s": 0}]}')
@example('{"type": "final", "words": null}')
def test_any_text_is_an_event_or_a_value_error(line: str) -> None:
    read_or_refused(line)


@bounded(200)
@given(
    st.lists(st.sampled_from(sorted(TYPES)).map(lambda n: TYPES[n]()), max_size=3),
    st.binary(max_size=40) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.booleans(),
)
@example([], DEEP.encode(), True)
def test_a_log_with_anything_behind_it_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, said: list[Event], rest: bytes, ends: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "log.jsonl"
    lines = [event_to_json(event).encode() + b"\n" for event in said]
    path.write_bytes(b"".join(lines) + rest + b"\n" * ends)
    with suppress(ConfigurationError):
        assert read_log(path)[: len(said)] == said
    assert is_log(path) == (bool(said) and isinstance(said[0], SessionStarted))


# -- models ---------------------------------------------------------------------------------------

GGML = ggml_model()
GGML_HEAD = 4 + 4 * 11 + 8 + 4 * 80 * 201 + 60
"""Bytes before the weights, a tensor's head included."""
CT2_ARRAYS: dict[str, NDArray[Any]] = {
    "encoder/a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "encoder/b": np.arange(4, dtype=np.int8),
    "decoder/c": np.ones((), np.float16),
}
CT2 = ct2_model(CT2_ARRAYS)


@bounded(150)
@given(edits, st.sampled_from([48, GGML_HEAD, len(GGML)]))
def test_a_damaged_whisper_cpp_file_is_a_model_error_or_a_whole_index(
    tmp_path_factory: pytest.TempPathFactory, changes: Edits, spread: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "model.bin"
    path.write_bytes(edited(GGML, changes, spread))
    with memory_within(4_000_000):
        with suppress(ModelError):
            read_header(path)
        with suppress(ModelError):
            index = read_index(path)
            assert index.tensors[-1].offset + index.tensors[-1].n_bytes == path.stat().st_size


@bounded(400)
@given(edits, st.integers(1, len(CT2)))
def test_a_damaged_ctranslate2_file_is_a_model_error_or_arrays(
    tmp_path_factory: pytest.TempPathFactory, changes: Edits, cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data = edited(CT2, changes, len(CT2))
    parts = [folder / "part1", folder / "part2"]
    parts[0].write_bytes(data[:cut])
    parts[1].write_bytes(data[cut:])
    with memory_within(4_000_000), suppress(ModelError), Ct2File(parts) as file:
        for name, variable in file.variables.items():
            with suppress(ModelError):
                assert file.array(name).shape == variable.shape


@pytest.mark.parametrize("shape", [(1,) * 255, (0, 2**32 - 1, 2**32 - 1)])
def test_an_array_that_cannot_be_is_a_model_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "model.bin"
    n_bytes = math.prod(shape)
    path.write_bytes(
        struct.pack("<IH", 6, 1)
        + b"\0"
        + struct.pack("<II", 1, 1)
        + struct.pack("<H", 2)
        + b"a\0"
        + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        + struct.pack("<BI", 1, n_bytes)
        + bytes(n_bytes)
        + struct.pack("<I", 0)
    )
    with Ct2File([path]) as file, pytest.raises(ModelError, match="impossible shape for 'a'"):
        file.array("a")


@bounded(200)
@given(
    st.binary(max_size=60) | WILD.map(lambda body: json.dumps(body).encode()),
    st.sampled_from([".txt", ".json"]),
)
@example(DEEP.encode(), ".json")
def test_a_damaged_vocabulary_is_a_model_error_or_names(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = (tmp_path_factory.getbasetemp() / "vocabulary").with_suffix(suffix)
    path.write_bytes(content)
    with suppress(ModelError):
        token_bytes(read_token_names(path))


@bounded(200)
@given(st.binary(max_size=30) | st.lists(WILD, max_size=4).map(lambda b: json.dumps(b).encode()))
@example(b"[1e999, 1, 2]")
@example(DEEP.encode())
def test_a_damaged_stamp_only_has_the_model_checked_again(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "models"
    folder.mkdir(exist_ok=True)
    target = folder / "model.bin"
    target.write_bytes(b"x")
    (folder / ".model.bin.checked").write_bytes(content)
    assert not ModelCache(folder, lock_timeout_s=1.0).is_stamped(target)


# -- files that people write ----------------------------------------------------------------------

entry = st.dictionaries(
    st.sampled_from(["name", "file", "language", "reference"]),
    WILD | st.just("here.wav") | st.just(True) | st.text(),
)


@bounded(300)
@given(WILD | st.fixed_dictionaries({"clips": st.lists(entry | WILD, max_size=3)}))
@example({"clips": [{"name": "\0", "file": "here.wav", "reference": True}]})
@example({"clips": [{"name": "\ud800", "file": "here.wav", "reference": True}]})
@example({"clips": [{"name": "a", "file": "x" * 5_000}]})
@example({"clips": [{"name": "x" * 5_000, "file": "here.wav", "reference": True}]})
@example({"clips": [{"name": "a", "file": "\0"}]})
def test_any_manifest_is_a_set_of_clips_or_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, body: Any
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "here.wav").touch()
    manifest = folder / "clips.json"
    manifest.write_text(json.dumps(body))
    with suppress(ConfigurationError):
        assert all(clip.audio.is_file() for clip in load_manifest(manifest))


def test_a_manifest_nested_too_deeply_is_told(tmp_path: Path) -> None:
    manifest = tmp_path / "clips.json"
    manifest.write_text(DEEP)
    with pytest.raises(ConfigurationError, match="is not JSON"):
        load_manifest(manifest)


@bounded(300)
@given(st.binary(max_size=200) | st.text().map(lambda text: f"a -> {text}\n{text}".encode()))
def test_any_word_file_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "words.txt"
    path.write_bytes(content)
    with suppress(ConfigurationError):
        assert all(read_hotwords(path))
    with suppress(ConfigurationError):
        Replacements.read(path)


@bounded(300)
@given(st.text())
def test_any_text_is_an_address_to_listen_on_or_told(text: str) -> None:
    with suppress(ConfigurationError):
        host, port = parse_address(text)
        assert host
        assert 0 <= port <= 65_535


headers = st.lists(
    st.text(max_size=20) | st.sampled_from(["localhost:1", "[::1]:1", "http://localhost:1"]),
    max_size=2,
)


@bounded(300)
@given(st.sampled_from(["GET", "POST"]) | st.text(), st.text(), headers, headers, st.booleans())
def test_any_request_for_captions_is_answered(
    method: str, target: str, hosts: Sequence[str], origins: Sequence[str], private: bool
) -> None:
    found = answer(method, f"/{target}", hosts, origins, ["localhost"] if private else [])
    if found is not None:
        assert all(value.isprintable() for value in found.headers.values())


# -- audio ----------------------------------------------------------------------------------------


@bounded(200)
@given(
    st.lists(st.binary(max_size=600), max_size=6),
    st.sampled_from(["s16le", "f32le"]),
    st.sampled_from([8_000, 16_000, 44_100, 192_000]),
    st.integers(1, 8),
    st.integers(0, 10_000),
)
def test_any_bytes_are_samples_or_a_refusal(
    frames: list[bytes], encoding: str, rate: int, channels: int, skipped: int
) -> None:
    async def decode() -> None:
        decoder = make_decoder(encoding, rate, channels)
        out = []
        try:
            for data in frames:
                out.append(await decoder.push(data))
                decoder.forget_rest()
            missing = decoder.skip(skipped)
            out.append(await decoder.finish())
        except Refusal:
            return
        samples = np.concatenate(out)
        assert np.isfinite(samples).all()
        assert np.abs(samples).max(initial=0) <= 1.01
        assert len(samples) + missing == round(decoder.position * 16_000 / rate)

    asyncio.run(decode())


@pytest.fixture(scope="module")
def recordings_of_a_tone(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("tones")
    data = (tone(0.5) * 32_767).astype("<i2").tobytes()
    made = [("a.flac", "flac"), ("a.mp3", "mp3"), ("a.m4a", "aac")]
    return [
        wav_header(len(data)) + data,
        ogg(tone(0.5, OPUS_RATE)),
        *(encode(folder / name, codec, tone(0.5)).read_bytes() for name, codec in made),
    ]


@bounded(150)
@given(which=st.integers(0, 4), changes=edits, spread=st.sampled_from([64, 400, 100_000]))
def test_a_damaged_recording_is_audio_or_a_source_error(
    recordings_of_a_tone: list[bytes], which: int, changes: Edits, spread: int
) -> None:
    data = edited(recordings_of_a_tone[which], changes, spread)

    async def listen() -> None:
        source = FileSource(io.BytesIO(data), pace="fast")
        at = 0
        with suppress(SourceError):
            async with source:
                async for chunk in source:
                    assert chunk.start_sample >= at
                    assert np.isfinite(chunk.samples).all()
                    assert np.abs(chunk.samples).max() <= 1.01
                    at = chunk.end_sample
                    if at > 60 * 16_000:  # damage may slow it down
                        break

    asyncio.run(listen())
