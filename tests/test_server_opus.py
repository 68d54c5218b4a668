from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from audio_files import cuts, read_audio
from captions_browser import browser, eventually
from encoded_audio import encode, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from opus_streams import (
    OPUS_RATE,
    PRE_SKIP,
    cluster,
    element,
    ogg,
    ogg_page,
    opus_packets,
    simple_block,
    webm,
    webm_head,
)
from system_parts import needs

from sources._resample import Resampler, mix_down
from streaming.app.server.opus import OpusDecoder
from streaming.app.server.refusal import INVALID, UNSUPPORTED, Refusal
from streaming.audio import SAMPLE_RATE, Samples

SWEEP = np.sin(np.cumsum(np.linspace(0.01, 0.2, 2 * OPUS_RATE))).astype(np.float32) * 0.5
"""2 s, from 76 Hz to 1.5 kHz: every place in it sounds different."""
PACKETS = opus_packets(SWEEP)
STREAMS = {"ogg": ogg(SWEEP), "webm": webm(PACKETS)}
HELD = 640
"""Samples that the resampler holds back at most, 0.04 s."""
MB = 1 << 20


async def decode(pieces: Iterable[bytes]) -> Samples:
    """Push them all; every decoder is closed."""
    async with aclosing(OpusDecoder()) as decoder:
        decoded = [await decoder.push(piece) for piece in pieces]
        return np.concatenate([*decoded, await decoder.finish()])


def decoded(data: bytes, size: int = 4_000) -> Samples:
    return asyncio.run(decode(data[i : i + size] for i in range(0, len(data), size)))


def refused(data: bytes, size: int = 4_000) -> str:
    with pytest.raises(Refusal) as caught:
        decoded(data, size)
    assert is_bad_audio(caught.value)
    return caught.value.message


def is_bad_audio(refusal: Refusal) -> bool:
    return (refusal.code, refusal.close_code) == ("bad_audio", UNSUPPORTED)


def by_ffmpeg(data: bytes) -> Samples:
    """All at once, from a file that can be sought in."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = [mix_down(frame.to_ndarray().T) for frame in container.decode(audio=0)]
    resampler = Resampler(OPUS_RATE)
    return np.concatenate([resampler.push(np.concatenate(frames)), resampler.flush()])


def likeness(first: Samples, second: Samples) -> float:
    """Correlation, 1 for the same up to a shift."""
    spectra = [np.fft.rfft(samples, 1 << 18) for samples in (first, second)]
    correlation = np.fft.irfft(spectra[0] * spectra[1].conj())
    return float(correlation.max() / np.linalg.norm(first) / np.linalg.norm(second))


def threads() -> int:
    return sum(thread.name == "opus decoder" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    eventually(threads, 0, within_s=3)


@pytest.mark.parametrize("container", STREAMS)
def test_the_samples_are_those_that_ffmpeg_makes_of_the_file(container: str) -> None:
    samples = decoded(STREAMS[container])
    assert np.array_equal(samples, by_ffmpeg(STREAMS[container]))
    assert abs(len(samples) - 2 * SAMPLE_RATE) <= 320  # Ogg tells the very end
    assert np.corrcoef(samples[: 2 * 15_000], SWEEP[::3][: 2 * 15_000])[0, 1] > 0.99


@pytest.mark.parametrize("container", STREAMS)
@settings(max_examples=25, deadline=None)
@given(places=cuts(20_000))
def test_any_cut_of_the_same_bytes_gives_the_same_samples(
    container: str, places: list[int]
) -> None:
    data = STREAMS[container]
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    samples = asyncio.run(decode(data[start:end] for start, end in pairwise(edges)))
    assert np.array_equal(samples, by_ffmpeg(data))


def pages(data: bytes) -> list[bytes]:
    places = [i for i in range(len(data)) if data.startswith(b"OggS\0", i)]
    return [data[start:end] for start, end in pairwise([*places, len(data)])]


@pytest.mark.parametrize("container", STREAMS)
def test_what_is_complete_comes_out_at_once(container: str) -> None:
    if container == "ogg":
        found = pages(STREAMS["ogg"])
        head, units = b"".join(found[:2]), found[2:]
    else:
        head = webm_head() + cluster(0)
        units = [simple_block(packet, 20 * i) for i, packet in enumerate(PACKETS)]

    async def check() -> None:
        had = 0
        async with aclosing(OpusDecoder()) as decoder:
            assert len(await decoder.push(head)) == 0
            for count, unit in enumerate(units[:90], 1):
                had += len(await decoder.push(unit))
                complete = (count * 960 - PRE_SKIP) / 3
                assert complete - HELD <= had <= complete

    asyncio.run(check())


def test_the_position_counts_bytes() -> None:
    async def check() -> None:
        async with aclosing(OpusDecoder()) as decoder:
            for end in (3, 50, 51, 4_000):
                await decoder.push(STREAMS["ogg"][decoder.position : end])
                decoder.forget_rest()
                assert decoder.position == end

    asyncio.run(check())


def test_lost_bytes_cannot_be_skipped() -> None:
    decoder = OpusDecoder()
    with pytest.raises(Refusal, match="skip is for raw samples") as caught:
        decoder.skip(1)
    assert (caught.value.code, caught.value.close_code) == ("bad_message", INVALID)


def test_stereo_is_averaged() -> None:
    samples = decoded(
        webm_head(channels=2) + cluster(0, *map(simple_block, opus_packets(SWEEP, 2)))
    )
    mono = by_ffmpeg(STREAMS["webm"])
    assert len(samples) == len(mono)
    assert np.corrcoef(samples, mono)[0, 1] > 0.99


def test_a_second_container_after_the_first_goes_on() -> None:
    for data in STREAMS.values():
        assert abs(len(decoded(data + data)) - 2 * len(decoded(data))) <= PRE_SKIP / 3 + 1


def test_a_gap_in_the_timestamps_is_silence_of_its_length() -> None:
    first, second = PACKETS[:50], PACKETS[50:]
    whole = len(decoded(webm(first) + cluster(1_000, *map(simple_block, second))))
    for gap_ms, silence_ms in ((50, 0), (3_000, 3_000), (60_500, 0), (-900, 0)):
        blocks = [simple_block(packet, 20 * i) for i, packet in enumerate(second)]
        samples = decoded(webm(first) + cluster(1_000 + gap_ms, *blocks))
        assert abs(len(samples) - whole - silence_ms * 16) <= 32
        if silence_ms:
            assert not samples[SAMPLE_RATE + 800 : SAMPLE_RATE + silence_ms * 16 - 800].any()


@pytest.mark.parametrize(
    ("container", "kind"), [("ogg", "lost"), ("ogg", "random"), ("ogg", "zero"), ("webm", "zero")]
)
def test_damage_costs_what_is_damaged(container: str, kind: str) -> None:
    sound = np.tile(SWEEP, 3)
    data = ogg(sound) if container == "ogg" else webm(opus_packets(sound))
    whole = decoded(data)
    start, end = len(data) // 5, len(data) // 4
    middle = {
        "lost": b"",
        "zero": bytes(end - start),
        "random": np.random.default_rng(7).bytes(end - start),
    }[kind]
    samples = decoded(data[:start] + middle + data[end:])
    assert abs(len(samples) - len(whole)) <= 0.1 * SAMPLE_RATE + 32
    early = slice(0, int(0.15 * len(whole)))
    assert np.array_equal(samples[early], whole[early])
    late = int(0.4 * len(whole))
    assert likeness(samples[-late:], whole[-late:]) > 0.9


@settings(max_examples=60, deadline=None)
@given(
    container=st.sampled_from(sorted(STREAMS)),
    edits=st.lists(
        st.tuples(st.integers(0, 6_000), st.integers(0, 40), st.binary(max_size=40)), max_size=12
    ),
    size=st.integers(50, 10_000),
)
def test_damage_of_any_kind_gives_audio_or_a_refusal(
    container: str, edits: list[tuple[int, int, bytes]], size: int
) -> None:
    data = STREAMS[container]
    for place, lost, new in edits:
        data = data[:place] + new + data[place + lost :]
    try:
        samples = decoded(data, size)
    except Refusal as refusal:
        if not is_bad_audio(refusal):
            raise
        return
    assert np.isfinite(samples).all()
    assert np.abs(samples).max(initial=0) <= 1


@settings(deadline=None)
@given(
    data=st.binary(min_size=1, max_size=2_000),
    magic=st.sampled_from([b"", b"OggS\0", b"\x1aE\xdf\xa3"]),
)
def test_garbage_is_refused(data: bytes, magic: bytes) -> None:
    assert refused(magic + data)


def test_what_is_no_opus_is_refused(tmp_path: Path, jfk: Path) -> None:
    names = "send what MediaRecorder or ffmpeg write"
    assert names in refused(b"RIFF" + bytes(100))
    assert names in refused(jfk.read_bytes())
    aac = encode(tmp_path / "sound.mkv", "aac", tone(1.0, 48_000), 48_000)
    assert refused(aac.read_bytes()) == "the audio is aac, not Opus"
    assert "no Opus" in refused(ogg(SWEEP, "flac"))
    assert refused(webm_head(b"A_PCM/INT/LIT") + cluster(0, *map(simple_block, PACKETS)))


def test_nothing_at_all_is_no_audio() -> None:
    assert len(decoded(b"")) == 0
    assert refused(b"Ogg")
    assert refused(webm_head())


def test_a_packet_that_is_none_costs_itself() -> None:
    blocks = [simple_block(packet, 20 * i) for i, packet in enumerate(PACKETS)]
    blocks[40] = simple_block(b"\xff\0", 800)  # no frames in it
    samples = decoded(webm_head() + cluster(0, *blocks))
    whole = decoded(webm_head() + cluster(0, *(blocks[:40] + blocks[41:])))
    assert np.array_equal(samples, whole)


def test_a_container_of_known_size_may_be_followed_by_another(tmp_path: Path) -> None:
    path = encode(tmp_path / "sound.webm", "libopus", tone(1.0, 48_000), 48_000)
    samples = decoded(path.read_bytes() * 2)
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=PRE_SKIP / 3 + 1)


def rep(part: bytes) -> bytes:
    return part * (4 * MB // len(part))


BOMBS = {
    "a block that claims 255 MB": webm_head()
    + cluster(0)
    + element("a3", b"\x81\0\0\x80" + bytes(4 * MB), size=255 * MB),
    "a codec header that claims 255 MB": element("1a45dfa3", b"")
    + element("18538067", b"", 512 * MB)
    + element("1654ae6b", b"", 511 * MB)
    + element("ae", b"", 510 * MB)
    + element("63a2", bytes(4 * MB), 255 * MB),
    "tags": webm_head(extra=element("1254c367", rep(b"\x73\x73\x80"))),
    "cues": webm_head(extra=element("1c53bb6b", rep(b"\xbb\x80"))),
    "seek heads": webm_head(extra=element("114d9b74", rep(b"\x4d\xbb\x80"))),
    "a void": webm_head(extra=element("ec", bytes(4 * MB))),
    "empty clusters": webm_head() + rep(cluster(0)),
    "pages without a packet's end": b"".join(pages(STREAMS["ogg"])[:2])
    + rep(pages(STREAMS["ogg"])[5][:26] + b"\xff" * 256 + bytes(65_025)),
    "pages of many streams": b"".join(ogg_page(number) for number in range(400)) + bytes(4 * MB),
    "zeros": STREAMS["webm"] + bytes(4 * MB),
    "noise": STREAMS["ogg"] + np.random.default_rng(3).bytes(4 * MB),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bytes_without_audio_are_refused_before_they_cost_memory(bomb: str) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    most = 0

    async def check() -> int:
        nonlocal most
        data = BOMBS[bomb]
        async with aclosing(OpusDecoder()) as decoder:
            try:
                while decoder.position < len(data):
                    await decoder.push(data[decoder.position : decoder.position + 65_536])
                    most = max(most, process.memory_info().rss - before)
            except Refusal as refusal:
                if not is_bad_audio(refusal):
                    raise
        return decoder.position

    taken = asyncio.run(check())
    assert taken < 1.3 * MB
    assert most < 48 * MB


def test_more_audio_than_fits_one_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.app.server.opus.MAX_PUSH_S", 20)
    # Two bytes: six packets of 20 ms without a byte, silence by concealment.
    blocks = [simple_block(b"\xfb\x06", 120 * i) for i in range(250)]
    bomb = webm_head() + cluster(0, *blocks)
    assert "more than 20 s of audio in one frame" in refused(bomb, size=len(bomb))
    assert len(decoded(bomb, size=400)) == pytest.approx(30 * SAMPLE_RATE, abs=400)


def test_cancelling_a_push_loses_nothing() -> None:
    data = STREAMS["ogg"]

    async def check() -> Samples:
        found, cancelled, tried = [], 0, 0
        async with aclosing(OpusDecoder()) as decoder:
            while decoder.position < len(data):
                before = decoder.position
                piece = data[before : before + 300]
                pushing = asyncio.create_task(decoder.push(piece))
                tried += 1
                for _ in range(tried % 4):
                    await asyncio.sleep(0)
                pushing.cancel()
                try:
                    found.append(await pushing)
                except asyncio.CancelledError:
                    cancelled += 1
                    await asyncio.sleep(0)
                    assert decoder.position in (before, before + len(piece))
            found.append(await decoder.finish())
        assert cancelled > 5
        return np.concatenate(found)

    assert np.array_equal(asyncio.run(check()), by_ffmpeg(data))


def test_the_loop_runs_on_while_a_long_frame_is_decoded() -> None:
    data = webm(PACKETS * 14)

    async def check() -> None:
        turns = 0
        async with aclosing(OpusDecoder()) as decoder:
            pushing = asyncio.create_task(decoder.push(data))
            while not pushing.done():
                await asyncio.sleep(0.001)
                turns += 1
        assert len(pushing.result()) == pytest.approx(len(PACKETS) * 14 * 320, abs=HELD)
        assert turns > 10

    asyncio.run(check())


def test_closing_ends_the_thread_wherever_it_is() -> None:
    async def check() -> None:
        await OpusDecoder().aclose()
        for size in (0, 3, 60, 5_000):  # before the header, in it, in the midst of audio
            decoder = OpusDecoder()
            await decoder.push(STREAMS["webm"][:size])
            assert threads() == 1
            await decoder.aclose()
            await decoder.aclose()
        busy = OpusDecoder()
        pushing = asyncio.create_task(busy.push(webm(PACKETS * 250)))
        await asyncio.sleep(0.05)
        started_s = time.monotonic()
        await busy.aclose()
        assert time.monotonic() - started_s < 0.5
        await pushing
        assert busy._done

    asyncio.run(check())


def test_a_decoder_whose_loop_is_gone_does_not_complain() -> None:
    decoder = OpusDecoder()

    async def begin() -> None:
        await decoder.push(STREAMS["webm"][:5_000])

    asyncio.run(begin())
    decoder._inlet.end(at_once=True)


RECORD = """
<button>record</button><script>
document.querySelector("button").onclick = async () => {
  const context = new AudioContext({sampleRate: 48000});
  const file = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));
  const buffer = await context.decodeAudioData(file.buffer);
  const source = new AudioBufferSourceNode(context, {buffer});
  const out = new MediaStreamAudioDestinationNode(context, {channelCount: 1});
  source.connect(out);
  const recorder = new MediaRecorder(out.stream, {mimeType: "audio/webm;codecs=opus"});
  const pieces = [];
  recorder.ondataavailable = event => pieces.push(event.data);
  recorder.onstop = async () => {
    const arrays = await Promise.all(pieces.map(piece => piece.arrayBuffer()));
    window.recorded = arrays.map(a => btoa(String.fromCharCode(...new Uint8Array(a))));
  };
  source.onended = () => recorder.stop();
  recorder.start(100);
  source.start(0, 0, 4);
};
</script>
"""


@needs("chromium", package="chromium")
@needs("chromedriver", package="chromium-driver")
def test_what_chromium_records_is_decoded_as_it_comes(tmp_path: Path, jfk: Path) -> None:
    page = tmp_path / "record.html"
    page.write_text(RECORD % base64.b64encode(jfk.read_bytes()).decode())
    with browser(tmp_path / "profile") as driver:
        driver.get(page.as_uri())
        driver.find_element("tag name", "button").click()
        done = "return window.recorded !== undefined"
        eventually(lambda: driver.execute_script(done), True, within_s=30)
        recorded = driver.execute_script("return window.recorded")
    pieces = [base64.b64decode(piece) for piece in recorded]
    assert len(pieces) > 10

    async def check() -> Samples:
        found: list[Samples] = []
        async with aclosing(OpusDecoder()) as decoder:
            for count, piece in enumerate(pieces, 1):
                found.append(await decoder.push(piece))
                complete = len(by_ffmpeg(b"".join(pieces[:count])))
                assert sum(map(len, found)) >= complete - HELD
            found.append(await decoder.finish())
        return np.concatenate(found)

    samples, whole = asyncio.run(check()), by_ffmpeg(b"".join(pieces))
    assert likeness(whole, read_audio(jfk)[: 4 * SAMPLE_RATE]) > 0.8
    # On a busy machine the browser leaves gaps, and tells them by its timestamps.
    assert len(samples) >= len(whole)
    assert np.linalg.norm(samples) == pytest.approx(np.linalg.norm(whole), rel=0.02)
