from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from audio_files import JFK, read_audio
from av.audio.stream import AudioStream
from encoded_audio import encode, wav_header
from media_server import Handler, MediaServer, content, media_server, radio
from rtsp_server import rtsp_server

from sources.media import MediaSource
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import ConfigurationError, SourceError
from streaming.events import Notice
from streaming.testing import check_source

fast = partial(MediaSource, pace="fast")


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as server:
        yield server


@pytest.fixture(scope="module")
def speech() -> Samples:
    return read_audio(JFK)


class Heard:
    """What a source gave, when, and what ended it."""

    def __init__(self, source: MediaSource, most: int = 1_000_000) -> None:
        self.chunks: list[AudioChunk] = []
        self.arrivals_s: list[float] = []
        self.notices: list[Notice] = []
        self.error = ""
        self.entered_s = 0.0
        asyncio.run(self._listen(source, most))

    async def _listen(self, source: MediaSource, most: int) -> None:
        try:
            async with source:
                self.entered_s = asyncio.get_running_loop().time()
                async for item in source:
                    if isinstance(item, Notice):
                        self.notices.append(item)
                    else:
                        self.chunks.append(item)
                        self.arrivals_s.append(asyncio.get_running_loop().time())
                    if len(self.chunks) == most:
                        break
        except SourceError as error:
            self.error = str(error)
            assert self.error.isprintable()

    @property
    def audio(self) -> Samples:
        return np.concatenate([chunk.samples for chunk in self.chunks])

    @property
    def gaps(self) -> list[tuple[float, str]]:
        """Length in seconds and reason of each."""
        return [
            ((b.start_sample - a.end_sample) / SAMPLE_RATE, b.gap_reason)
            for a, b in pairwise(self.chunks)
            if b.start_sample != a.end_sample
        ]

    @property
    def codes(self) -> list[str]:
        return [notice.code for notice in self.notices]

    def assert_never_ahead(self) -> None:
        """No chunk came before its place on a clock that began when the source was entered."""
        for chunk, arrival_s in zip(self.chunks, self.arrivals_s, strict=True):
            assert arrival_s - self.entered_s > chunk.end_sample / SAMPLE_RATE - 0.005


def find(piece: Samples, whole: Samples) -> tuple[int, float]:
    """Where a piece lies in the whole, and how alike they are there (1 is the same)."""
    size = 1 << (len(piece) + len(whole)).bit_length()
    product = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(piece, size)), size)
    places = len(whole) - len(piece) + 1
    energy = np.cumsum(np.concatenate(([0.0], whole.astype(np.float64) ** 2)))
    there = energy[len(piece) :] - energy[:places]
    alike = product[:places] / np.sqrt(np.maximum(there, 1e-9) * np.dot(piece, piece))
    return int(np.argmax(alike)), float(alike.max())


# Recordings.


def test_a_recording_is_read_like_a_file(server: MediaServer, speech: Samples) -> None:
    server.routes["/a.flac"] = content(JFK.read_bytes())
    source = fast(f"{server.url}/a.flac")
    assert source.length_s is None
    heard = Heard(source)
    np.testing.assert_array_equal(heard.audio, speech)
    assert not heard.notices
    assert not heard.error
    assert not source.live
    assert source.length_s == 11.0


def test_a_redirect_is_followed(server: MediaServer, speech: Samples) -> None:
    server.routes["/a.flac"] = content(JFK.read_bytes())
    server.routes["/old"] = lambda handler: handler.begin(
        302, {"Location": "/a.flac", "Content-Length": "0"}
    )
    np.testing.assert_array_equal(Heard(fast(f"{server.url}/old")).audio, speech)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame")])
def test_a_part_is_the_same_whether_or_not_the_server_can_seek(
    tmp_path: Path, server: MediaServer, speech: Samples, name: str, codec: str, ranges: bool
) -> None:
    body = encode(tmp_path / name, codec, speech, SAMPLE_RATE).read_bytes()
    server.routes["/a"] = content(body, ranges=ranges)
    whole = Heard(fast(f"{server.url}/a")).audio
    source = fast(f"{server.url}/a", start_s=4.25, duration_s=3.0)
    heard = Heard(source)
    assert not heard.error
    np.testing.assert_array_equal(heard.audio, whole[68_000:116_000])
    assert source.length_s == 3.0


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame"), ("a.flac", "flac")]
)
def test_a_download_that_breaks_is_read_on_without_loss(
    tmp_path: Path,
    server: MediaServer,
    speech: Samples,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    codec: str,
    ranges: bool,
) -> None:
    monkeypatch.setattr("sources._reconnect.BACK_OFF_S", 0.05)
    body = encode(tmp_path / name, codec, speech, SAMPLE_RATE).read_bytes()
    server.routes["/whole"] = content(body)
    server.routes["/a"] = content(body, ranges=ranges, breaks=[len(body) // 2] * 2)
    heard = Heard(fast(f"{server.url}/a?token=secret"))
    np.testing.assert_array_equal(heard.audio, Heard(fast(f"{server.url}/whole")).audio)
    assert not heard.error
    assert not heard.gaps
    assert heard.codes == ["reconnecting", "reconnected"]
    assert "127.0.0.1" in heard.notices[0].message
    assert "nothing is missing" in heard.notices[1].message


def test_without_reconnecting_a_break_is_an_error(server: MediaServer) -> None:
    body = JFK.read_bytes()
    server.routes["/a.flac"] = content(body, breaks=[len(body) // 2])
    heard = Heard(fast(f"{server.url}/a.flac", reconnect=False))
    assert "/a.flac breaks off at" in heard.error
    assert not heard.notices


def test_without_reconnecting_a_live_playlist_that_goes_is_an_error(
    server: MediaServer, segments: list[Segment]
) -> None:
    broadcast = Broadcast(server, segments, end=11)
    broadcast.away = (0.3, 60.0)
    heard = Heard(MediaSource(f"{server.url}/live.m3u8", reconnect=False))
    assert "/live.m3u8 breaks off at " in heard.error
    assert "503" in heard.error or "5XX" in heard.error


def test_a_server_that_stays_away_is_given_up(
    server: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources._reconnect.GIVE_UP_S", 0.3)
    monkeypatch.setattr("sources._reconnect.BACK_OFF_S", 0.05)
    body = JFK.read_bytes()
    whole = content(body, breaks=[len(body) // 2])

    def once(handler: Handler) -> None:
        del server.routes["/a.flac"]
        whole(handler)

    server.routes["/a.flac"] = once
    heard = Heard(fast(f"{server.url.replace('//', '//me:pass@')}/a.flac?token=secret"))
    assert "could not be read on within 0.3 s" in heard.error
    assert "404" in heard.error
    assert heard.codes == ["reconnecting"]
    for text in (heard.error, heard.notices[0].message):
        assert not any(secret in text for secret in ("me:", "pass", "token", "secret"))


def test_a_server_that_falls_silent_is_a_break(
    server: MediaServer, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources._open.READ_TIMEOUT_S", 0.3)
    body = wav_header(2 * len(speech), rate=SAMPLE_RATE) + bytes(2 * len(speech))
    server.routes["/a.wav"] = content(body, breaks=[len(body) // 2] * 2, stalls=True)
    heard = Heard(fast(f"{server.url}/a.wav"))
    assert "nothing came for 0.3 s" in heard.notices[0].message
    assert len(heard.audio) == len(speech)


def test_a_film_s_sound_is_read(tmp_path: Path, server: MediaServer, speech: Samples) -> None:
    for name in ("film.mp4", "film.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            assert isinstance(audio, AudioStream)
            for index in range(110):
                image = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
                image.pts = index
                container.mux(video.encode(image))
                piece = speech[index * 1600 : (index + 1) * 1600]
                frame = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = SAMPLE_RATE, index * 1600
                container.mux(audio.encode(frame))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        server.routes[f"/{name}"] = content((tmp_path / name).read_bytes())
        source = fast(f"{server.url}/{name}", start_s=5.0, duration_s=2.0)
        place, alike = find(Heard(source).audio, speech)
        assert place == pytest.approx(5 * SAMPLE_RATE, abs=16)
        assert alike > 0.95
        assert source.length_s == 2.0


# HLS.


Segment = tuple[float, bytes]
"""Length in seconds, content."""


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[Segment]:
    """Speech, about a second each."""
    folder = tmp_path_factory.mktemp("hls")
    options = {"hls_time": "1", "hls_list_size": "0", "hls_segment_filename": f"{folder}/%02d.ts"}
    with av.open(str(folder / "a.m3u8"), "w", format="hls", options=options) as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 128_000
        pcm = read_audio(JFK)
        for start in range(0, len(pcm), 1000):
            frame = av.AudioFrame.from_ndarray(
                pcm[None, start : start + 1000], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    lengths = re.findall(r"#EXTINF:([\d.]+)", (folder / "a.m3u8").read_text())
    contents = [path.read_bytes() for path in sorted(folder.glob("*.ts"))]
    return [(float(s), data) for s, data in zip(lengths, contents, strict=True)]


def playlist(segments: list[Segment], first: int, last: int, *, ended: bool) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    for number in range(first, last):
        lines += [f"#EXTINF:{segments[number][0]},", f"/{number}.ts"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]).encode()


class Broadcast:
    """A live playlist: three segments at first and one more each second."""

    def __init__(self, server: MediaServer, segments: list[Segment], end: int) -> None:
        self.zero_s = time.monotonic()
        self.segments = segments
        self.end = end
        self.away = (0.0, 0.0)
        """When it cannot be had."""
        self.window = 6
        """Segments in it at most."""
        self.skips = 0
        """Segments that come and go while it is away."""
        for number, (_, segment) in enumerate(segments):
            server.routes[f"/{number}.ts"] = content(segment)
        server.routes["/live.m3u8"] = self.answer

    def answer(self, handler: Handler) -> None:
        now_s = time.monotonic() - self.zero_s
        if self.away[0] < now_s < self.away[1]:
            handler.begin(503, {"Content-Length": "0"})
            return
        last = 3 + int(now_s) + (self.skips if now_s > self.away[1] else 0)
        last = min(self.end, last)
        first = max(0, last - self.window)
        content(playlist(self.segments, first, last, ended=last == self.end))(handler)


def test_a_finished_playlist_is_a_recording(
    server: MediaServer, segments: list[Segment], speech: Samples
) -> None:
    for number, (_, segment) in enumerate(segments):
        server.routes[f"/{number}.ts"] = content(segment)
    server.routes["/a.m3u8"] = content(playlist(segments, 0, len(segments), ended=True))
    source = fast(f"{server.url}/a.m3u8")
    heard = Heard(source)
    assert len(heard.audio) == pytest.approx(len(speech), abs=2048)
    place, alike = find(heard.audio[16_000:160_000], speech)
    assert place == pytest.approx(SAMPLE_RATE, abs=2048)
    assert alike > 0.95
    assert not source.live
    assert source.length_s == pytest.approx(11.0, abs=0.1)
    part = Heard(fast(f"{server.url}/a.m3u8", start_s=6.5, duration_s=2.0)).audio
    np.testing.assert_allclose(part, heard.audio[104_000:136_000], atol=0.01)


def test_of_a_playlist_s_variants_one_alone_is_fetched(
    server: MediaServer, segments: list[Segment], speech: Samples
) -> None:
    one = playlist(segments, 0, len(segments), ended=True)
    server.routes["/low.m3u8"] = content(one)
    server.routes["/high.m3u8"] = content(one.replace(b"\n/", b"\n/high/"))
    for number, (_, segment) in enumerate(segments):
        server.routes[f"/{number}.ts"] = server.routes[f"/high/{number}.ts"] = content(segment)
    variants = [f"#EXT-X-STREAM-INF:BANDWIDTH={b}\n/{n}.m3u8" for b, n in ((1, "low"), (9, "high"))]
    server.routes["/a.m3u8"] = content("\n".join(["#EXTM3U", *variants, ""]).encode())
    heard = Heard(fast(f"{server.url}/a.m3u8"))
    assert len(heard.audio) == pytest.approx(len(speech), abs=2048)
    last = f"{len(segments) - 1}.ts"
    assert len([path for path, _ in server.requests if path.endswith(f"/{last}")]) == 1


def test_a_live_playlist_is_handed_out_in_real_time_and_whole(
    server: MediaServer, segments: list[Segment], speech: Samples
) -> None:
    Broadcast(server, segments, end=5)
    source = fast(f"{server.url}/live.m3u8")
    heard = Heard(source)
    assert source.live
    assert source.length_s is None
    assert not heard.error
    assert not heard.notices
    assert not heard.gaps
    heard.assert_never_ahead()
    assert heard.arrivals_s[-1] - heard.arrivals_s[0] > 4.5
    assert len(heard.audio) == pytest.approx(5 * SAMPLE_RATE, abs=3000)
    place, alike = find(heard.audio[16_000:], speech)
    assert place == pytest.approx(SAMPLE_RATE, abs=2048)
    assert alike > 0.95


def test_a_live_playlist_that_was_away_goes_on_where_it_was(
    server: MediaServer, segments: list[Segment], speech: Samples
) -> None:
    broadcast = Broadcast(server, segments, end=11)
    broadcast.away = (0.5, 2.5)
    heard = Heard(MediaSource(f"{server.url}/live.m3u8", duration_s=5.5))
    assert not heard.error
    assert heard.codes == ["reconnecting", "reconnected"]
    assert not heard.gaps  # all of it was still in the playlist
    heard.assert_never_ahead()
    assert len(heard.audio) == 5.5 * SAMPLE_RATE
    assert find(heard.audio[16_000:], speech)[1] > 0.95


def test_a_live_playlist_that_ends_while_it_is_away_has_ended(
    server: MediaServer, segments: list[Segment]
) -> None:
    broadcast = Broadcast(server, segments, end=5)
    broadcast.away = (0.5, 2.5)
    heard = Heard(MediaSource(f"{server.url}/live.m3u8"))
    assert not heard.error
    assert heard.codes == ["reconnecting", "ended"]


def test_what_left_a_live_playlist_meanwhile_is_a_gap(
    server: MediaServer, segments: list[Segment], speech: Samples
) -> None:
    broadcast = Broadcast(server, segments, end=11)
    broadcast.away, broadcast.window, broadcast.skips = (0.5, 1.5), 3, 4
    heard = Heard(MediaSource(f"{server.url}/live.m3u8", duration_s=8.0))
    assert not heard.error
    ((gap_s, reason),) = heard.gaps
    assert reason == "reconnect"
    assert 0.9 < gap_s < 5.1
    assert heard.codes[-1] == "reconnected"
    assert f"{gap_s:.1f} s of audio are missing" in heard.notices[-1].message
    after = [c for c in heard.chunks if c.start_sample >= 6.5 * SAMPLE_RATE]
    place, alike = find(np.concatenate([c.samples for c in after]), speech)
    assert place == pytest.approx(after[0].start_sample, abs=2048)
    assert alike > 0.95
    heard.assert_never_ahead()


# Radio and RTSP.


def test_a_radio_s_break_is_a_gap_of_the_time_that_was_lost(
    tmp_path: Path, server: MediaServer, speech: Samples
) -> None:
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(speech[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    body = (tmp_path / "a.mp3").read_bytes()
    server.routes["/radio"] = radio(body, 8000, off_air=lambda now_s: 2.0 < now_s < 3.0)
    source = MediaSource(f"{server.url}/radio", duration_s=5.0)
    heard = Heard(source)
    assert source.live
    assert not heard.error
    assert heard.codes == ["reconnecting", "reconnected"]
    ((gap_s, reason),) = heard.gaps
    assert reason == "reconnect"
    assert 0.8 < gap_s < 2.2
    heard.assert_never_ahead()
    assert heard.chunks[-1].end_sample == 5 * SAMPLE_RATE
    before = heard.chunks[5:15]
    place, alike = find(np.concatenate([c.samples for c in before]), speech)
    begin = place - before[0].start_sample
    assert alike > 0.9
    after = [c for c in heard.chunks if c.start_sample > 4 * SAMPLE_RATE]
    place, alike = find(np.concatenate([c.samples for c in after]), speech)
    assert alike > 0.9
    assert place - begin == pytest.approx(after[0].start_sample, abs=0.5 * SAMPLE_RATE)


def test_rtsp_is_live_and_its_break_is_a_gap_of_the_time_that_was_lost(speech: Samples) -> None:
    with rtsp_server(speech, breaks_s=[1.8]) as server:
        source = MediaSource(server.url, duration_s=4.0)
        heard = Heard(source)
        assert source.live
        assert not heard.error
        assert heard.codes == ["reconnecting", "reconnected"]
        ((gap_s, reason),) = heard.gaps
    assert reason == "reconnect"
    assert 0.4 < gap_s < 2.0
    heard.assert_never_ahead()
    begin, alike = find(np.concatenate([c.samples for c in heard.chunks[:15]]), speech)
    assert alike > 0.999
    after = heard.chunks[-10:]
    place, alike = find(np.concatenate([c.samples for c in after]), speech)
    assert alike > 0.999
    assert place - begin == pytest.approx(after[0].start_sample, abs=0.2 * SAMPLE_RATE)


def test_a_recording_without_a_length_is_not_played_twice(
    server: MediaServer, speech: Samples
) -> None:
    # As a server of HTTP/1.0 may send it: the end of the connection is the end of the audio.
    body = wav_header(0x7FFF_FFFF, rate=SAMPLE_RATE) + (
        np.round(speech[:32_000] * 32767).astype("<i2").tobytes()
    )
    server.routes["/a.wav"] = content(body, ranges=False, length=False)
    heard = Heard(fast(f"{server.url}/a.wav"))
    assert not heard.error
    assert heard.codes == ["reconnecting", "ended"]
    assert len(heard.audio) == 32_000


def test_a_media_source_keeps_the_contract(server: MediaServer, segments: list[Segment]) -> None:
    server.routes["/a.flac"] = content(JFK.read_bytes())
    asyncio.run(check_source(lambda: fast(f"{server.url}/a.flac")))
    Broadcast(server, segments, end=11)
    asyncio.run(check_source(lambda: MediaSource(f"{server.url}/live.m3u8"), ends=False))


# What cannot be read.


def test_what_is_not_there_is_told_at_once(server: MediaServer) -> None:
    started_s = time.monotonic()
    assert "404" in Heard(fast(f"{server.url}/no.flac")).error
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "refused" in Heard(fast(f"http://127.0.0.1:{port}/a.flac")).error
    assert "Protocol not found" in Heard(fast("gopher2://host/a.wav")).error
    assert time.monotonic() - started_s < 2


def test_errors_name_neither_user_nor_query(server: MediaServer) -> None:
    address = server.url.replace("//", "//me:p%40ss@")
    text = Heard(fast(f"{address}/no.flac?token=secret#x")).error
    assert text.startswith(f"cannot open {server.url}/no.flac: ")


@pytest.mark.parametrize("place", ["file://{path}", "{path}"])
def test_a_playlist_from_the_network_opens_no_files(
    server: MediaServer, segments: list[Segment], tmp_path: Path, place: str
) -> None:
    path = tmp_path / "0.ts"
    path.write_bytes(segments[0][1])
    text = playlist(segments, 0, 1, ended=True).replace(b"/0.ts", place.format(path=path).encode())
    server.routes["/a.m3u8"] = content(text)
    heard = Heard(fast(f"{server.url}/a.m3u8"))
    assert heard.error
    assert not heard.chunks


def test_a_live_stream_has_no_start(server: MediaServer, segments: list[Segment]) -> None:
    Broadcast(server, segments, end=6)
    heard = Heard(MediaSource(f"{server.url}/live.m3u8", start_s=5.0))
    assert heard.error.endswith("/live.m3u8 is live and has no start to choose; leave it out")


def test_a_start_beyond_the_end_is_refused(server: MediaServer) -> None:
    server.routes["/a.flac"] = content(JFK.read_bytes())
    heard = Heard(fast(f"{server.url}/a.flac", start_s=11.0))
    assert "cannot start at 11 s: " in heard.error
    assert "ends at 11.0 s" in heard.error


def test_a_path_is_no_address() -> None:
    with pytest.raises(ConfigurationError, match="a FileSource reads files"):
        MediaSource("talk.mp3")


# Leaving.


def test_leaving_and_cancelling_end_at_once_while_the_network_hangs(
    server: MediaServer,
) -> None:
    body = wav_header(10 * SAMPLE_RATE * 2, rate=SAMPLE_RATE) + bytes(10 * SAMPLE_RATE * 2)

    server.routes["/stalls.wav"] = content(body, breaks=[len(body) // 2] * 2, stalls=True)
    server.routes["/silent.wav"] = Handler.hang

    async def cancel_entering() -> float:
        entering = asyncio.create_task(fast(f"{server.url}/silent.wav").__aenter__())
        await asyncio.sleep(0.2)
        start_s = time.monotonic()
        entering.cancel()
        await asyncio.wait({entering})
        assert entering.cancelled()
        return time.monotonic() - start_s

    async def read_all(source: MediaSource) -> None:
        async with source:
            async for _ in source:
                pass

    async def cancel_reading() -> float:
        reading = asyncio.create_task(read_all(fast(f"{server.url}/stalls.wav")))
        await asyncio.sleep(0.5)
        start_s = time.monotonic()
        reading.cancel()
        await asyncio.wait({reading})
        assert reading.cancelled()
        return time.monotonic() - start_s

    assert asyncio.run(cancel_entering()) < 0.1
    assert asyncio.run(cancel_reading()) < 0.1


def test_leaving_ends_the_wait_for_a_server_that_is_away(
    server: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources._reconnect.BACK_OFF_S", 30.0)
    body = JFK.read_bytes()
    server.routes["/a.flac"] = content(body, breaks=[len(body) // 2])

    async def scenario() -> None:
        async with fast(f"{server.url}/a.flac") as source:
            async for item in source:
                if isinstance(item, Notice):
                    return

    asyncio.run(scenario())
    deadline_s = time.monotonic() + 1.0
    while any(thread.name == "media source" for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
