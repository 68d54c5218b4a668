"""What the pictures of a report show, for those who read. All text of the log is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from statistics import median

from .bounds import clock
from .model import ReportedUtterance, SessionReport

__all__ = ["escaped", "happenings", "options", "utterances", "withdrawn", "words"]

_REASONS = {
    "silence": "a pause",
    "max_length": "it was as long as one may be",
    "flush": "it was closed by hand",
    "end_of_stream": "the audio ended",
    "": "the log ends here",
}


def escaped(text: object) -> str:
    """As HTML shows it; what direction it is written in stays inside."""
    return f"<bdi>{html.escape(str(text))}</bdi>"


def utterances(report: SessionReport) -> str:
    """A table of what was said, an utterance a row."""
    if not report.utterances:
        return "<p>Nothing was said, or nothing of it was heard.</p>"
    heads = ["#", "from", "to", "text", "ended by"]
    if report.timed:
        heads += ["half certain after", "slowest word", "final after its end"]
    rows = [_utterance_row(each, report.timed) for each in report.utterances]
    caption = "Delays are seconds: from the end of a word to its being certain."
    return _table("What was said", caption if report.timed else "", heads, rows)


def _utterance_row(each: ReportedUtterance, timed: bool) -> list[str]:
    text = escaped(each.text.strip())
    if each.refined is not None and each.refined != each.text:
        text += (
            f"<br><small>heard again by the larger model: {escaped(each.refined.strip())}</small>"
        )
    row = [str(each.number), clock(each.start_s), clock(each.end_s), text]
    row.append(escaped(_REASONS.get(each.reason, each.reason)))
    if timed:
        delays_s = [word.commit_delay_s for word in each.words]
        row.append(f"{median(delays_s):.2f}" if delays_s else "")
        row.append(f"{max(delays_s):.2f}" if delays_s else "")
        late_s = None if each.final_s is None else each.final_s - each.end_s
        row.append("" if late_s is None else f"{late_s:.2f}")
    return row


def words(report: SessionReport) -> str:
    """A table of every word, folded away."""
    if not report.words:
        return ""
    heads = ["from (s)", "to (s)", "text", "sure"]
    if report.timed:
        heads += ["on screen after (s)", "certain after (s)"]
    rows = []
    for word in report.words:
        row = [f"{word.start_s:.2f}", f"{word.end_s:.2f}", escaped(word.text.strip())]
        row.append(f"{word.probability:.0%}")
        if report.timed:
            row += [f"{word.shown_delay_s:.2f}", f"{word.commit_delay_s:.2f}"]
        rows.append(row)
    return _folded(f"Every word ({len(rows):,})", _table("Words", "", heads, rows))


def withdrawn(report: SessionReport) -> str:
    """A table of words that were shown and taken back, folded away."""
    if not report.withdrawals:
        return ""
    rows = [
        [
            clock(each.clock_s),
            f"<s>{escaped(_text(each.words))}</s>",
            escaped(_text(each.instead) or "nothing yet"),
        ]
        for each in report.withdrawals
    ]
    summary = f"Words that were taken back ({report.n_withdrawn:,})"
    return _folded(summary, _table("Taken back", "", ["at", "text", "then it said"], rows))


def _text(said: Iterable[object]) -> str:
    text = "".join(getattr(word, "text", "") for word in said).strip()
    return text if len(text) <= 200 else text[:199] + "…"


def happenings(report: SessionReport) -> str:
    """A table of notices and lost audio; nothing if nothing happened."""
    found = [
        (each.start_s, f"{each.end_s - each.start_s:.2f} s of audio lost", each.reason)
        for each in report.dropped
    ]
    found += [(each.clock_s, each.level, each.message) for each in report.notices]
    found += [(at_s, "flush", "somebody closed what ran") for at_s in report.flushes_s]
    rows = [[clock(at_s), escaped(what), escaped(text[:500])] for at_s, what, text in sorted(found)]
    if not rows:
        return ""
    return "<h3>What happened besides</h3>" + _table(
        "Notices, lost audio and flushes", "", ["at", "what", "text"], rows
    )


def options(report: SessionReport) -> str:
    """The options of the session, folded away."""
    rows = [
        [escaped(str(name)[:100]), escaped(str(value)[:300])]
        for name, value in list(report.options.items())[:200]
    ]
    return _folded("Options of the session", _table("Options", "", ["option", "text"], rows))


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>"


def _table(name: str, caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    kinds = [_kind(head) for head in heads]
    head = "".join(
        f'<th scope="col"{kind}>{text}</th>' for text, kind in zip(heads, kinds, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    told = f"<p>{caption}</p>" if caption else ""
    return (
        f'{told}<div class="wide" role="region" aria-label="{name}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _kind(head: str) -> str:
    if head in ("text", "then it said"):
        return ' class="said"'
    return "" if head in ("ended by", "what", "option") else ' class="number"'
