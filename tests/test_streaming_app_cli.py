"""The command in this process: what it refuses, what it writes, how it exits."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cli_plugin
import numpy as np
import pytest
from fakes import ScriptedBackend

from streaming.app import compose
from streaming.app.cli import run_command
from streaming.evaluation import check_events
from streaming.events import (
    Committed,
    Final,
    Refined,
    SessionEnded,
    SessionStarted,
    event_from_json,
)
from streaming.models import ModelStore
from streaming.words import key

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and third-party parts that are installed elsewhere."""
    cli_plugin.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(installed: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command; returns its exit code, stdout and stderr."""

    def run(*argv: str | Path) -> tuple[int, str, str]:
        code = run_command([str(argument) for argument in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def one_line(err: str) -> str:
    """The one line of an error, without the program's name."""
    assert err.startswith("stream-transcribe: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removeprefix("stream-transcribe: ").rstrip()


def write_wav(
    path: Path, data: bytes, *, code: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16
) -> Path:
    frame = channels * bits // 8
    head = struct.pack("<IHHIIHH", 16, code, channels, rate, rate * frame, frame, bits)
    body = b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


# -- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "what should be transcribed?"),
        ([""], "what should be transcribed?"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["JFK", "--pol", "eager"], "unrecognized arguments"),
        (["JFK", "second.wav"], "unrecognized arguments: second.wav"),
        (["JFK", "--format", "doc"], "invalid choice: 'doc'"),
        (["JFK", "--pace", "slow"], "invalid choice: 'slow'"),
        (["JFK", "--output"], "expected one argument"),
        (["JFK", "--chunk", "0"], "--chunk must lie between 0.1 and 10 s, not 0"),
        (["JFK", "--chunk", "nan"], "argument --chunk: 'nan' is not a number"),
        (["JFK", "--chunk", "inf"], "argument --chunk: 'inf' is not a number"),
        (["JFK", "--chunk", "half"], "argument --chunk: 'half' is not a number"),
        (["JFK", "--chunk", "5", "--window", "4"], "--window 4 is shorter than --chunk 5"),
        (["JFK", "--left-context", "12"], "--left-context 12 must be shorter than --window 10"),
        (["JFK", "--left-context", "-1"], "--left-context must lie between 0 and 20 s"),
        (["JFK", "--max-utterance", "1e9"], "--max-utterance must lie between"),
        (["JFK", "--endpoint-silence", "0"], "--endpoint-silence must lie between 0.1 and 15 s"),
        (["JFK", "--vad-threshold", "2"], "--vad-threshold must lie between 0.01 and 0.99"),
        (["JFK", "--threads", "-1"], "--threads must lie between 1 and 256, not -1"),
        (["JFK", "--threads", "two"], "argument --threads: 'two' is not a whole number"),
        (["JFK", "--workers", "0"], "--workers must lie between 1 and"),
        (["JFK", "--workers", "100000"], "on this machine, not 100000"),
        (["JFK", "--pass-cost", "0.2"], "--pass-cost needs --pace simulated"),
        (["JFK", "--pace", "simulated", "--pass-cost", "-1"], "--pass-cost must lie between"),
        (["JFK", "--pace", "simulated", "--pass-cost", "nan"], "'nan' is not a number"),
        (["JFK", "--language", "klingon"], "unknown language 'klingon'; use 'auto' or"),
        (["JFK", "--language", "ja"], "tiny.en knows only English; --language ja needs"),
        (["JFK", "--translate"], "--translate needs a multilingual model, e.g. --model base"),
        (["JFK", "--model", "base", "--final-model", "small.en"], "small.en knows only English;"),
        (
            ["JFK", "--model", "base", "--language", "de", "--final-model", "small.en"],
            "--final-model needs a multilingual model here, e.g. base",
        ),
        (
            ["JFK", "--model", "base", "--translate", "--final-model", "base.en"],
            "base.en knows only English;",
        ),
        (
            ["JFK", "--backend", "cloud"],
            "unknown backend 'cloud'; known: auto, ctranslate2, whisper.cpp",
        ),
        (["JFK", "--policy", "hope"], "unknown policy 'hope'; known: local-agreement"),
        (["JFK", "--policy", "local-agreement:n"], "expected key=value, not 'n'"),
        (
            ["JFK", "--policy", "local-agreement:m=3"],
            "takes the parameters: n, settled, sure; not 'm=3'",
        ),
        (["JFK", "--policy", "local-agreement:n=0"], "n must be a whole number from 1 to 10"),
        (["JFK", "--policy", "hold-back:seconds=-1"], "seconds must be a number from 0 to 10"),
        (["JFK", "--policy", "endpoint:seconds=1"], "takes the parameters: none"),
        (["JFK", "--policy", "broken"], "'broken' of the package cli-plugin cannot be loaded"),
        (["JFK", "--vad", "ears"], "unknown speech detector 'ears'; known: silero, webrtc"),
        (["JFK", "--vad", "webrtc:aggressiveness=7"], "aggressiveness is 0 to 3, not 7"),
        (["JFK", "--sink", "drain"], "unknown sink 'drain'; known: blocking, counter"),
        (["JFK", "--sink", "counter"], "counter: "),
        (["JFK", "--sink", "not-a-sink"], "not-a-sink is not a sink"),
        (["script://loud"], "script: could not convert string to float"),
        (["not-a-source://x"], "not-a-source is not a source"),
        (["JFK", "--output", "talk.doc"], "the extension must be one of .txt, .jsonl, .srt, .vtt"),
        (["JFK", "--output", "a.srt", "--output", "./a.srt"], "is named twice as an output"),
        (["talk.srt", "--output", "sub/../talk.srt"], "writing to it would destroy it"),
        (["models"], "the following arguments are required: ACTION"),
        (["models", "paint"], "invalid choice: 'paint'"),
        (["models", "path", "gigantic"], "there is no model 'gigantic'"),
        (["evaluate"], "give either AUDIO and REF, or --manifest JSON"),
        (["evaluate", "JFK", "missing.txt"], "cannot read missing.txt: No such file"),
        (["evaluate", "JFK", "JFK"], "is not UTF-8 text"),
        (["evaluate", "--manifest", "missing.json"], "cannot read missing.json"),
        (["evaluate", "JFK", "--log", "JFK"], "writing to it would destroy it"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_with_2(
    argv: Sequence[str], says: str, command: Command, jfk: Path
) -> None:
    code, out, err = command(*[str(jfk) if argument == "JFK" else argument for argument in argv])
    assert (code, out) == (2, "")
    assert says in one_line(err)


@pytest.mark.parametrize("content", ["{not json", "[1, 2]", '{"clips": []}', '{"clips": [1]}'])
def test_a_broken_manifest_exits_with_2(content: str, command: Command, installed: Path) -> None:
    installed.joinpath("set.json").write_text(content)
    code, _, err = command("evaluate", "--manifest", "set.json")
    assert code == 2
    assert "set.json" in one_line(err)


def test_help_and_version_exit_with_0(command: Command) -> None:
    for argv in (["--help"], ["--version"], ["models", "--help"], ["evaluate", "--help"]):
        code, out, err = command(*argv)
        assert (code, err) == (0, "")
        assert out


def test_help_names_third_parties_parts(command: Command) -> None:
    out = " ".join(command("--help")[1].split())
    assert "endpoint, broken, eager" in out
    assert "auto, ctranslate2, whisper.cpp, scripted" in out


def test_a_subcommand_wins_over_a_file_of_its_name(
    command: Command, installed: Path, jfk: Path
) -> None:
    installed.joinpath("models").write_bytes(jfk.read_bytes())
    assert "tiny.en" in command("models", "list")[1]
    code, out, err = command("./models", "--pace", "fast", "--backend", "scripted")
    assert (code, err) == (0, "")
    assert out


def test_debug_shows_the_traceback_wherever_it_stands(command: Command) -> None:
    for argv in (["--debug", "models", "path", "nope"], ["models", "path", "nope", "--debug"]):
        code, _, err = command(*argv)
        assert code == 2
        assert err.startswith("Traceback")
        assert "\nstream-transcribe: there is no model 'nope'" in err


def test_a_bug_is_one_line_too(
    command: Command, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*, model: str, threads: int, progress: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setitem(compose.BACKENDS, "auto", explode)
    code, _, err = command(jfk)
    assert code == 1
    assert one_line(err) == "unexpected RuntimeError: two lines; --debug shows where"


# -- input --------------------------------------------------------------------------------------


def test_input_that_cannot_be_read_is_one_line_and_exits_with_2(
    command: Command, installed: Path
) -> None:
    rng = np.random.default_rng(0)
    installed.joinpath("folder").mkdir()
    installed.joinpath("empty.wav").touch()
    installed.joinpath("text.txt").write_text("hello\n" * 100)
    installed.joinpath("noise.bin").write_bytes(rng.bytes(5000))
    write_wav(installed / "nothing.wav", b"")
    write_wav(installed / "channels.wav", bytes(3200), channels=0)
    write_wav(installed / "codec.wav", bytes(3200), code=0x9999)
    for name, says in (
        ("missing.wav", "no such file"),
        ("two\nlines.wav", "no such file"),
        ("folder", "is a directory"),
        ("empty.wav", "is empty"),
        ("text.txt", "text.txt"),
        ("noise.bin", "is not audio"),
        ("nothing.wav", "holds no audio"),
        ("channels.wav", "channels.wav"),
        ("codec.wav", "cannot decode"),
        ("http://127.0.0.1:9/x.mp3", "Connection refused"),
        ("gopher2://x", "cannot open gopher2://x"),
    ):
        code, out, err = command(name, "--backend", "scripted")
        assert (code, out) == (2, ""), name
        assert says in one_line(err)


@pytest.mark.parametrize("format_name", ["text", "jsonl"])
def test_audio_that_breaks_off_is_transcribed_so_far_and_told_once(
    format_name: str, command: Command, installed: Path, jfk: Path
) -> None:
    whole = jfk.read_bytes()
    installed.joinpath("cut.flac").write_bytes(whole[: len(whole) // 2])
    code, out, err = command(
        *("cut.flac", "--pace", "fast", "--backend", "scripted", "--format", format_name),
        *("--output", "cut.txt"),
    )
    assert code == 2
    assert "cut.flac breaks off at 5.4 s of 11.0 s" in one_line(err)
    written = installed.joinpath("cut.txt").read_text()
    assert len(written.split()) > 5
    if format_name == "text":
        assert out == written


def test_a_nan_ends_the_run_with_what_was_heard_before(command: Command, installed: Path) -> None:
    samples = cli_plugin.SAID.audio()
    samples[80_000] = np.nan
    write_wav(installed / "nan.wav", samples.tobytes(), code=3, bits=32)
    code, out, err = command("nan.wav", "--pace", "fast", "--backend", "scripted", "--vad", "loud")
    assert code == 2
    assert "not a number (NaN or infinite) at 5.0 s" in one_line(err)
    assert len(out.split()) > 5


# -- output -------------------------------------------------------------------------------------


def test_every_output_gets_its_format(command: Command, installed: Path, jfk: Path) -> None:
    code, out, err = command(
        *(jfk, "--pace", "fast", "--backend", "scripted", "--label", "Jürgen"),
        *("--output", "a.jsonl", "--output", "a.srt", "--output", "a.VTT", "--output", "a.txt"),
    )
    assert (code, err) == (0, "")
    events = [event_from_json(line) for line in Path("a.jsonl").read_text("utf-8").splitlines()]
    assert isinstance(events[-1], SessionEnded)
    committed = "".join(e.text for e in events if isinstance(e, Committed))
    assert committed == "".join(e.text for e in events if isinstance(e, Final))
    assert out == Path("a.txt").read_text("utf-8")
    assert out.startswith("Jürgen: ")
    assert "-->" in Path("a.srt").read_text("utf-8")
    assert Path("a.VTT").read_text("utf-8").startswith("WEBVTT")


def test_an_output_that_cannot_be_written_exits_with_1(
    command: Command, installed: Path, jfk: Path
) -> None:
    installed.joinpath("folder.srt").mkdir()
    for name, says in (
        ("nowhere/a.srt", "the folder nowhere does not exist; create it first"),
        ("folder.srt", "cannot write folder.srt: Is a directory"),
    ):
        code, out, err = command(jfk, "--backend", "scripted", "--output", name)
        assert (code, out) == (1, "")
        assert says in one_line(err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_exits_with_1_and_keeps_the_other_outputs(
    command: Command, installed: Path, jfk: Path
) -> None:
    installed.joinpath("full.srt").symlink_to("/dev/full")
    code, out, err = command(
        *(jfk, "--pace", "fast", "--backend", "scripted"),
        *("--output", "a.txt", "--output", "full.srt"),
    )
    assert code == 1
    reason = "cannot write full.srt: No space left on device"
    assert err.splitlines() == [
        f"error: {reason}; going on without it",
        f"stream-transcribe: {reason}",
    ]
    assert out == Path("a.txt").read_text()
    assert out


def test_a_fixed_pass_cost_makes_logs_identical_byte_by_byte(
    command: Command, installed: Path, jfk: Path
) -> None:
    run = (jfk, "--pace", "simulated", "--pass-cost", "0.2", "--backend", "scripted")
    logs = []
    for name in ("a.jsonl", "b.jsonl"):
        assert command(*run, "--format", "jsonl", "--output", name)[0] == 0
        logs.append(Path(name).read_bytes())
    assert logs[0] == logs[1]
    assert b'"committed"' in logs[0]


def test_words_are_replaced_in_every_output_and_hotwords_come_from_a_file(
    command: Command, installed: Path, jfk: Path
) -> None:
    said = [word.text.strip() for word in cli_plugin.SAID.words]
    rules = f"# rules\n{said[2]} {said[3]} -> Third & Fourth\n{said[-1]} -> *\n"
    installed.joinpath("rules.txt").write_text(rules)
    installed.joinpath("names.txt").write_text("# people\nGutenberg\nPeter Schoeffer\n")
    code, out, _ = command(
        *(jfk, "--pace", "fast", "--backend", "scripted", "--replace", "rules.txt"),
        *("--hotwords", "Lubeck,Gutenberg", "--hotwords-file", "names.txt"),
        *("--output", "log.jsonl", "--output", "out.txt"),
    )
    assert code == 0
    for text in (out, Path("log.jsonl").read_text(), Path("out.txt").read_text()):
        assert "Third & Fourth" in text
        assert f"{said[-2]} ****" in text
        assert said[-1] not in text
    started = json.loads(Path("log.jsonl").read_text().splitlines()[0])
    assert started["options"]["hotwords"] == ["Lubeck", "Gutenberg", "Peter Schoeffer"]


@pytest.mark.parametrize("option", ["--replace", "--hotwords-file"])
def test_files_of_words_are_no_outputs_and_must_say_something(
    option: str, command: Command, installed: Path, jfk: Path
) -> None:
    words = installed / "words.txt"
    words.write_text("a -> b\n")
    code, _, err = command(jfk, option, words, "--output", "words.txt", "--backend", "scripted")
    assert (code, one_line(err)) == (
        2,
        "words.txt is an input; writing to it would destroy it",
    )
    words.write_text("# nothing\n")
    code, _, err = command(jfk, option, words, "--backend", "scripted")
    assert code == 2
    assert "words.txt" in one_line(err)
    assert words.read_text() == "# nothing\n"


def test_parameters_reach_the_policy(command: Command, jfk: Path) -> None:
    def first_commit_s(policy: str) -> float:
        code, out, _ = command(
            *(jfk, "--pace", "simulated", "--pass-cost", "0.1", "--format", "jsonl"),
            *("--backend", "scripted", "--policy", policy),
        )
        assert code == 0
        return next(
            float(event["clock_s"])
            for event in map(json.loads, out.splitlines())
            if event["type"] == "committed"
        )

    eager, two, four = (
        first_commit_s(policy) for policy in ("eager:n=1", "local-agreement", "local-agreement:n=4")
    )
    assert eager < two < four


def test_third_parties_sources_detectors_and_sinks_are_found_by_name(
    command: Command, installed: Path
) -> None:
    code, out, err = command(
        *("script://5", "--pace", "fast", "--backend", "scripted:pass_s=0.001", "--vad", "loud"),
        *("--sink", "counter:path=a", "--sink", "counter:path=b"),
    )
    assert (code, err) == (0, "")
    assert int(Path("a").read_text()) == int(Path("b").read_text()) == len(out.split()) > 5


def test_a_second_terminal_view_is_a_sink_like_any_other(command: Command, jfk: Path) -> None:
    run = (jfk, "--pace", "fast", "--backend", "scripted")
    _, once, _ = command(*run)
    code, twice, err = command(*run, "--sink", "view")
    assert (code, err) == (0, "")
    assert sorted(twice) == sorted(2 * once) != []


def test_a_backend_that_goes_on_failing_exits_with_1_and_keeps_what_was_committed(
    command: Command, jfk: Path
) -> None:
    code, out, err = command(jfk, "--pace", "fast", "--backend", "scripted:fails_from=8")
    assert code == 1
    *told, last = err.splitlines()
    assert len(told) == 2
    assert all("the next pass hears the audio again" in line for line in told)
    assert one_line(last + "\n") == "the script says that this pass fails"
    assert out.split()


# -- a final model ------------------------------------------------------------------------------


def test_text_and_subtitles_have_what_the_final_model_heard(
    command: Command, installed: Path, jfk: Path
) -> None:
    run = (jfk, "--pace", "fast", "--backend", "scripted", "--final-model", "shouting")
    files = ("--output", "a.txt", "--output", "a.srt", "--output", "a.jsonl")
    code, out, err = command(*run, *files)
    assert (code, err) == (0, "")
    assert out == Path("a.txt").read_text()
    assert out.split()
    assert out == out.upper()
    cues = Path("a.srt").read_text()
    assert cues == cues.upper()
    events = [event_from_json(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert check_events(event for event in events if event is not None) == []
    assert {e.model for e in events if isinstance(e, Refined)} == {"shouting"}
    assert all(e.text == e.text.lower() for e in events if isinstance(e, Final))
    assert isinstance(events[0], SessionStarted)
    assert events[0].options["final_model"] == "shouting"

    code, raw, _ = command(*run, *files, "--raw")
    assert code == 0
    assert raw == raw.lower() == Path("a.txt").read_text()
    assert raw.split()
    assert "-->" in Path("a.srt").read_text()
    assert Path("a.srt").read_text() == Path("a.srt").read_text().lower()


def test_a_final_model_that_does_not_exist_is_one_line(
    command: Command, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(*, model: str, threads: int, progress: Any) -> ScriptedBackend:
        if model == "gigantic":
            ModelStore().path(model)
        return cli_plugin.backend(model=model, threads=threads, progress=progress)

    monkeypatch.setitem(compose.BACKENDS, "auto", backend)
    code, out, err = command(jfk, "--pace", "fast", "--final-model", "gigantic")
    assert (code, out) == (2, "")
    assert "there is no model 'gigantic'" in one_line(err)


def test_evaluate_reports_the_refined_text_too(
    command: Command, installed: Path, jfk: Path
) -> None:
    said = "".join(word.text for word in cli_plugin.SAID.words)
    installed.joinpath("said.txt").write_text(said)
    evaluate = ("evaluate", jfk, "said.txt", "--json", "--backend", "scripted")
    fixed = ("--pass-cost", "0.1", "--log", "log.jsonl")
    code, out, _ = command(*evaluate, *fixed, "--final-model", "shouting")
    assert code == 0
    assert json.loads(out)["refined_wer"] < 0.5
    assert '"refined"' in Path("log.jsonl").read_text()
    code, out, _ = command(*evaluate, *fixed)
    assert code == 0
    assert json.loads(out)["refined_wer"] is None


# -- evaluate and doctor ------------------------------------------------------------------------


def test_evaluate_measures_one_recording_and_writes_the_log(
    command: Command, installed: Path, jfk: Path
) -> None:
    said = "".join(word.text for word in cli_plugin.SAID.words)
    installed.joinpath("said.txt").write_text(said)
    code, out, err = command(
        *("evaluate", jfk, "said.txt", "--json", "--log", "log.jsonl"),
        *("--backend", "scripted", "--pass-cost", "0.1"),
    )
    assert (code, err) == (0, "evaluating jfk.flac ...\n")
    assert json.loads(out)["wer"] < 0.5
    assert Path("log.jsonl").read_text().splitlines()[-1].startswith('{"type": "session_ended"')


def test_evaluate_tells_of_an_unwritable_log_before_it_runs(command: Command, jfk: Path) -> None:
    code, _, err = command("evaluate", jfk, "--log", "nowhere/log.jsonl")
    assert code == 1
    assert one_line(err) == "cannot write nowhere/log.jsonl: No such file or directory"


def test_doctor_measures_the_pipeline_and_is_content(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compose.BACKENDS, "auto", cli_plugin.backend)
    code, out, err = command("doctor")
    assert (code, err) == (0, "")
    fields = {line[:18].strip(): line[19:] for line in out.splitlines()}
    assert fields.keys() >= {"platform", "processor", "numpy", "model cache"}
    assert fields["microphone"]
    assert fields["loopback"]
    assert "real-time factor 0.0" in fields["speed"]
    assert fields["speed"].endswith("; keeps up")


def test_doctor_says_how_to_get_a_model(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_TRANSCRIBE_CACHE", str(tmp_path / "cache"))
    for hub in ("STREAM_TRANSCRIBE_HUB", "STREAM_TRANSCRIBE_CT2_HUB"):
        monkeypatch.setenv(hub, "http://127.0.0.1:9")
    code, out, err = command("doctor", "--model", "small")
    assert (code, err) == (1, "")
    assert "HUB to a mirror" in out.splitlines()[-1]
    code, out, _ = command("doctor", "--model", "gigantic")
    assert code == 2
    assert "there is no model 'gigantic'" in out.splitlines()[-1]


# -- the real model -----------------------------------------------------------------------------


@pytest.mark.needs_model
def test_the_real_model_gives_identical_logs_too(
    command: Command, tmp_path: Path, jfk: Path
) -> None:
    with av.open(str(jfk)) as container:  # the first four seconds are enough
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    start = write_wav(tmp_path / "start.wav", np.concatenate(frames, axis=1)[0][:64_000].tobytes())
    logs = []
    for _ in range(2):
        run = ("--pace", "simulated", "--pass-cost", "0.2", "--format", "jsonl")
        code, out, err = command(start, *run)
        assert (code, err) == (0, "")
        logs.append(out)
    assert logs[0] == logs[1]
    finals = [json.loads(line)["text"] for line in logs[0].splitlines() if '"final"' in line]
    assert "my fellow americans" in "".join(finals).lower()


@pytest.mark.needs_model
def test_the_real_models_give_each_utterance_two_texts(
    command: Command, installed: Path, jfk: Path
) -> None:
    code, out, err = command(
        *(jfk, "--pace", "fast", "--final-model", "base", "--format", "jsonl"),
        *("--output", "a.txt", "--chunk", "2"),
    )
    assert (code, err) == (0, "")
    events = [event_from_json(line) for line in out.splitlines()]
    assert check_events(event for event in events if event is not None) == []
    finals = [event for event in events if isinstance(event, Final)]
    refined = [event for event in events if isinstance(event, Refined)]
    assert len(refined) == len(finals) >= 2
    assert {event.model for event in refined} == {"base"}
    for final, better in zip(finals, refined, strict=True):
        assert final.utterance == better.utterance
        assert final.start_s - 0.2 <= better.words[0].start_s
        assert better.words[-1].end_s <= final.end_s + 0.2
    text = Path("a.txt").read_text()
    assert text == "".join(f"{event.text.strip()}\n" for event in refined)
    said = [key(word) for word in text.split()]
    assert " ".join(said) == (
        "and so my fellow americans ask not what your country can do for you "
        "ask what you can do for your country"
    )
