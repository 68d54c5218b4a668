from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from sinks.exec import ExecSink
from streaming.errors import ConfigurationError
from streaming.events import (
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    Word,
    event_from_json,
)
from streaming.protocols import Reporting, Sink
from streaming.testing import check_sink


def run(sink: ExecSink, events: Sequence[Event], *, pause_s: float = 0.0) -> list[Notice]:
    """Write events and leave; what was told meanwhile."""
    told: list[Notice] = []
    sink.report = told.append

    async def main() -> None:
        async with sink:
            for event in events:
                await sink.write(event)
                await asyncio.sleep(pause_s)

    asyncio.run(main())
    assert not psutil.Process().children(), "it leaves no process behind, and no zombie"
    return told


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def finals(*texts: str) -> list[Final]:
    return [Final(session="s", utterance=n, text=f" {text}") for n, text in enumerate(texts)]


def codes(told: list[Notice]) -> list[str]:
    return [notice.code for notice in told]


async def written(path: Path) -> None:
    def nothing() -> bool:
        return not path.exists() or not path.read_text()

    while nothing():  # noqa: ASYNC110 (files have no events)
        await asyncio.sleep(0.01)


def until_gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_every_final_is_handed_over_in_order(tmp_path: Path) -> None:
    notes = tmp_path / "my notes.txt"
    sink = ExecSink(f"tee -a '{notes}'")
    assert isinstance(sink, Sink)
    assert isinstance(sink, Reporting)
    events = [
        SessionStarted(session="s"),
        Partial(session="s", tentative=" no"),
        Committed(session="s", text=" no"),
        *finals("größer,", "schöner", "\n two\nrows "),
        Final(session="s", text=" "),
        Refined(session="s", text=" not this"),
    ]
    assert run(sink, events) == []
    assert notes.read_text("utf-8") == "größer,\nschöner\ntwo rows\n"


def test_what_a_command_prints_does_not_mix_with_the_transcript(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(ExecSink(shell("cat; cat >&2; echo said >&2")), finals("text")) == []
    assert capfd.readouterr() == ("", "")


def test_no_shell_reads_a_plain_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:]))"
    run(ExecSink([sys.executable, "-c", program, str(out), "$HOME", "; ls", "*"]), finals("x"))
    assert out.read_text() == "['$HOME', '; ls', '*']"


def test_the_environment_tells_more(tmp_path: Path) -> None:
    word = Word(" Hallo", 1.5, 2.0, 0.9)
    final = Final(
        session="s",
        utterance=3,
        text=" Hallo",
        words=(word,),
        start_s=1.5,
        end_s=2.0,
        language="de",
    )
    out = tmp_path / "out"
    program = f"import os, json; open({str(out)!r}, 'w').write(json.dumps(dict(os.environ)))"
    started = SessionStarted(session="s", label="me\x00\n\udcff")
    events = [started, final, SessionEnded(session="s")]
    assert run(ExecSink([sys.executable, "-c", program]), events) == []
    env = json.loads(out.read_text())
    event = env.pop("STREAM_TRANSCRIBE_EVENT")
    assert event_from_json(event) == Final(
        session="s",
        utterance=3,
        text=" Hallo",
        words=(word,),
        start_s=1.5,
        end_s=2.0,
        language="de",
    )
    found = {name: value for name, value in env.items() if name not in os.environ}
    assert {k: v for k, v in found.items() if k.startswith("STREAM_TRANSCRIBE_")} == {
        "STREAM_TRANSCRIBE_LABEL": "me \udcff",
        "STREAM_TRANSCRIBE_LANGUAGE": "de",
        "STREAM_TRANSCRIBE_START": "1.500",
        "STREAM_TRANSCRIBE_END": "2.000",
        "STREAM_TRANSCRIBE_UTTERANCE": "3",
    }
    assert env["PATH"] == os.environ["PATH"]


def test_an_event_too_large_for_the_environment_is_left_out_of_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = ExecSink(shell(f'wc -c > {out}; test -z "$STREAM_TRANSCRIBE_EVENT"'))
    assert run(sink, finals("x" * 300_000)) == []
    assert int(out.read_text()) == 300_001


@pytest.mark.parametrize("script", ["true", "exec <&-; exit 0", "read -r word", "head -c 1"])
def test_a_command_need_not_read_what_it_is_given(script: str) -> None:
    assert run(ExecSink(shell(script)), finals("a" * 1_000_000, "b")) == []


def test_megabytes_on_either_output_are_taken_and_forgotten() -> None:
    program = "import sys; [f.write('x' * 20_000_000) for f in (sys.stdout, sys.stderr)]"
    fail = "; sys.stderr.write('\\nthe reason\\n\\n'); sys.exit(3)"
    told = run(ExecSink([sys.executable, "-c", program + fail]), finals("a"))
    assert [n.message for n in told] == [
        f"{Path(sys.executable).name} ended with status 3: the reason"
    ]


def test_the_first_failure_is_told_and_that_it_works_again(tmp_path: Path) -> None:
    script = f"read x; echo $x >> {tmp_path}/all; test $x = good || (echo oh no: $x >&2; exit 4)"
    told = run(ExecSink(shell(script)), finals("bad", "bad", "bad", "good", "good", "worse"))
    assert [(n.level, n.code, n.message) for n in told] == [
        ("warning", "exec_failed", "sh ended with status 4: oh no: bad"),
        ("info", "exec_works", "sh works again, after 3 failures"),
        ("warning", "exec_failed", "sh ended with status 4: oh no: worse"),
    ]
    assert len((tmp_path / "all").read_text().split()) == 6


def test_what_a_failure_says_is_one_short_line() -> None:
    program = "import sys; sys.stderr.buffer.write(b'\\x1b[31m\\xff' + b'x' * 5000); sys.exit(1)"
    told = run(ExecSink([sys.executable, "-c", program]), finals("a"))
    assert len(told[0].message) < 300
    assert "\x1b" not in told[0].message


def test_a_command_that_kills_itself_is_told() -> None:
    told = run(ExecSink(shell("kill -SEGV $$")), finals("a"))
    assert told[0].message == "sh was ended by SIGSEGV"


def test_a_run_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    sink = ExecSink(shell(script), time_limit_s=1)
    told = run(sink, finals("a"))
    assert [n.message for n in told] == ["sh took longer than 1 s and was ended"]
    assert until_gone(int((tmp_path / "child").read_text()))


def test_what_a_command_leaves_in_the_background_stays_and_holds_nothing_up(
    tmp_path: Path,
) -> None:
    began_s = time.monotonic()
    sink = ExecSink(shell(f"sleep 60 & echo $! >> {tmp_path}/children"))
    assert run(sink, finals("a", "b")) == []
    assert time.monotonic() - began_s < 5
    for pid in map(int, (tmp_path / "children").read_text().split()):
        child = psutil.Process(pid)
        assert child.status() != psutil.STATUS_ZOMBIE
        child.kill()


def test_a_slow_command_loses_the_oldest_and_that_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"cat >> {out}; while ! test -e {tmp_path}/go; do sleep 0.01; done"
    told: list[Notice] = []

    async def main() -> None:
        sink = ExecSink(shell(script), most_waiting=3)
        sink.report = told.append
        async with sink:
            first, *others = finals(*"abcdefg")
            await sink.write(first)
            await written(out)
            for final in others:
                await sink.write(final)
            (tmp_path / "go").touch()

    asyncio.run(main())
    assert out.read_text().split() == ["a", "e", "f", "g"]
    assert [(n.code, n.message) for n in told] == [
        ("exec_dropped", "sh is too slow; the oldest utterances are left out"),
        ("exec_dropped", "sh was too slow; 3 utterances left out"),
    ]


def test_a_second_session_is_handed_over_as_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sink = ExecSink(shell(f"cat >> {out}"))
    for text in ("a", "b"):

        async def main(final: Final) -> None:
            async with sink:
                await asyncio.sleep(0.01)  # it waits for something to do
                await sink.write(final)

        asyncio.run(main(*finals(text)))
    assert out.read_text().split() == ["a", "b"]


def test_writing_does_not_wait_for_the_command() -> None:
    async def main() -> float:
        async with ExecSink(shell("sleep 0.5")) as sink:
            began_s = time.monotonic()
            for final in finals("a", "b"):
                await sink.write(final)
            return time.monotonic() - began_s

    assert asyncio.run(main()) < 0.4


def test_leaving_works_off_what_waits_within_a_limit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"cat >> {out}; test $(wc -l < {out}) -lt 3 || sleep 60"
    began_s = time.monotonic()
    told = run(ExecSink(shell(script), drain_s=3), finals("a", "b", "c", "d"))
    assert time.monotonic() - began_s < 9
    assert out.read_text().split() == ["a", "b", "c"]
    assert [n.message for n in told] == ["sh was not done with the last 2 utterances"]


def test_after_an_error_leaving_takes_about_a_second() -> None:
    async def main() -> None:
        async with ExecSink(shell("sleep 60"), time_limit_s=100) as sink:
            for final in finals("a"):
                await sink.write(final)
            raise ValueError("elsewhere")

    began_s = time.monotonic()
    with pytest.raises(ValueError, match="elsewhere"):
        asyncio.run(main())
    assert time.monotonic() - began_s < 3


def test_what_was_left_out_is_told_however_it_ends() -> None:
    sink = ExecSink(shell("sleep 60"), most_waiting=1, drain_s=0.2)
    told = run(sink, finals("a", "b", "c", "d"), pause_s=0.02)
    assert [n.message for n in told] == [
        "sh is too slow; the oldest utterances are left out",
        "sh was not done with the last 2 utterances",
        "sh was too slow; 2 utterances left out",
    ]


def test_it_keeps_the_contract_of_sinks() -> None:
    asyncio.run(check_sink(lambda: ExecSink("true")))


def test_cancellation_kills_at_once(tmp_path: Path) -> None:
    told: list[Notice] = []

    async def main() -> float:
        sink = ExecSink(shell(f"echo $$ > {tmp_path}/pid; sleep 60"), time_limit_s=100)
        sink.report = told.append

        async def transcribe() -> None:
            async with sink:
                for final in finals("a", "b"):
                    await sink.write(final)
                await asyncio.sleep(60)

        task = asyncio.create_task(transcribe())
        await written(tmp_path / "pid")
        task.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began_s

    assert asyncio.run(main()) < 5
    assert until_gone(int((tmp_path / "pid").read_text()))
    assert codes(told) == ["exec_dropped"]


def test_a_command_that_vanishes_meanwhile_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    sink = ExecSink([str(program)])
    program.unlink()
    told = run(sink, finals("a"))
    assert [n.message for n in told] == ["program could not be started: No such file or directory"]


def test_a_command_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/sh\n")
    for command, message in (
        ("xdtool type", "there is no command 'xdtool'; a line of shell is sh -c"),
        (str(script), "script.sh is not executable: chmod [+]x"),
        ("echo 'oh", "cannot split the command: No closing quotation"),
        ("", "needs a command"),
        ([], "needs a command"),
    ):
        with pytest.raises(ConfigurationError, match=f"--exec.* ?{message}"):
            ExecSink(command)
    with pytest.raises(ConfigurationError, match="above 0"):
        ExecSink("true", time_limit_s=0)
    with pytest.raises(ConfigurationError, match="above 0"):
        ExecSink("true", most_waiting=0)
