"""The evaluation of one clip or of a set: pooled, with a JSON form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Literal

from .delays import Distribution, distribution
from .environment import machine, versions
from .measure import Measurement
from .punctuation import LabelCount
from .text import ErrorCount, error_unit

__all__ = ["WORD_TIMES", "Evaluation", "evaluate"]

WORD_TIMES = "one offline pass over the whole file, with the same weights"
"""Where the true end of a word comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Quality and delay. None stands for what could not be measured.

    Over a set, errors and delays are pooled: every word counts alike, whatever its clip.
    """

    name: str
    model: str
    backend: str
    wer: float | None
    """Word error rate of the committed text; by characters where every clip is in a language
    without spaces (``error_unit``). Clips without a reference do not count."""
    offline_wer: float | None
    """The same of one offline pass."""
    wer_lost: float | None
    """``wer - offline_wer``: what streaming costs."""
    refined_wer: float | None
    """Error rate of the refined text; None without a final model."""
    error_unit: Literal["word", "character"]
    cer: float | None
    """Character error rate of the clips in languages without spaces."""
    offline_cer: float | None
    commit_delay_s: Distribution | None
    """Commit of a word minus its true end."""
    partial_delay_s: float | None
    """First display of a word, tentative or committed, minus its true end: the median."""
    partial_delay_p95_s: float | None
    first_partial_s: float | None
    """First text of a stretch of speech minus the start of its first word: the median."""
    stop_to_final_s: float | None
    """Final minus true end of speech, endpoint silence included: the median."""
    stop_to_final_p95_s: float | None
    endpoint_to_final_s: float | None
    """Final minus the moment its endpoint was known: the median."""
    endpoint_to_final_p95_s: float | None
    laal_s: float | None
    """Length-adaptive average lagging: the mean over utterances."""
    erasure: float | None
    """Tentative words taken back per committed word."""
    punctuation_f1: float | None
    """Against the offline pass, over the words both have."""
    casing_f1: float | None
    real_time_factor: float | None
    """Compute time over audio time."""
    audio_s: float
    audio_dropped_s: float
    compute_s: float
    passes: int
    words: int
    """Committed words."""
    aligned_words: int
    """Those with a counterpart in the offline pass: the ones that delays count."""
    word_times: str
    options: Mapping[str, Any]
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    clips: tuple[Evaluation, ...] = ()
    """The clips of a set, one by one."""

    def to_json(self) -> str:
        """One JSON object; seconds rounded to milliseconds, rates to four decimals."""
        return json.dumps(self._body(), ensure_ascii=False, allow_nan=False, indent=2)

    def _body(self) -> dict[str, Any]:
        body = {
            field.name: _plain(field.name, getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name != "clips"
        }
        if self.clips:
            same = ("model", "backend", "word_times", "options", "machine", "versions")
            body["clips"] = [
                {name: value for name, value in clip._body().items() if name not in same}
                for clip in self.clips
            ]
        return body


def evaluate(measurements: Sequence[Measurement]) -> Evaluation:
    """Pool measurements of runs with the same model and options on this machine.

    Args:
        measurements: at least one; of several, ``clips`` holds each by itself.
    """
    first = measurements[0]
    words = [m for m in measurements if error_unit(m.language) == "word"]
    characters = [m for m in measurements if error_unit(m.language) == "character"]
    wer, offline_wer = _rates(words or characters)
    cer, offline_cer = _rates(characters)
    commit_delays_s = [d for m in measurements for d in m.commit_delays_s]
    partial = distribution([d for m in measurements for d in m.partial_delays_s])
    first_text = distribution([d for m in measurements for d in m.first_partial_s])
    final = distribution([d for m in measurements for d in m.stop_to_final_s])
    endpoint = distribution([d for m in measurements for d in m.endpoint_to_final_s])
    laal_s = [value for m in measurements for value in m.laal_s]
    audio_s = sum(m.audio_s for m in measurements)
    compute_s = sum(m.compute_s for m in measurements)
    n_words = sum(m.words for m in measurements)
    several = len(measurements) > 1
    return Evaluation(
        name=f"{len(measurements)} clips" if several else first.name,
        model=first.model,
        backend=first.backend,
        wer=wer,
        offline_wer=offline_wer,
        refined_wer=_rate(m.refined_errors for m in words or characters),
        wer_lost=None if wer is None or offline_wer is None else wer - offline_wer,
        error_unit="word" if words else "character",
        cer=cer,
        offline_cer=offline_cer,
        commit_delay_s=distribution(commit_delays_s),
        partial_delay_s=partial.p50 if partial else None,
        partial_delay_p95_s=partial.p95 if partial else None,
        first_partial_s=first_text.p50 if first_text else None,
        stop_to_final_s=final.p50 if final else None,
        stop_to_final_p95_s=final.p95 if final else None,
        endpoint_to_final_s=endpoint.p50 if endpoint else None,
        endpoint_to_final_p95_s=endpoint.p95 if endpoint else None,
        laal_s=sum(laal_s) / len(laal_s) if laal_s else None,
        erasure=sum(m.withdrawn for m in measurements) / n_words if n_words else None,
        punctuation_f1=_f1(m.punctuation for m in measurements),
        casing_f1=_f1(m.casing for m in measurements),
        real_time_factor=compute_s / audio_s if audio_s else None,
        audio_s=audio_s,
        audio_dropped_s=sum(m.audio_dropped_s for m in measurements),
        compute_s=compute_s,
        passes=sum(m.passes for m in measurements),
        words=n_words,
        aligned_words=len(commit_delays_s),
        word_times=WORD_TIMES,
        options=first.options,
        machine=machine(),
        versions=versions(),
        clips=tuple(evaluate([m]) for m in measurements) if several else (),
    )


def _rates(measurements: Sequence[Measurement]) -> tuple[float | None, float | None]:
    """Pooled error rates of streaming and of the offline pass."""
    return (
        _rate(m.streaming_errors for m in measurements),
        _rate(m.offline_errors for m in measurements),
    )


def _rate(counts: Iterable[ErrorCount | None]) -> float | None:
    nothing = ErrorCount(0, 0)
    return reduce(add, (count or nothing for count in counts), nothing).rate


def _f1(counts: Iterable[LabelCount]) -> float | None:
    return reduce(add, counts, LabelCount()).f1


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3 if name.endswith("_s") else 4)
    if isinstance(value, Distribution):
        return {key: round(number, 3) for key, number in dataclasses.asdict(value).items()}
    if isinstance(value, Mapping):
        return dict(value)
    return value
