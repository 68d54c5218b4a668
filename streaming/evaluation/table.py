"""An evaluation for people: a table with what is needed to read it."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table

from .report import Evaluation

__all__ = ["format_table"]


def format_table(evaluation: Evaluation) -> str:
    """Plain text: the clips of a set, the measures, and how and on what they were taken."""
    tables = [_clips(evaluation)] if evaluation.clips else []
    console = Console(file=io.StringIO(), width=120, color_system=None)
    with console.capture() as capture:
        for table in (*tables, _measures(evaluation)):
            console.print(table)
    return (
        "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n" + _notes(evaluation)
    )


def _clips(evaluation: Evaluation) -> Table:
    names = ("clip", "audio s", "error", "offline", "p50 s", "p95 s", "max s", "final s")
    table = Table(*names, "erasure", "RTF", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for clip in evaluation.clips:
        delay = clip.commit_delay_s
        table.add_row(
            clip.name,
            f"{clip.audio_s:.1f}",
            _percent(clip.wer) + (" (CER)" if clip.error_unit == "character" else ""),
            _percent(clip.offline_wer),
            *((_number(delay.p50), _number(delay.p95), _number(delay.max)) if delay else "---"),
            _number(clip.stop_to_final_s),
            _number(clip.erasure),
            _number(clip.real_time_factor),
        )
    return table


def _measures(evaluation: Evaluation) -> Table:
    e = evaluation
    unit = "CER" if e.error_unit == "character" else "WER"
    delay = e.commit_delay_s
    rows = [
        (unit, _percent(e.wer)),
        (f"{unit} of one offline pass", _percent(e.offline_wer)),
        (f"{unit} lost to streaming", _percent(e.wer_lost)),
    ]
    if e.refined_wer is not None:
        rows.append((f"{unit} of the refined text", _percent(e.refined_wer)))
    if e.cer is not None and e.error_unit == "word":
        rows.append(("CER, languages without spaces", _percent(e.cer)))
        rows.append(("CER of one offline pass", _percent(e.offline_cer)))
    rows += [
        ("commit delay p50", _seconds(delay.p50 if delay else None)),
        ("commit delay p95", _seconds(delay.p95 if delay else None)),
        ("commit delay max", _seconds(delay.max if delay else None)),
        ("partial delay p50", _seconds(e.partial_delay_s)),
        ("partial delay p95", _seconds(e.partial_delay_p95_s)),
        ("first partial after speech starts p50", _seconds(e.first_partial_s)),
        ("stop to final p50", _seconds(e.stop_to_final_s)),
        ("stop to final p95", _seconds(e.stop_to_final_p95_s)),
        ("endpoint to final p50", _seconds(e.endpoint_to_final_s)),
        ("endpoint to final p95", _seconds(e.endpoint_to_final_p95_s)),
        ("LAAL", _seconds(e.laal_s)),
        ("normalized erasure", _number(e.erasure)),
        ("punctuation F1", _number(e.punctuation_f1)),
        ("casing F1", _number(e.casing_f1)),
        ("real-time factor", _number(e.real_time_factor)),
        ("audio", f"{e.audio_s:.1f} s"),
    ]
    if e.audio_dropped_s:
        rows.append(("audio dropped", f"{e.audio_dropped_s:.1f} s"))
    table = Table(e.name or "measure", "", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def _notes(evaluation: Evaluation) -> str:
    e = evaluation
    machine = e.machine
    versions = ", ".join(f"{name} {version}" for name, version in e.versions.items())
    options = ", ".join(f"{name} {value}" for name, value in e.options.items())
    return "\n".join(
        (
            f"Word end times for the delays come from {e.word_times};",
            f"{e.aligned_words} of {e.words} committed words have a counterpart there and count.",
            "Percentiles interpolate linearly. Punctuation and casing are compared with that pass.",
            f"Model: {e.model} on {e.backend}; {options or 'default options'}",
            f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['os']}, "
            f"{machine['python']}",
            f"Versions: {versions}",
            "",
        )
    )


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
