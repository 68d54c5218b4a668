from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, cuts, pieces, read_audio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import streaming
from streaming.audio import Samples
from streaming.errors import ConfigurationError, OverwrittenError
from streaming.mel import IncrementalMel
from streaming.mel_filters import slaney_filters

SPEECH = read_audio(JFK)


def reference(samples: Samples, n_mels: int) -> NDArray[np.float64]:
    """Whisper's features of a whole file in float64, before clamp and scaling."""
    extended = np.concatenate((samples.astype(np.float64), np.zeros(400)))
    padded = np.pad(extended, (200, 0), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(samples) // 160]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    energies = power @ slaney_filters(n_mels).astype(np.float64).T
    return np.log10(np.maximum(energies, 1e-10)).T


def finished(log_mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whisper's clamp and scaling."""
    scaled: NDArray[np.float64] = (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4
    return scaled


def signal(kind: str, n: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16_000
    audio: NDArray[np.float64]
    match kind:
        case "speech":
            audio = SPEECH[:n].astype(np.float64)
        case "noise":
            audio = rng.standard_normal(n) / 4
        case "faint":
            audio = rng.standard_normal(n) * 1e-5
        case "tone":
            audio = np.sin(2 * np.pi * 1_000 * t)
        case "click":
            audio = np.where(np.arange(n) == n // 2, 1.0, 0.0)
        case _:
            audio = np.zeros(n)
    return audio.astype(np.float32)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("kind", ["speech", "noise", "faint", "tone", "click", "silence"])
def test_windows_are_within_a_thousandth_of_a_float64_reference(kind: str, n_mels: int) -> None:
    samples = signal(kind, 10 * 16_000 + 77)
    mel = IncrementalMel(n_mels)
    mel.push(samples)
    mel.flush()
    assert mel.end_frame == len(samples) // 160
    expected = reference(samples, n_mels)
    np.testing.assert_allclose(mel.window(0, mel.end_frame), finished(expected), atol=1e-5)
    np.testing.assert_allclose(mel.window(300, 700), finished(expected[:, 300:700]), atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["speech", "noise", "click"]),
    n=st.one_of(st.integers(0, 1_000), st.integers(0, 40_000)),
    where=cuts(40_000),
    flush=st.booleans(),
)
def test_any_split_gives_the_bits_of_one_push(
    kind: str, n: int, where: list[int], flush: bool
) -> None:
    samples = signal(kind, n)
    whole, split = IncrementalMel(), IncrementalMel()
    whole.push(samples)
    for piece in pieces(samples, where):
        split.push(piece)
    if flush:
        whole.flush()
        split.flush()
    assert split.end_frame == whole.end_frame
    got, expected = split.window(0, split.end_frame), whole.window(0, whole.end_frame)
    assert got.tobytes() == expected.tobytes()


@settings(deadline=None, max_examples=40)
@given(n=st.one_of(st.integers(0, 600), st.integers(0, 20_000)))
@example(n=159)
@example(n=160)
@example(n=200)
@example(n=201)
def test_a_flushed_stretch_of_any_length_has_the_frames_of_the_whole_file(n: int) -> None:
    samples = signal("noise", n)
    mel = IncrementalMel()
    mel.push(samples)
    assert mel.end_frame == (0 if n < 201 else (n - 200) // 160 + 1)
    mel.flush()
    assert mel.end_frame == n // 160
    if n >= 160:
        expected = finished(reference(samples, 80))
        np.testing.assert_allclose(mel.window(0, mel.end_frame), expected, atol=1e-5)


def test_a_window_is_what_the_backends_take() -> None:
    mel = IncrementalMel(128)
    mel.push(SPEECH)
    window = mel.window(100, 300)
    assert window.dtype == np.float32
    assert window.shape == (128, 200)
    assert window.flags.c_contiguous
    assert window.flags.owndata
    assert window.max() - window.min() == pytest.approx(2.0)  # 8 decades, over 4


def test_only_the_newest_frames_are_held_and_older_ones_raise() -> None:
    small, large = IncrementalMel(capacity_frames=100), IncrementalMel()
    for mel in (small, large):
        for piece in pieces(SPEECH[:80_000], list(range(0, 80_000, 7_001))):
            mel.push(piece)
    assert (small.start_frame, small.end_frame) == (large.end_frame - 100, large.end_frame)
    held = (small.start_frame, small.end_frame)
    np.testing.assert_array_equal(small.window(*held), large.window(*held))
    with pytest.raises(OverwrittenError, match=f"only {held[0]} to {held[1]}"):
        small.window(held[0] - 1, held[1])
    with pytest.raises(OverwrittenError):
        small.window(held[0], held[1] + 1)


def test_a_push_longer_than_the_ring_leaves_the_newest_frames() -> None:
    small, large = IncrementalMel(capacity_frames=64), IncrementalMel()
    small.push(SPEECH)
    large.push(SPEECH)
    held = (small.start_frame, small.end_frame)
    np.testing.assert_array_equal(small.window(*held), large.window(*held))


def test_an_empty_window_is_empty() -> None:
    assert IncrementalMel().window(0, 0).shape == (80, 0)


def test_reset_starts_a_new_stretch_that_knows_nothing_of_the_old() -> None:
    used, fresh = IncrementalMel(), IncrementalMel(origin_sample=5_000)
    used.push(signal("noise", 12_345))
    used.flush()
    used.reset(5_000)
    for mel in (used, fresh):
        mel.push(SPEECH[:16_000])
    assert used.origin_sample == 5_000
    assert (used.start_frame, used.end_frame) == (0, fresh.end_frame)
    np.testing.assert_array_equal(used.window(0, 98), fresh.window(0, 98))


def test_pushing_after_a_flush_raises() -> None:
    mel = IncrementalMel()
    mel.push(SPEECH)
    mel.flush()
    mel.flush()
    assert mel.end_frame == len(SPEECH) // 160
    with pytest.raises(RuntimeError, match="reset"):
        mel.push(SPEECH)


def test_the_pushed_array_is_neither_kept_nor_changed() -> None:
    samples = SPEECH[:1_000].copy()
    samples.setflags(write=False)
    kept, lent = IncrementalMel(), IncrementalMel()
    buffer = samples.copy()
    lent.push(buffer)
    buffer[:] = 9.0
    kept.push(samples)
    for mel in (kept, lent):
        mel.push(SPEECH[1_000:2_000])
    np.testing.assert_array_equal(lent.window(0, 12), kept.window(0, 12))


@pytest.mark.parametrize(("n_mels", "capacity"), [(81, 100), (0, 100), (80, 0)])
def test_bands_or_capacity_that_cannot_work_are_refused(n_mels: int, capacity: int) -> None:
    with pytest.raises(ConfigurationError):
        IncrementalMel(n_mels, capacity)


def test_half_a_second_costs_at_most_a_twelfth_of_ten() -> None:
    mel = IncrementalMel()
    ten, half = signal("noise", 160_000), signal("noise", 8_000)

    def cost(samples: Samples) -> float:
        mel.reset(0)
        mel.push(half)  # the ring and the pending samples are as in mid-stream
        start = time.perf_counter()
        mel.push(samples)
        return time.perf_counter() - start

    recompute = min(cost(ten) for _ in range(15))
    push = min(cost(half) for _ in range(60))
    assert push <= recompute / 12


SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
import numpy as np
from streaming.mel import IncrementalMel
mel = IncrementalMel()
mel.push(np.zeros(16_000, np.float32))
print(mel.end_frame)
"""


def run_copy(folder: Path, **environment: str) -> list[str]:
    """Use the mel in a new process, from a copy of the package; returns what it logged."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "99"
    return done.stderr.splitlines()


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    source = Path(streaming.__file__).parent
    shutil.copytree(source, tmp_path / "streaming", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_without_a_writable_cache_folder_it_compiles_uncached_and_says_so(
    package_copy: Path,
) -> None:
    # Read-only permissions do not stop root, but nobody can make a folder below a file.
    wall = package_copy / "streaming" / "__pycache__"
    wall.write_text("")
    below = str(wall / "cache")
    places = {"NUMBA_CACHE_DIR": below, "XDG_CACHE_HOME": below, "HOME": below}
    log = run_copy(package_copy, **places)
    assert [line.split()[0] for line in log] == ["WARNING", "INFO"]
    assert "NUMBA_CACHE_DIR" in log[0]
    assert "compiling" in log[1]


def test_the_first_compilation_says_so_and_the_next_start_is_silent(package_copy: Path) -> None:
    cache = package_copy / "cache"
    (line,) = run_copy(package_copy, NUMBA_CACHE_DIR=str(cache))
    assert line.startswith("INFO compiling the mel kernel")
    assert run_copy(package_copy, NUMBA_CACHE_DIR=str(cache)) == []
    for index in cache.rglob("*.nbi"):
        index.write_bytes(b"damaged")
    log = run_copy(package_copy, NUMBA_CACHE_DIR=str(cache))
    assert [line.split()[0] for line in log] == ["WARNING", "INFO"]
