"""What a source yields, before anybody believes it: audio is made sound, or refused.

Pure. The stages after it rely on samples that are numbers, in order, each at its place; here is
where a source that breaks this is told of, in the stream itself, and its audio mended where
there is a way.
"""

from __future__ import annotations

import operator
from dataclasses import replace

import numpy as np

from .audio import AudioChunk, Flush, Samples, samples_from_seconds, seconds
from .errors import SourceError
from .events import Notice
from .options import Configure
from .protocols import SourceItem

__all__ = ["InputCheck"]

_EVERY_SAMPLES = samples_from_seconds(10.0)
"""Of audio, between two notices of one kind."""
_LOUD = 100.0
"""Peak in multiples of full scale. No gain does that; integers that were passed as floats do."""
_MOST = 1e5
"""Beyond this, three times 16 bits, the squares of the spectrum come near what a float holds."""


class InputCheck:
    """Looks at one source's items, in order.

    Samples that are not finite become silence, audio that was heard before is cut off, and
    notices say so; at most one of a kind in ten seconds, each with all there was since the last.
    """

    def __init__(self) -> None:
        self._end_sample = 0
        self._seen = 0
        """Samples, whether or not they were passed on."""
        self._not_finite = 0
        self._went_back = 0
        """Samples that were cut off."""
        self._furthest = 0
        self._quiet_until = {"not_finite": 0, "went_back": 0}
        self._loud = False

    def push(self, item: object) -> list[SourceItem]:
        """Take what the source yields; returns what to go on with.

        Raises:
            SourceError: it is nothing that a source may yield.
        """
        if isinstance(item, Flush | Configure | Notice):
            return [item]
        if not isinstance(item, AudioChunk):
            raise SourceError(
                f"the source yields {type(item).__name__}; it has to yield AudioChunk, Flush, "
                "Configure or Notice"
            )
        samples, start = _checked(item)
        if not len(samples):
            return []
        items: list[SourceItem] = []
        self._seen += len(samples)
        peak = float(max(samples.max(), -samples.min()))
        if not peak <= _LOUD:
            samples = self._mend(samples, items)
        behind = self._end_sample - start
        if behind > 0:
            samples, start = samples[behind:], self._end_sample
            self._went_back += min(behind, len(item.samples))
            self._furthest = max(self._furthest, behind)
        self._tell(items)
        if len(samples):
            self._end_sample = start + len(samples)
            whole = samples is item.samples and start is item.start_sample
            items.append(item if whole else replace(item, samples=samples, start_sample=start))
        return items

    def finish(self) -> list[SourceItem]:
        """Notices that still wait, once the source has ended."""
        self._quiet_until = dict.fromkeys(self._quiet_until, 0)
        items: list[SourceItem] = []
        self._tell(items)
        return items

    def _mend(self, samples: Samples, items: list[SourceItem]) -> Samples:
        finite = np.isfinite(samples)
        self._not_finite += len(samples) - int(np.count_nonzero(finite))
        samples = np.where(finite, samples, np.float32(0))
        peak = float(np.abs(samples).max())
        if peak > _LOUD and not self._loud:
            self._loud = True
            text = (
                f"audio reaches {peak:.0f} times full scale; integers passed as floats? Divide "
                "those of 16 bits by 32768"
            )
            items.append(Notice(level="warning", code="too_loud", message=text))
        return np.clip(samples, -_MOST, _MOST)

    def _tell(self, items: list[SourceItem]) -> None:
        if self._not_finite and self._may_tell("not_finite"):
            text = f"{self._not_finite} samples are not numbers (NaN or infinite): taken as silence"
            items.append(Notice(level="warning", code="not_finite", message=text))
            self._not_finite = 0
        if self._went_back and self._may_tell("went_back"):
            text = (
                f"the source went back by {seconds(self._furthest):.2f} s; "
                f"{seconds(self._went_back):.2f} s that were heard before are left out"
            )
            items.append(Notice(level="warning", code="went_back", message=text))
            self._went_back = self._furthest = 0

    def _may_tell(self, code: str) -> bool:
        if self._seen < self._quiet_until[code]:
            return False
        self._quiet_until[code] = self._seen + _EVERY_SAMPLES
        return True


def _checked(chunk: AudioChunk) -> tuple[Samples, int]:
    """Samples and start of a chunk that is one."""
    samples = chunk.samples
    if not isinstance(samples, np.ndarray):
        raise SourceError(f"the source yields samples as {type(samples).__name__}; {_WANTED}")
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise SourceError(
            f"the source yields samples of {samples.dtype}, shape {samples.shape}; {_WANTED}"
        )
    try:
        return samples, operator.index(chunk.start_sample)
    except TypeError:
        raise SourceError(
            f"the source yields audio that starts at {chunk.start_sample!r}; {_WANTED}"
        ) from None


_WANTED = "a chunk is a NumPy array of float32, shape (n,), at a whole sample"
