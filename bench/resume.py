"""What connections that break cost a session of the caption server.

    python bench/resume.py [--backend NAME] [--runs N] [--cuts N] [--seconds S] [--json]

A recording is streamed in real time to a server, by some clients at once over one connection each,
then by as many over connections that break: in mid-word, with and without a sign. The
client is that of ``examples/live_client.py``. A log is whole when the client has every event of
the server, each once and in order.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from _backends import add_backend_option
from _clips import load
from _report import ROOT, report

from sources.file import FileSource
from streaming.evaluation import Clip
from streaming.evaluation.text import count_errors

sys.path.append(str(ROOT / "tests"))  # where there are connections that break

from broken_stream import Streamed, stream
from cutting_proxy import Cut
from server_process import serving

_CLIP = "bush_radio_127s"
_BYTES_S = 32_000


def _cuts(n_cuts: int, run_s: float) -> list[Cut]:
    """Breaks at even distances, inside a sample too; every third one without a sign."""
    apart = round(run_s / (n_cuts + 1) * _BYTES_S)
    return [Cut(up=apart + i, how="freeze" if i % 3 == 1 else "reset") for i in range(n_cuts)]


def _row(backend: str, clip: Clip, done: Streamed) -> dict[str, str | float]:
    errors = count_errors(clip.reference or "", done.text, "en")
    stats = done.of_type("stats")[-1]
    return {
        "backend": backend,
        "cuts": str(done.n_broken),
        "connections": str(done.n_connections),
        "WER %": f"{100 * (errors.rate or 0.0):.1f}",
        "words": str(len(done.text.split())),
        "events": str(len(done.seen)),
        "faults of the log": ", ".join(done.faults()) or "none",
        "dropped s": f"{sum(e['end_s'] - e['start_s'] for e in done.of_type('audio_dropped')):.1f}",
        "delay p50 s": f"{stats['delay_p50_s']:.2f}",
        "p95 s": f"{stats['delay_p95_s']:.2f}",
    }


def _measure(
    backends: list[str] | None, n_runs: int, n_cuts: int, run_s: float | None
) -> list[dict[str, str | float]]:
    (clip,) = load([_CLIP])
    rows = []
    for backend in backends or ["ctranslate2"]:
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(Path(folder), backend=backend) as server,
        ):
            server.until_ready()
            plans: list[list[Cut]] = [[], _cuts(n_cuts, run_s or 127.0)]
            for cuts in plans:
                print(f"{backend}, {len(cuts)} cuts ...", file=sys.stderr, flush=True)
                sources = [FileSource(clip.audio, duration_s=run_s) for _ in range(n_runs)]
                runs = asyncio.run(_at_once(server.port, sources, cuts))
                rows += [_row(backend, clip, done) for done in runs]
    return rows


async def _at_once(port: int, sources: list[FileSource], cuts: list[Cut]) -> list[Streamed]:
    """Runs side by side, as clients of a server are."""
    return await asyncio.gather(*(stream(port, source, cuts, dead_s=2.0) for source in sources))


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument("--runs", dest="n_runs", type=int, default=5, metavar="N", help="each")
    parser.add_argument("--cuts", dest="n_cuts", type=int, default=10, metavar="N")
    parser.add_argument(
        "--seconds",
        dest="run_s",
        type=float,
        metavar="S",
        help="of audio (default: 127); the rest counts as missed",
    )


if __name__ == "__main__":
    report(
        "Connections that break",
        _measure,
        ("websockets", "uvicorn", "ctranslate2"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
