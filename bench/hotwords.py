"""Names in the recordings, with and without telling the model of them before.

"told" is what the model is told: nothing, the names of the clip (as somebody would who knows
what is going to be spoken of), or these behind eight that are not said. Passes have a fixed
cost on the virtual clock, so that the rows differ in nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from _backends import BACKENDS, add_backend_option, load
from _report import RECORDINGS, report

from streaming import Committed, Event
from streaming.app import Settings
from streaming.app.evaluate_command import measure_clip, offline_words
from streaming.evaluation import Clip, Measurement, check_events, evaluate, load_manifest
from streaming.words import key

NAMES = {
    "printing_231s": "Gutenberg Bible, Netherlands, Maintz, Peter Schoeffer, Gothic, Strasburg, "
    "Basle, Lubeck, Sweynheim, Pannartz, Subiaco, missal, psalters, letterpress",
    "bush_radio_127s": "Election Day, Republicans, Democrats, Bunker Hill, Baghdad, Georgia, "
    "Ukraine, Afghanistan, Iraq",
    "bush_columbia_29s": "Mission Control, Houston, Space Shuttle Columbia, Texas",
    "harvard_18s": "Tacos al pastor, hot cross bun",
    "jackhammer_3s": "stale smell",
    "office_ambience_60s": "",
}
OTHERS = "Kowalczyk, Nakamura, O'Shaughnessy, Mbeki, Reykjavik, Kubernetes, Postgres, Zürich"
PASS_COST_S = {"whisper.cpp": 0.25, "ctranslate2": 0.1}


def _terms(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(", ")))


def _keys(text: str) -> list[str]:
    return [found for word in text.split() if (found := key(word))]


def count(term: str, text: str) -> int:
    """How often a name stands in a text."""
    wanted, words = _keys(term), _keys(text)
    return sum(words[i : i + len(wanted)] == wanted for i in range(len(words)))


def _row(
    backend: str,
    told: str,
    hotwords: Sequence[str],
    clip: Clip,
    events: Sequence[Event],
    measured: Measurement,
) -> dict[str, str | float]:
    text = "".join(event.text for event in events if isinstance(event, Committed))
    reference = clip.reference or ""
    names = _terms(NAMES[clip.name])
    said = sum(count(name, reference) for name in names)
    heard = sum(min(count(name, reference), count(name, text)) for name in names)
    invented = sum(max(count(name, text) - count(name, reference), 0) for name in hotwords)
    wer = evaluate([measured]).wer
    return {
        "backend": backend,
        "clip": clip.name,
        "told": told,
        "names heard": f"{heard} of {said}" if said else "-",
        "invented": str(invented) if clip.reference or not names else "-",
        "WER %": "-" if wer is None else f"{100 * wer:.1f}",
        "words": str(measured.words),
    }


async def _rows(backend: str) -> list[dict[str, str | float]]:
    plain = Settings(backend=backend, pace="simulated", pass_cost_s=PASS_COST_S[backend])
    worker = load(plain)
    if worker is None:
        return []
    clips = {clip.name: clip for clip in load_manifest(RECORDINGS / "manifest.json")}
    rows = []
    try:
        for name, names in NAMES.items():
            clip = clips[name]
            offline = await offline_words(clip, plain, worker)
            for told, text in (
                ("nothing", ""),
                ("its names", names),
                ("and eight more", ", ".join([OTHERS, names])),
            ):
                if told == "its names" and not names:
                    continue
                print(f"{backend} {name}, told {told} ...", file=sys.stderr, flush=True)
                settings = replace(plain, hotwords=_terms(text))
                measured, events = await measure_clip(clip, settings, worker, offline=offline)
                if broken := check_events(events):
                    raise SystemExit(f"{name}: {broken}")
                rows.append(_row(backend, told, settings.hotwords, clip, events, measured))
    finally:
        worker.close()
    return rows


def _measure(backends: Sequence[str] | None) -> Iterator[dict[str, str | float]]:
    for backend in backends or BACKENDS:
        yield from asyncio.run(_rows(backend))


if __name__ == "__main__":
    report(
        "Names",
        lambda **chosen: list(_measure(**chosen)),
        ("ctranslate2", "pywhispercpp", "numba", "numpy"),
        model="tiny.en",
        options=add_backend_option,
        recordings=True,
    )
