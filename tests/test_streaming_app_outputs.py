"""The command as a process: MQTT, commands, recordings, and options that do not go together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiomqtt
import av
import cli_plugin
import numpy as np
import pytest
from audio_files import read_audio
from fakes import Script
from mosquitto import Broker, free_port
from system_parts import needs
from tcp_gate import Gate

from streaming.app.cli import run_command
from streaming.audio import SAMPLE_RATE, Samples
from streaming.evaluation import check_events, read_log
from streaming.events import Event, Final, SessionEnded, SessionStarted
from streaming.mel_kernel import load_kernel

Start = Callable[..., subprocess.Popen[str]]
Log = dict[str, Any]
"""An event as it was read from JSON."""

needs_mosquitto = needs("mosquitto", package="mosquitto")
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no tee and no kill")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the command, with third-party parts installed."""
    cli_plugin.install(tmp_path)
    load_kernel()  # the first run of all tells that it compiles it

    def start(*argv: str | Path, **options: Any) -> subprocess.Popen[str]:
        return cli_plugin.start(tmp_path, *argv, **options)

    return start


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The one line of a command that has to exit with 2, run in this process."""
    cli_plugin.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)

    def refused(*argv: str | Path) -> str:
        code = run_command([str(argument) for argument in argv])
        out, err = capfd.readouterr()
        assert (code, out) == (2, "")
        return one_line(err)

    return refused


def ends(process: subprocess.Popen[str], within_s: float = 30.0) -> tuple[int, str, str]:
    """Exit code and the rest of stdout and stderr; a hang is a failure."""
    try:
        out, err = process.communicate(timeout=within_s)
    finally:
        process.kill()
    return process.returncode, out or "", err or ""


def one_line(err: str) -> str:
    """The one line of an error, without the program's name."""
    assert err.startswith("stream-transcribe: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("stream-transcribe: ").rstrip()


def write_wav(path: Path, *channels: Samples) -> Path:
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout=layout)
        pcm = (np.stack(channels, axis=1) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def hears(n_utterances: int) -> tuple[str, ...]:
    """Options of a model that hears `talk`, and nothing else."""
    return ("--backend", f"scripted:utterances={n_utterances}", "--vad", "loud")


def texts(script: Script, size: int = 4) -> list[str]:
    """What is said in each utterance."""
    words = [word.text for word in script.words]
    return ["".join(words[at : at + size]).strip() for at in range(0, len(words), size)]


def of_type(events: Sequence[Event], kind: type[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# -- MQTT ---------------------------------------------------------------------------------------


class Follower:
    """A reader of ``PREFIX/events`` that comes back when the broker does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.events: dict[tuple[str, int], Log] = {}
        """In the order in which they came first, by session and number."""
        self.subscribed = asyncio.Event()
        self._changed = asyncio.Event()

    async def follow(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client("127.0.0.1", self._port) as client:
                    await client.subscribe("home/events", qos=1)
                    self.subscribed.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        event = json.loads(message.payload)
                        self.events.setdefault((event["session"], event["seq"]), event)
                        self._changed.set()
            self.subscribed.clear()
            await asyncio.sleep(0.1)

    async def until(self, enough: Callable[[Log], bool]) -> None:
        """Wait for an event."""
        async with asyncio.timeout(20):
            while not any(map(enough, self.events.values())):
                self._changed.clear()
                await self._changed.wait()


class Printed:
    """What a process prints, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.events: list[tuple[float, Log]] = []
        """With the times at which they came, on the monotonic clock."""
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append((time.monotonic(), json.loads(line)))

    def close(self) -> None:
        self._thread.join()


@pytest.mark.realtime
@needs_mosquitto
def test_a_broker_that_is_away_for_ten_seconds_loses_nothing_and_holds_nothing_up(
    start: Start, tmp_path: Path
) -> None:
    said = cli_plugin.talk(11)
    assert 24 < said.duration_s < 27
    write_wav(tmp_path / "talk.wav", said.audio())

    async def main() -> tuple[Printed, Follower, float, float]:
        with Broker(tmp_path) as broker:
            follower = Follower(broker.port)
            following = asyncio.create_task(follower.follow())
            await follower.subscribed.wait()
            async with Gate(broker.port) as gate:
                url = f"mqtt://127.0.0.1:{gate.port}/home"
                process = start("talk.wav", "--format", "jsonl", "--mqtt", url, *hears(11))
                printed = Printed(process)
                try:
                    await follower.until(lambda event: event["type"] == "final")
                    # The broker would forget what it has acknowledged and not yet passed on.
                    gate.hold()
                    await asyncio.sleep(0.3)
                    broker.kill()
                    await gate.close()
                    gate.release()
                    killed_s = time.monotonic()
                    await asyncio.sleep(10)
                    broker.start()
                    await follower.subscribed.wait()  # before the command is
                    back_s = time.monotonic()
                    await gate.open()
                    await follower.until(lambda event: event["type"] == "session_ended")
                    code, _, err = await asyncio.to_thread(finished, process, printed)
                    lost, back = err.splitlines()
                    assert code == 0
                    assert lost.startswith("warning: lost the MQTT broker")
                    assert back.startswith("info: the MQTT broker")
                finally:
                    process.kill()
                    process.wait()
                    printed.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        return printed, follower, killed_s, back_s

    printed, follower, killed_s, back_s = asyncio.run(main())
    lasting = ("session_started", "committed", "final", "session_ended")
    log = [event for _, event in printed.events]
    assert [e for e in follower.events.values() if e["type"] in lasting] == [
        e for e in log if e["type"] in lasting
    ]
    assert [e["text"].strip() for e in log if e["type"] == "final"] == texts(said)
    notices = [event["code"] for event in log if event["type"] == "notice"]
    assert notices == ["mqtt_disconnected", "mqtt_connected"]
    commits = [(at_s, event) for at_s, event in printed.events if event["type"] == "committed"]
    away = [(at_s, event) for at_s, event in commits if killed_s < at_s < back_s]
    assert len(away) >= 8
    assert max(b - a for (a, _), (b, _) in pairwise(away)) < 4.0, "of which 1.3 s are pauses"
    late_s = [at_s - event["clock_s"] for at_s, event in commits]
    assert max(late_s) - min(late_s) < 2.0, "events come when they happen"


def finished(process: subprocess.Popen[str], printed: Printed) -> tuple[int, str, str]:
    """Exit code and stderr of a process whose stdout somebody else reads."""
    code = process.wait(timeout=20)
    printed.close()
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        return code, "", process.stderr.read()


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_broker_that_is_not_there_is_one_line_without_the_password(
    debug: tuple[str, ...], start: Start, tmp_path: Path, jfk: Path
) -> None:
    url = f"mqtt://me:geheim@127.0.0.1:{free_port()}/x"
    tmp_path.joinpath("a.jsonl").write_text("of the last run")
    process = start(jfk, "--backend", "scripted", "--mqtt", url, "--output", "a.jsonl", *debug)
    code, out, err = ends(process)
    assert (code, out) == (1, "")
    if not debug:
        assert "cannot use the MQTT broker 127.0.0.1:" in one_line(err)
    assert "Connection refused; check host and port" in err.splitlines()[-1]
    assert "geheim" not in err
    assert tmp_path.joinpath("a.jsonl").read_text() == "of the last run"


@needs_mosquitto
def test_the_password_is_in_no_event_and_no_message(
    start: Start, tmp_path: Path, jfk: Path
) -> None:
    with Broker(tmp_path, users={"me": "geheim"}) as broker:
        address = f"127.0.0.1:{broker.port}"
        run = (jfk, "--pace", "fast", "--backend", "scripted", "--format", "jsonl", "--debug")
        code, out, err = ends(start(*run, "--mqtt", f"mqtt://me:geheim@{address}"))
        assert code == 0
        assert "geheim" not in out + err
        assert '"session_ended"' in out.splitlines()[-1]
        environment = {"STREAM_TRANSCRIBE_MQTT_PASSWORD": "gehe1m"}
        process = start(*run, "--mqtt", f"mqtt://me@{address}", environment=environment)
        code, out, err = ends(process)
        assert (code, out) == (1, "")
        assert "Not authorized; check user and password" in err.splitlines()[-1]
        assert "gehe1m" not in err


# -- commands -----------------------------------------------------------------------------------


@needs_posix
def test_commands_get_every_utterance_once_and_their_failures_end_nothing(
    start: Start, tmp_path: Path
) -> None:
    said = cli_plugin.talk(4)
    write_wav(tmp_path / "talk.wav", said.audio())
    process = start(
        *("talk.wav", "--pace", "fast", "--output", "talk.jsonl", *hears(4)),
        *("--exec", "tee -a notes.txt", "--exec", "sh -c 'echo out of paper >&2; exit 3'"),
        *("--exec", "sleep 60", "--exec-limit", "0.3"),
    )
    code, out, err = ends(process)
    lines = "".join(f"{text}\n" for text in texts(said))
    assert (code, out) == (0, lines)
    assert tmp_path.joinpath("notes.txt").read_text() == lines
    assert err.count("sh ended with status 3: out of paper") == 1
    assert err.count("sleep took longer than 0.3 s and was ended") == 1
    assert "tee" not in err
    assert "Traceback" not in err


# -- recordings ---------------------------------------------------------------------------------


def n_samples(path: Path) -> int:
    return len(read_audio(path))


def test_a_recording_and_its_log_are_what_evaluate_takes(start: Start, tmp_path: Path) -> None:
    said = cli_plugin.talk(2)
    audio = said.audio()
    write_wav(tmp_path / "in.wav", audio)
    tmp_path.joinpath("ref.txt").write_text(" ".join(texts(said)))
    assert ends(start("in.wav", "--record", "talk.flac", *hears(2)))[0] == 0
    heard, log = read_audio(tmp_path / "talk.flac"), read_log(tmp_path / "talk.jsonl")
    np.testing.assert_allclose(heard, audio, atol=2 / 32_768)
    assert check_events(log) == []
    assert [event.text.strip() for event in of_type(log, Final)] == texts(said)
    for argv in (
        ("talk.flac", "--pass-cost", "0.1"),
        ("talk.flac", "ref.txt", "--events", "talk.jsonl"),
    ):
        code, out, err = ends(start("evaluate", *argv, "--json", *hears(2)))
        assert code == 0, err
        measured = json.loads(out)
        assert measured["words"] == len(said.words)
        assert measured["commit_delay_s"] is not None
        if "ref.txt" in argv:
            assert measured["wer"] == 0


@needs_posix
@pytest.mark.parametrize("name", ["talk.flac", "talk.wav"])
def test_ctrl_c_leaves_a_recording_as_long_as_its_session(
    name: str, start: Start, tmp_path: Path
) -> None:
    write_wav(tmp_path / "in.wav", cli_plugin.talk(6).audio())
    process = start(
        *("in.wav", "--record", name, "--format", "jsonl", *hears(6)),
        *("--exec", "tee -a notes.txt"),
    )
    assert process.stdout is not None
    while '"final"' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    code, _, err = ends(process)
    assert (code, err) == (130, "info: finishing what was said; Ctrl-C again stops at once\n")
    log = read_log(tmp_path / "talk.jsonl")
    assert check_events(log) == []
    (ended,) = of_type(log, SessionEnded)
    assert 2.0 < ended.audio_s < 13.0
    assert n_samples(tmp_path / name) == round(ended.audio_s * SAMPLE_RATE)
    finals = [event.text.strip() for event in of_type(log, Final)]
    assert tmp_path.joinpath("notes.txt").read_text().splitlines() == [f for f in finals if f]


def test_each_channel_has_a_recording_and_a_log_of_its_own(start: Start, tmp_path: Path) -> None:
    said = cli_plugin.talk(3)
    audio = said.audio()
    silent = audio.copy()
    silent[len(silent) // 2 :] = 0
    write_wav(tmp_path / "in.wav", audio, silent)
    process = start(
        *("in.wav", "--channels", "split", "--pace", "fast", "--record", "talk.flac", *hears(3)),
        *("--output", "both.jsonl"),
    )
    code, out, err = ends(process)
    assert (code, err) == (0, "")
    both = read_log(tmp_path / "both.jsonl")
    for label, samples in (("left", audio), ("right", silent)):
        heard = read_audio(tmp_path / f"talk.{label}.flac")
        np.testing.assert_allclose(heard, samples, atol=2 / 32_768)
        log = read_log(tmp_path / f"talk.{label}.jsonl")
        assert check_events(log) == []
        (started,) = of_type(log, SessionStarted)
        assert started.label == label
        assert log == [event for event in both if event.session == started.session]
        shown = [line.partition(": ")[2] for line in out.splitlines() if line.startswith(label)]
        assert " ".join(shown) == " ".join(final.text.strip() for final in of_type(log, Final))
    assert not tmp_path.joinpath("talk.flac").exists()


def test_a_recording_that_cannot_be_written_is_one_line(start: Start, jfk: Path) -> None:
    code, out, err = ends(start(jfk, "--backend", "scripted", "--record", "nowhere/talk.flac"))
    assert (code, out) == (1, "")
    assert "nowhere/talk.flac: the folder nowhere does not exist" in one_line(err)


def test_a_run_that_cannot_begin_keeps_the_last_recording(
    start: Start, tmp_path: Path, jfk: Path
) -> None:
    for name in ("talk.flac", "talk.jsonl"):
        tmp_path.joinpath(name).write_text("of the last run")
    code, _, err = ends(start(jfk, "--model", "gigantic", "--record", "talk.flac"))
    assert code == 2
    assert "there is no model 'gigantic'" in one_line(err)
    for name in ("talk.flac", "talk.jsonl"):
        assert tmp_path.joinpath(name).read_text() == "of the last run"


# -- what cannot work ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "give a FILE, a URL, - or --mic; --help tells more"),
        ("JFK --mic", "give either an input or --mic and --loopback, not both"),
        ("JFK --loopback=out", "give either an input or --mic and --loopback, not both"),
        ("--mic --pace fast", "live audio comes in real time: --pace fast is for files"),
        ("--loopback --pace simulated", "live audio comes in real time: --pace simulated"),
        ("JFK --device 1", "--device chooses a microphone: use it with --mic"),
        ("--loopback --device 1", "--device chooses a microphone: use it with --mic"),
        ("JFK --no-echo-cancellation", "--no-echo-cancellation is for --mic --loopback"),
        ("--mic --no-echo-cancellation", "--no-echo-cancellation is for --mic --loopback"),
        ("--loopback --no-echo-cancellation", "--no-echo-cancellation is for --mic --loopback"),
        ("JFK --raw", "--raw is for --final-model NAME"),
        ("- --start 1", "--start and --duration are for files and streams"),
        ("- --duration 1", "--start and --duration are for files and streams"),
        ("--mic --start 1:30", "--start and --duration are for files and streams"),
        ("script://5 --start 1", "--start and --duration are for files and streams"),
        ("script://5 --duration 1", "--start and --duration are for files and streams"),
        ("JFK --start soon", "'soon' is not a time; write 90, 1:30 or 1:02:03.5"),
        ("JFK --start -5", "'-5' is not a time; write 90, 1:30 or 1:02:03.5"),
        ("JFK --start 1:75", "'1:75' is not a time: after a colon comes less than 60"),
        (f"JFK --start {'9' * 400}:00:00", "is not a time; write 90, 1:30 or 1:02:03.5"),
        ("JFK --duration 0", "the duration must be longer than 0 s, not 0 s"),
        ("JFK --start 3600", "cannot start at 3600 s: JFK ends at 11.0 s"),
        ("JFK --channels split", "JFK has 1 channel; --channels split needs 2"),
        ("- --channels split", "--channels split is for files with two channels"),
        ("--mic --channels split", "--channels split is for files with two channels"),
        ("script://5 --channels split", "script://5 is an address; channels are split in files"),
        ("JFK --channels split --label x", "--label is for one session; here are left and right"),
        ("--mic --loopback --label x", "--label is for one session; here are me and them"),
        ("JFK --captions nowhere", "'nowhere' is no address with a port; write 127.0.0.1:8765"),
        ("JFK --captions 127.0.0.1:99999", "choose one from 1024 to 65535"),
        ("JFK --captions-clear 3", "--captions-clear is for --captions HOST:PORT"),
        ("JFK --captions 0 --captions-clear -1", "cleared after 0 (never) to 3600 s, not -1"),
        ("JFK --captions 0 --captions-clear nan", "argument --captions-clear: 'nan' is not a"),
        ("JFK --mqtt-ca ca.pem", "the options --mqtt-... are for --mqtt URL"),
        ("JFK --mqtt-key key.pem", "the options --mqtt-... are for --mqtt URL"),
        ("JFK --mqtt localhost", "an MQTT broker is named as mqtt://[USER[:PASSWORD]@]HOST"),
        ("JFK --mqtt mqtt://h --mqtt-ca JFK", "certificates need TLS: write mqtts://"),
        ("JFK --mqtt mqtts://h --mqtt-ca no.pem", "cannot read certificates (PEM) from no.pem"),
        ("JFK --mqtt mqtts://h --mqtt-key no.pem", "an MQTT key needs its certificate"),
        ("JFK --mqtt mqtt://me@h --mqtt-password-file no", "the MQTT password in no"),
        (
            "JFK --mqt mqtt://me:geheim@h",
            "unrecognized arguments: --mqt mqtt://h; is it --mqtt?",
        ),
        ("JFK --exec-limit 3", "--exec-limit is for --exec CMD"),
        ("JFK --exec=", "--exec needs a command"),
        ("JFK --exec=no-such-program", "there is no command 'no-such-program'; a line of shell"),
        ("JFK --exec='", "--exec: cannot split the command: No closing quotation"),
        ("JFK --exec=true --exec-limit 0", "a time limit and a queue have to be above 0"),
        ("JFK --record talk.mp3", "cannot record to talk.mp3: the extension must be .wav, .flac"),
        ("JFK --record JFK", "JFK is an input; writing to it would destroy it"),
        ("JFK --record a.wav --output a.jsonl", "a.jsonl is named twice as an output"),
        (
            "JFK --mqtt mqtt://me@h --mqtt-password-file a.txt --output a.txt",
            "a.txt is an input; writing to it would destroy it",
        ),
        ("JFK --replace rules.txt", "rules.txt, line 3: 'heard' is no rule; write `heard ->"),
        ("JFK --replace no.txt", "cannot read no.txt: No such file or directory"),
        ("JFK --hotwords-file no.txt", "cannot read no.txt: No such file or directory"),
        ("JFK --hotwords-file latin.txt", "latin.txt is not UTF-8 text; save it as UTF-8"),
        ("JFK --hotwords-file blank.txt", "blank.txt names nothing; write one name or term a"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_exits_with_2(
    argv: str, says: str, refused: Callable[..., str], tmp_path: Path, jfk: Path
) -> None:
    tmp_path.joinpath("rules.txt").write_text("# rules\na -> b\nheard\n")
    tmp_path.joinpath("latin.txt").write_bytes("Zoë\n".encode("latin-1"))
    tmp_path.joinpath("blank.txt").write_text("# nobody\n\n")
    tmp_path.joinpath("a.txt").write_text("geheim")
    given = [str(jfk) if argument == "JFK" else argument for argument in argv.split()]
    assert says.replace("JFK", str(jfk)) in refused(*given)
    assert tmp_path.joinpath("a.txt").read_text() == "geheim"


# -- the real model -----------------------------------------------------------------------------


@needs_posix
@pytest.mark.needs_model
def test_with_the_real_model_a_recorded_run_can_be_measured_as_it_was(
    start: Start, tmp_path: Path, jfk: Path
) -> None:
    tmp_path.joinpath("rules.txt").write_text("# ours\nfellow americans -> friends\n")
    tmp_path.joinpath("ref.txt").write_text("And so, my friends,")
    process = start(
        *(jfk, "--duration", "3", "--record", "talk.wav", "--replace", "rules.txt"),
        *("--exec", "tee -a notes.txt"),
    )
    code, out, err = ends(process, within_s=60)
    assert (code, err) == (0, "")
    assert "so my friends" in " ".join(out.lower().replace(",", "").split())
    assert tmp_path.joinpath("notes.txt").read_text() == out
    assert n_samples(tmp_path / "talk.wav") == 3 * SAMPLE_RATE
    argv = ("evaluate", "talk.wav", "ref.txt", "--events", "talk.jsonl", "--json")
    code, out, err = ends(start(*argv), within_s=60)
    assert code == 0, err
    assert json.loads(out)["wer"] == 0
