"""The command with live audio: a real sound server, the real model, real time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_files import read_audio
from pulse import PulseServer, needs_pulse
from speech import SAID, errors

from streaming.audio import SAMPLE_RATE, Samples

ROOT = Path(__file__).resolve().parents[1]
HEARD = 0.25
"""Error rate up to which a sentence was heard: played through a sound server it begins at any
sample, and tiny.en then takes "Ask" for "As", or the like."""

Event = dict[str, Any]


@contextmanager
def command(
    *argv: str | Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, its JSON lines going to a file."""
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "streaming", "--format", "jsonl", *map(str, argv)],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def events_of(log: Path) -> list[Event]:
    """The whole lines of a log."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines(keepends=True)]


def wait_for(log: Path, kind: str, *, n: int = 1, limit_s: float = 30.0) -> None:
    until_s = time.monotonic() + limit_s
    while log.read_text("utf-8").count(f'{{"type": "{kind}"') < n:
        assert time.monotonic() < until_s, f"no {kind} within {limit_s:g} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen[str]) -> str:
    """Ctrl-C; returns what it said on stderr."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    return err


def write_wav(path: Path, *channels: Samples) -> Path:
    samples = np.stack([np.asarray(c * 32767, dtype="<i2") for c in channels], axis=1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return path


def sessions(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Events by the label of their session."""
    labels = {e["session"]: e["label"] for e in events if e["type"] == "session_started"}
    return {
        label: [e for e in events if e["session"] == session] for session, label in labels.items()
    }


def words(events: Sequence[Event], from_s: float = 0.0, to_s: float = np.inf) -> list[Event]:
    found = [word for e in events if e["type"] == "committed" for word in e["words"]]
    return [word for word in found if from_s <= word["start_s"] < to_s]


def text(found: Sequence[Event]) -> str:
    return "".join(word["text"] for word in found)


@pytest.mark.needs_model
@needs_pulse
def test_the_microphone_commits_what_is_said_within_1_8_seconds(jfk: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "jfk.wav", read_audio(jfk))
    reference = tmp_path / "jfk.txt"
    reference.write_text(SAID)
    log, record = tmp_path / "out.jsonl", tmp_path / "kept.flac"
    with (
        PulseServer(tmp_path) as server,
        command("--mic", "--record", record, environment=server.environment, log=log) as running,
    ):
        wait_for(log, "session_started")
        server.play(sound)
        wait_for(log, "final", n=3)
        stop(running)
    measure = ("evaluate", record, reference, "--json", "--events", record.with_suffix(".jsonl"))
    evaluation = subprocess.run(
        [sys.executable, "-m", "streaming", *map(str, measure)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(evaluation.stdout)
    assert measured["wer"] <= HEARD
    assert measured["commit_delay_s"]["p95"] <= 1.8
    assert measured["aligned_words"] >= 20


@pytest.mark.needs_model
@needs_pulse
def test_both_ends_of_a_call_on_loudspeakers(jfk: Path, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "jfk.wav", read_audio(jfk))
    log = tmp_path / "out.jsonl"
    with PulseServer(tmp_path) as server:
        # A microphone of its own, which hears the loudspeaker at -12 dB, a little later.
        server.control("load-module", "module-null-sink", "sink_name=mic")
        server.control("set-default-source", "mic.monitor")
        room = ("source=speaker.monitor", "sink=mic", "latency_msec=60", "adjust_time=0")
        server.control("load-module", "module-loopback", *room)
        inputs = server.control("list", "short", "sink-inputs").splitlines()
        (echo,) = [line.split()[0] for line in inputs if "loopback" in line]
        server.control("set-sink-input-volume", echo, "63%")
        with command("--mic", "--loopback", environment=server.environment, log=log) as running:
            wait_for(log, "session_started", n=2)
            server.play(sound)  # they speak
            time.sleep(2.0)
            before_s = max(e["clock_s"] for e in events_of(log))
            speak = ["paplay", "--device=mic", "--latency-msec=500", str(sound)]
            subprocess.run(speak, env=server.environment, timeout=30, check=True)  # we speak
            time.sleep(2.0)
            stop(running)
    events = events_of(log)
    heard = sessions(events)
    assert list(heard) == ["me", "them"]
    assert errors(text(words(heard["them"], to_s=before_s))) <= HEARD
    assert errors(text(words(heard["me"], from_s=before_s - 0.5))) <= HEARD
    assert not words(heard["them"], from_s=before_s)
    # The filter learns the room in the first seconds that it hears of it.
    began_s = words(heard["them"])[0]["start_s"]
    assert text(words(heard["me"], from_s=began_s + 3.0, to_s=before_s - 0.5)) == ""
    clocks = [event["clock_s"] for event in events]
    assert all(later >= earlier - 1.0 for earlier, later in pairwise(clocks))


@needs_pulse
@pytest.mark.needs_model
def test_a_device_that_goes_and_comes_back_is_told_and_heard_again(
    jfk: Path, tmp_path: Path
) -> None:
    sound = write_wav(tmp_path / "jfk.wav", read_audio(jfk))
    log = tmp_path / "out.jsonl"
    with (
        PulseServer(tmp_path) as server,
        command("--mic", environment=server.environment, log=log) as running,
    ):
        wait_for(log, "session_started")
        server.play(sound, wait=False)
        wait_for(log, "final")  # "And so, my fellow Americans"
        time.sleep(1.0)
        server.kill()
        time.sleep(3.0)
        server.start()
        wait_for(log, "audio_dropped")
        before_s = max(e["clock_s"] for e in events_of(log))
        server.play(sound)
        time.sleep(2.0)
        err = stop(running)
    events = events_of(log)
    codes = [e["code"] for e in events if e["type"] == "notice"]
    assert codes.count("reconnecting") >= 1
    assert codes.count("reconnected") >= 1
    (gap,) = [e for e in events if e["type"] == "audio_dropped"]
    assert gap["reason"] == "reconnect"
    assert 3.0 < gap["end_s"] - gap["start_s"] < 12.0
    assert errors(text(words(events, from_s=before_s))) <= HEARD
    assert re.search("microphone|default", err)
    assert [e["seq"] for e in events] == list(range(len(events)))


@pytest.mark.needs_model
@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_each_channel_of_a_file_is_a_session_and_both_are_in_the_order_of_the_audio(
    pace: str, jfk: Path, tmp_path: Path
) -> None:
    speech = read_audio(jfk)
    later = np.zeros(6 * SAMPLE_RATE, np.float32)
    stereo = write_wav(
        tmp_path / "call.wav", np.concatenate([speech, later]), np.concatenate([later, speech])
    )
    log, vtt, txt = tmp_path / "out.jsonl", tmp_path / "call.vtt", tmp_path / "call.txt"
    options = ("--channels", "split", "--pace", pace, "--output", vtt, "--output", txt)
    with command(stereo, *options, environment=dict(os.environ), log=log) as running:
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    events = events_of(log)
    heard = sessions(events)
    assert list(heard) == ["left", "right"]
    for label, from_s in (("left", 0.0), ("right", 6.0)):
        own = words(heard[label])
        assert errors(text(own)) <= 0.05
        assert from_s - 0.1 <= own[0]["start_s"]
        assert own[-1]["end_s"] <= from_s + 11.2
        assert [e["seq"] for e in heard[label]] == list(range(len(heard[label])))
    if pace == "realtime":
        clocks = [event["clock_s"] for event in events]
        assert all(b >= a - 1.0 for a, b in pairwise(clocks))
    else:  # live, the machine's load has a part in when a word is certain
        ends = [max(w["end_s"] for w in e["words"]) for e in events if e["type"] == "committed"]
        assert all(b >= a - 1.0 for a, b in pairwise(ends))
    told = [e["at_s"] for e in events if e["type"] in ("speech_started", "speech_ended")]
    assert all(later >= earlier - 1.0 for earlier, later in pairwise(told))
    assert {"<v left>", "<v right>"} <= set(re.findall("<v [a-z]+>", vtt.read_text()))
    starts = re.findall(r"^(\S+) -->", vtt.read_text(), re.MULTILINE)
    assert starts == sorted(starts)
    lines = txt.read_text().splitlines()
    assert all(line.startswith(("left: ", "right: ")) for line in lines)
