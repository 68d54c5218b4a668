"""Microphone and loopback on a real sound server, in real time, both at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, read_audio
from live_recorder import LiveRecorder, Recording
from pulse import NEEDS_PULSE, PulseServer
from sounds import place_of, write_wav

from streaming.audio import SAMPLE_RATE, Samples, seconds

pytestmark = [pytest.mark.realtime, *NEEDS_PULSE]

PLAYED_LATE_S = 0.6
"""Most that lies between starting ``paplay`` and hearing it, on a busy machine."""


@contextmanager
def both(server: PulseServer, folder: Path) -> Iterator[tuple[LiveRecorder, LiveRecorder]]:
    """Recorders of the microphone and of what is played, which hear the same."""
    with (
        LiveRecorder("microphone", folder, server.environment) as microphone,
        LiveRecorder("loopback", folder, server.environment) as loopback,
    ):
        microphone.wait_for("audio")
        loopback.wait_for("audio")
        yield microphone, loopback


def heard_at(sound: Samples, recording: Recording, near: int | None = None) -> int:
    """Sample at which a second of sound was heard, anywhere or close to a place."""
    start, end = (0, None) if near is None else (near - SAMPLE_RATE // 2, near + 2 * SAMPLE_RATE)
    at, fit = place_of(sound[:SAMPLE_RATE], recording.audio[start:end])
    assert fit > 0.9
    return start + at


def test_speech_arrives_complete_and_in_time(tmp_path: Path) -> None:
    speech = read_audio(JFK)
    wav = write_wav(tmp_path / "speech.wav", speech)
    with PulseServer(tmp_path) as server:
        with both(server, tmp_path) as recorders:
            played_s = time.monotonic()
            server.play(wav)
        late: list[list[int]] = []
        for recording in (recorder.recording for recorder in recorders):
            assert not recording.error
            assert not recording.gaps
            at = heard_at(speech, recording)
            assert 0 <= recording.zero_s + seconds(at) - played_s < PLAYED_LATE_S
            late.append([0])
            for start in range(SAMPLE_RATE, len(speech) - SAMPLE_RATE, SAMPLE_RATE):
                where = heard_at(speech[start:], recording, near=at + start)
                late[-1].append(where - at - start)
            assert np.median(recording.delays_s) < 0.2
        # Nothing is missing. A busy machine stutters in playing, which both then hear.
        assert np.diff(late).min() >= -16
        np.testing.assert_allclose(late[0], late[1], atol=16)


def test_a_server_that_crashes_leaves_a_gap_of_the_right_length(tmp_path: Path) -> None:
    speech = read_audio(JFK)
    before, after = speech[: 2 * SAMPLE_RATE], speech[8 * SAMPLE_RATE : 10 * SAMPLE_RATE]
    wavs = [write_wav(tmp_path / f"{n}.wav", x) for n, x in enumerate((before, after))]
    with PulseServer(tmp_path) as server:
        with both(server, tmp_path) as recorders:
            server.play(wavs[0])
            server.kill()
            for recorder in recorders:
                recorder.wait_for("reconnecting")
            server.start()
            for recorder in recorders:
                recorder.wait_for("reconnected")
            time.sleep(0.2)
            played_s = time.monotonic()
            server.play(wavs[1])
        for recording in (recorder.recording for recorder in recorders):
            assert not recording.error
            assert recording.codes[-2:] == ["reconnecting", "reconnected"]
            ((_, length_s, reason),) = recording.gaps
            assert reason == "reconnect"
            assert length_s > 0.5
            assert heard_at(before, recording) < heard_at(after, recording)
            # The stream's clock went on while the device was away.
            heard_s = recording.zero_s + seconds(heard_at(after, recording))
            assert -0.1 <= heard_s - played_s < PLAYED_LATE_S


def test_a_muted_microphone_is_told_of_and_an_output_that_is_silent_is_not(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "hum.wav", np.full(8 * SAMPLE_RATE, 0.2, np.float32))
    with PulseServer(tmp_path) as server:
        with both(server, tmp_path) as (microphone, loopback):
            server.play(wav, wait=False)
            server.mute(True)
            microphone.wait_for("silent_input")
            server.mute(False)
            microphone.wait_for("sound_back")
        assert not microphone.recording.gaps
        assert not loopback.recording.gaps
        assert not loopback.recording.codes


def test_a_suspended_output_is_silence_and_a_suspended_microphone_is_told_of(
    tmp_path: Path,
) -> None:
    with PulseServer(tmp_path) as server:
        with both(server, tmp_path) as (microphone, loopback):
            server.suspend(True)
            microphone.wait_for("no_audio", "reconnecting")
            server.suspend(False)
            microphone.wait_for("reconnected")
            time.sleep(0.5)
        assert [reason for *_, reason in microphone.recording.gaps] == ["reconnect"]
        recording = loopback.recording
        assert not recording.codes
        assert not recording.gaps
        assert max(recording.delays_s) < 1.5


def test_a_recorder_that_finds_no_server_says_so(tmp_path: Path) -> None:
    with PulseServer(tmp_path) as server:
        environment = server.environment
    with LiveRecorder("microphone", tmp_path, environment) as microphone:
        microphone.wait_for("end")
    assert "no microphone" in microphone.recording.error
    with LiveRecorder("loopback", tmp_path, environment) as loopback:
        loopback.wait_for("end")
    assert "no PulseAudio or PipeWire server" in loopback.recording.error
