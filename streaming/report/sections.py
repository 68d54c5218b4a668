"""One session of a report as HTML: numbers, pictures with words about them, tables."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from statistics import median

from . import tables
from .bounds import clip, clock
from .drawing import COLOURS
from .model import SessionReport
from .waveform import Waveform

__all__ = ["section"]

_MOVES = (
    ("earlier", "←", "Earlier"),
    ("later", "→", "Later"),
    ("closer", "+", "Zoom in"),
    ("wider", "&minus;", "Zoom out"),
    ("all", "↔", "Whole run"),
)
"""What a button does, its sign, and its words, which a narrow page leaves out."""
_SEEN_S = 0.005
"""A shorter wait is too narrow to be seen."""


def section(
    name: str,
    report: SessionReport,
    places: Mapping[str, str],
    waveform: Waveform | None,
    audio_note: str,
) -> str:
    """The part of the page that is about one session.

    Args:
        name: of the HTML element.
        report: with no more than is shown.
        places: HTML of the pictures of `plots.draw`, by their keys there.
        waveform: outline of the audio, if it is drawn.
        audio_note: a sentence about the audio, or none.
    """
    captions = {
        "overview": _overview(),
        "sound": _sound(report, waveform),
        "words": _words(report),
        "passes": _passes(report),
        "delays": _delays(report),
        "spread": _spread(report),
    }
    shown = {
        kind: f'<figure aria-label="{captions[kind][0]}">'
        f"<h3>{captions[kind][0]}</h3><figcaption>{captions[kind][1]}</figcaption>"
        f"{captions[kind][2]}{place}</figure>"
        for kind, place in places.items()
    }
    overview = shown.pop("overview")
    moves = "".join(
        f'<button type="button" data-move="{how}" aria-label="{text}">{sign}'
        f"<span> {text}</span></button>"
        for how, sign, text in _MOVES
    )
    return f"""<section id="{name}" aria-labelledby="{name}-title">
<h2 id="{name}-title">{_title(report)}</h2>
{_facts(report)}
{"".join(map(_note, _notes(report, audio_note)))}
<div>
{overview}
<div class="moves" role="group" aria-label="Move and zoom">{moves}<output></output></div>
{"".join(shown.values())}
</div>
<h3>What was said</h3>
{tables.utterances(report)}
{tables.words(report)}
{tables.withdrawn(report)}
{tables.happenings(report)}
{tables.options(report)}
</section>"""


def _title(report: SessionReport) -> str:
    label = tables.escaped(clip(report.label, 100)) if report.label else "The session"
    when = html.escape(report.started_at[:19].replace("T", " "))
    return f"{label}, {when} UTC" if when else label


def _note(text: str) -> str:
    return f'<p class="note">{text}</p>'


def _notes(report: SessionReport, audio_note: str) -> Sequence[str]:
    notes = []
    if report.end_reason is None:
        notes.append(
            f"The log breaks off at {clock(report.length_s)}: the run was ended from outside, or "
            "is still going on. What is here is what it had said until then."
        )
    elif report.end_reason != "end_of_stream":
        notes.append(f"The session ended with an error: {html.escape(report.end_reason[:100])}.")
    if report.resumed:
        notes.append(
            "The run was cut off and resumed, which hears the rest at <code>--pace fast</code> and "
            "does not keep the time of the audio. There are no delays to show."
        )
    elif not report.timed:
        notes.append(
            "The run was at <code>--pace fast</code>, which does not keep the time of the audio. "
            "There are no delays to show; <code>--pace simulated</code> has them."
        )
    elif not report.traced:
        notes.append(
            "The passes of the model were not traced. With <code>--trace</code> the log tells of "
            "each what it listened to, how long it ran, and what came of it."
        )
    if audio_note:
        notes.append(html.escape(audio_note))
    return [*notes, *map(html.escape, report.left_out)]


def _facts(report: SessionReport) -> str:
    facts = [
        ("model", report.model[:60], report.backend[:60]),
        ("audio", clock(report.audio_s), _language(report)),
        ("words", f"{report.n_words:,}", f"in {_number(report.n_utterances, 'utterance')}"),
    ]
    if (delay := report.commit_delay) is not None:
        more = f"95 % after {delay.p95:.2f} s, the slowest after {delay.max:.2f} s"
        facts.append(("half of the words certain after", f"{delay.p50:.2f} s", more))
    if (delay := report.shown_delay) is not None:
        more = f"95 % after {delay.p95:.2f} s"
        facts.append(("half of the words on screen after", f"{delay.p50:.2f} s", more))
    if report.real_time_factor is not None:
        facts.append(
            (
                "real-time factor",
                f"{report.real_time_factor:.2f}",
                "seconds of computing for a second of audio",
            )
        )
    if report.n_passes is not None:
        took_s = median(each.compute_s for each in report.passes) if report.passes else None
        more = "" if took_s is None else f", half of them up to {took_s:.2f} s long"
        facts.append(("passes", f"{report.n_passes:,}", f"runs of the model{more}"))
    share = report.n_withdrawn / report.n_words if report.n_words else 0.0
    facts.append(
        ("words taken back", f"{report.n_withdrawn:,}", f"{share:.2f} for each that stayed")
    )
    lost = f"in {_number(report.n_dropped, 'piece')}" if report.n_dropped else ""
    facts.append(("audio lost", f"{report.dropped_s:.1f} s", lost))
    facts.append(("notices", f"{report.n_notices:,}", ""))
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{tables.escaped(value)}<small>{tables.escaped(more)}</small></dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="facts">{rows}</dl>'


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _language(report: SessionReport) -> str:
    found = dict.fromkeys(each.language for each in report.utterances if each.language)
    return "language " + ", ".join(list(found)[:6]) if found else ""


_Caption = tuple[str, str, str]
"""Title, a sentence, and the legend, all HTML."""


def _overview() -> _Caption:
    return (
        "The whole run",
        "The frame is the part that the pictures below show. Drag it, or use the buttons.",
        "",
    )


def _sound(report: SessionReport, waveform: Waveform | None) -> _Caption:
    legend = [] if waveform is None else [("area", "sound", "loudness of the sound")]
    legend += [
        ("area", "speech", "speech was found here"),
        ("bar", "utterance", "an utterance: what was said between two pauses"),
    ]
    if report.dropped:
        legend.append(("bar", "lost", "audio that was lost"))
    if report.notices and report.timed:
        legend.append(("triangle", "notice", "a notice"))
    if report.flushes_s:
        legend.append(("dashes", "flush", "somebody closed what ran"))
    sentence = "Point at an utterance to read it; all are in the table below."
    return "What was heard", sentence, _legend(legend)


def _words(report: SessionReport) -> _Caption:
    legend = [
        ("bar", "said", "the word is being said"),
        ("ring", "shown", "on screen from here on"),
        ("dot", "certain", "certain: it will not change any more"),
    ]
    if report.withdrawals:
        legend.append(("cross", "withdrawn", "words that were shown are taken back"))
    sentence = (
        "Every word is a line, from where it was said to when it was certain: the shorter, the "
        "quicker. Lines go down only so that they do not hide each other."
    )
    return "Each word on its way", sentence, _legend(legend)


def _passes(report: SessionReport) -> _Caption:
    if not report.traced:
        sentence = "Each stroke is a moment at which the model had run and the text changed."
        return "When text came", sentence, ""
    legend = [
        ("bar", "committing", "made words certain"),
        ("bar", "tentative", "made none certain"),
    ]
    if any(each.looped for each in report.passes):
        legend.append(("bar", "looped", "repeated itself"))
    if any(each.queue_s >= _SEEN_S for each in report.passes):
        legend.append(("bar", "queued", "waited for its turn"))
    sentence = (
        "Every bar is one run of the model, a pass: as wide as the time that it took. It reaches "
        "back as far as the model listened, from the moment of the run (0). It grows while people "
        "speak, and is cut when older audio is let go."
    )
    return "When the model ran, and how far back it listened", sentence, _legend(legend)


def _delays(report: SessionReport) -> _Caption:
    sentence = (
        "Every word stands at the time it was said. The higher, the later it came: seconds after "
        "the word's end."
    )
    legend = [("ring", "shown", "on screen"), ("dot", "certain", "certain"), *_percentiles(report)]
    return "How late each word was", sentence, _legend(legend)


def _spread(report: SessionReport) -> _Caption:
    sentence = "The further left the bars, the quicker the text. Both kinds count every word."
    legend = [("bar", "shown", "on screen"), ("bar", "certain", "certain"), *_percentiles(report)]
    return "How many words were how late", sentence, _legend(legend)


def _percentiles(report: SessionReport) -> Sequence[tuple[str, str, str]]:
    if (delay := report.commit_delay) is None:
        return ()
    return (
        ("line", "certain", f"half of the words were certain after {delay.p50:.2f} s"),
        ("dashes", "certain", f"95 % of them after {delay.p95:.2f} s"),
    )


_SHAPES = {
    "area": '<rect width="14" height="9" fill-opacity=".45"/>',
    "bar": '<rect y="1" width="14" height="7"/>',
    "dot": '<circle cx="7" cy="4.5" r="4"/>',
    "ring": '<circle cx="7" cy="4.5" r="3.4" fill="none" stroke-width="2"/>',
    "cross": '<path d="M3 1l8 7M11 1l-8 7" stroke-width="2"/>',
    "triangle": '<path d="M2 1h10l-5 7z"/>',
    "line": '<path d="M0 4.5h14" stroke-width="2"/>',
    "dashes": '<path d="M0 4.5h14" stroke-width="2" stroke-dasharray="4 2"/>',
}


def _legend(items: Sequence[tuple[str, str, str]]) -> str:
    """Shape, what its colour stands for, and words."""
    rows = "".join(
        f'<li><svg viewBox="0 0 14 9" fill="{COLOURS[colour]}" stroke="{_stroke(shape, colour)}" '
        f'aria-hidden="true">{_SHAPES[shape]}</svg>{text}</li>'
        for shape, colour, text in items
    )
    return f'<ul class="legend">{rows}</ul>'


def _stroke(shape: str, colour: str) -> str:
    return COLOURS[colour] if shape in ("ring", "cross", "line", "dashes") else "none"
