"""Error rates, delays and real-time factor of the default options, clip by clip.

Every clip is streamed in simulated pace with the real model (each pass takes what it really
takes) and decoded once more offline, which also gives the word ends that delays count from.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from _report import RECORDINGS, report

from streaming.app import Settings, make_worker
from streaming.app.evaluate_command import measure_clip
from streaming.evaluation import Evaluation, check_events, evaluate, load_manifest

_ENGLISH = (
    "bush_radio_127s",
    "printing_231s",
    "printing_office_5db",
    "bush_columbia_29s",
    "harvard_18s",
    "jfk_11s",
)
_OTHERS = (
    "veneno_es_70s",
    "simplicissimus_de_68s",
    "consulat_fr_7s",
    "kyakkan_ja_5s",
    "guangzhou_zh_4s",
)


def _row(settings: Settings, clip: str, e: Evaluation) -> dict[str, str | float]:
    delay = e.commit_delay_s
    assert delay is not None
    assert e.wer is not None
    assert e.offline_wer is not None
    endpoint_s = e.endpoint_to_final_p95_s
    unit = "CER" if e.error_unit == "character" else "WER"
    return {
        "backend": settings.backend,
        "model": settings.model,
        "clip": clip,
        "audio s": f"{e.audio_s:.0f}",
        "error %": f"{unit} {100 * e.wer:.1f}",
        "offline %": f"{100 * e.offline_wer:.1f}",
        "lost, points": f"{100 * (e.wer - e.offline_wer):+.1f}",
        "delay p50 s": f"{delay.p50:.2f}",
        "p95 s": f"{delay.p95:.2f}",
        "max s": f"{delay.max:.2f}",
        "first partial s": f"{e.first_partial_s or 0:.2f}",
        "stop to final s": f"{e.stop_to_final_s or 0:.2f}",
        "endpoint to final p95 s": "-" if endpoint_s is None else f"{endpoint_s:.2f}",
        "erasure": f"{e.erasure or 0:.2f}",
        "RTF": f"{e.real_time_factor or 0:.2f}",
    }


async def _rows(settings: Settings, names: tuple[str, ...]) -> list[dict[str, str | float]]:
    clips = {clip.name: clip for clip in load_manifest(RECORDINGS / "manifest.json")}
    worker = make_worker(settings)
    rows, measurements = [], []
    try:
        for name in names:
            print(f"{settings.backend} {settings.model} {name} ...", file=sys.stderr, flush=True)
            measurement, events = await measure_clip(clips[name], settings, worker)
            broken = check_events(events)
            if broken:
                raise SystemExit(f"{name}: {broken}")
            measurements.append(measurement)
            rows.append(_row(settings, name, evaluate([measurement])))
    finally:
        worker.close()
    if settings.english_only:
        rows.append(_row(settings, "all of these", evaluate(measurements)))
    return rows


def _measure() -> Iterator[dict[str, str | float]]:
    for backend in ("ctranslate2", "whisper.cpp"):
        yield from asyncio.run(_rows(Settings(backend=backend, pace="simulated"), _ENGLISH))
        base = Settings(backend=backend, model="base", language="auto", pace="simulated")
        yield from asyncio.run(_rows(base, _OTHERS))


if __name__ == "__main__":
    report(
        "Clips, streamed",
        lambda: list(_measure()),
        ("ctranslate2", "pywhispercpp", "numba", "numpy"),
        recordings=True,
    )
