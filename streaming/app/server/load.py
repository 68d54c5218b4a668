"""Whether one more live session would make the words of the others come late.

What is measured is work: each session's compute time per second, over the last ten seconds. A
sum of what everybody takes at this moment would promise too much, because people fall silent
and speak again, and because those who have just come have not spoken yet. So every session is
charged for what it may be about to take: a newcomer for all that a speaking session costs,
later for what it really takes, but only slowly for less of it, and never for less than a
partner in conversation speaks. One more is taken in while it fits, at its full price, with the
others into what the workers can do and as long as passes do not wait for one another.

What a speaking session costs is measured before the first one comes (`calibration`) and
corrected by what those who speak are seen to take: more where another program takes a part of
the processor, less where one did when it was measured.

Uploads are not charged: their passes let live ones go first, and have what is left. They do
not starve, since the workers are never promised to live sessions altogether and no pass lets
others go first for longer than its patience (`streaming.backends.pool`).

Measurement-based admission with peaks for those who come is as in S. Jamin, P. Danzig,
S. Shenker and L. Zhang, "A Measurement-Based Admission Control Algorithm for Integrated Service
Packet Networks", IEEE/ACM Transactions on Networking 5(1), 1997.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus

import numpy as np

from .refusal import TRY_LATER, Refusal

__all__ = ["Load"]

_SHARE = 0.9
"""Of the workers that live sessions may be charged: the rest is for uploads and for chance."""
_SILENT = 0.4
"""Least charge, in costs of a speaking session: as much as one party of a telephone conversation
speaks, 38.5 % of the time (ITU-T P.59)."""
_WINDOW_S = 10.0
"""Work is averaged over so long: a few sentences, and a session is young until then."""
_HALVED_S = 30.0
"""A charge falls at most by half in this time: a few seconds in which nobody speaks are not room
for another one. So does the cost of a speaking session."""
_SPEAKING = 0.8
"""Of the window, for a session whose work tells what speaking costs. Who pauses more often has
shorter utterances, whose passes take less."""
_UNKNOWN_COST = 1.0
"""Before it was measured: a whole worker for each."""
_LEAST_COST = 0.001

_LATE_S = 0.5
"""Passes wait too long: one in twenty has waited for a chunk of new audio, so that the next one
was due when it began. Of the 2 s within which 95 % of words should come, a session by itself
needs up to 1.5 s."""
_IN_TIME_S = 0.25
"""And they do again."""

_LOOP_SHARE = 0.8
"""Of the event loop's thread: what is late there is late for everybody, however many workers."""
_LOOP_COST = 0.03
"""Of it for a session: detector, mel, events and its socket (`bench/overhead.py`)."""

_RESERVED_S = 10.0
"""Between `admit` and `enter`; a session that could not be made gives its place back then."""
_RETRY_S = (5, 10, 15, 20, 30, 45, 60)
_NOBODY_KNOWS_S = 30
"""Until a try makes sense where somebody has to leave first."""


class Load:
    """Keeps account of live sessions, and says when there are enough. For one thread.

    Args:
        workers: passes that run at the same time.
        waits_s: how long recent live passes waited for one another, in seconds; see
            `PoolStatistics.waits_s`.
        loop_s: processor time of the event loop's thread so far, asked for on that thread.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        workers: int,
        waits_s: Callable[[], Sequence[float]] = tuple,
        loop_s: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = _SHARE * workers
        """Compute seconds per second that sessions may be charged in all."""
        self._waits_s = waits_s
        self._loop_s = loop_s
        self._clock = clock
        self.cost = _UNKNOWN_COST
        """What a speaking session takes, in compute seconds per second."""
        self._sampled_s = clock()
        self._sessions: dict[str, _Session] = {}
        self._reserved: deque[float] = deque()
        """Until when, for those who were admitted and have not entered."""
        self._loop: _Meter | None = None
        self._late = False

    @property
    def charged(self) -> float:
        """What all sessions are charged, in compute seconds per second."""
        return self._charged(0.0)

    def calibrated(self, cost: float) -> None:
        """Take what a session that speaks without a pause costs, measured on this machine.

        Args:
            cost: compute seconds per second of audio.
        """
        self.cost = max(cost, _LEAST_COST)

    def admit(self) -> None:
        """Keep a place for one more session, for ten seconds or until it enters.

        The first one is always admitted: nobody else could be harmed.

        Raises:
            Refusal: "busy".
        """
        self._forget_lapsed()
        if self._sessions or self._reserved:
            self._refuse_if_full()
        self._reserved.append(self._clock() + _RESERVED_S)

    def enter(
        self,
        session_id: str,
        compute_s: Callable[[], float],
        speaking: Callable[[], bool] = lambda: False,
    ) -> None:
        """An admitted session begins.

        Args:
            session_id: of the session.
            compute_s: what its passes took so far, in seconds.
            speaking: whether an utterance is open; without it, nothing is learned from this
                session about what speaking costs.
        """
        if self._reserved:
            self._reserved.popleft()
        self._sessions[session_id] = _Session(compute_s, speaking, self._clock(), self.cost)

    def leave(self, session_id: str) -> None:
        """The session has ended; one that never entered is ignored."""
        self._sessions.pop(session_id, None)

    def sample(self) -> None:
        """Look at what everybody takes. To be called about once a second."""
        now_s, before_s = self._clock(), self._sampled_s
        self._sampled_s = now_s
        self._forget_lapsed()
        if self._loop is None:
            self._loop = _Meter(now_s, self._loop_s())
        self._loop.note(now_s, self._loop_s())
        waits_s = self._waits_s()
        wait_s = float(np.percentile(waits_s, 95)) if waits_s else 0.0
        self._late = wait_s > (_IN_TIME_S if self._late else _LATE_S)
        for session in self._sessions.values():
            session.note(now_s, now_s - before_s)
        self._learn(now_s - before_s)
        for session in self._sessions.values():
            if session.young:
                falling = max(session.charge, self.cost)
            else:
                falling = session.charge * _fallen(now_s - before_s)
            session.charge = max(falling, self._least(session))

    # -- inside ---------------------------------------------------------------------------------

    def _forget_lapsed(self) -> None:
        while self._reserved and self._reserved[0] <= self._clock():
            self._reserved.popleft()

    def _least(self, session: _Session) -> float:
        """What a session will be charged in the end if it goes on like this."""
        return max(session.work.rate, _SILENT * self.cost)

    def _charged(self, after_s: float) -> float:
        """The sum after so long if nobody takes more than now."""
        reserved = self.cost * len(self._reserved)
        return reserved + sum(
            max(session.charge * _fallen(after_s - session.work.lacks_s), self._least(session))
            for session in self._sessions.values()
        )

    def _learn(self, after_s: float) -> None:
        """Correct the cost by the median of those who speak.

        A median, since one who sends audio faster than it was said is no measure for the rest.
        """
        rates = [
            session.work.rate
            for session in self._sessions.values()
            if not session.young and session.speech.rate >= _SPEAKING
        ]
        if not rates:
            return
        falling = self.cost
        if not self._late:  # sessions that cannot keep up do with fewer passes
            falling *= _fallen(after_s)
        self.cost = max(statistics.median(rates), falling, _LEAST_COST)

    def _refuse_if_full(self) -> None:
        if self._late:
            raise self._busy("its sessions wait for one another", math.ceil(_WINDOW_S))
        coming = 1 + len(self._reserved) + sum(each.young for each in self._sessions.values())
        loop = 0.0 if self._loop is None else self._loop.rate
        if loop + _LOOP_COST * coming > _LOOP_SHARE:
            raise self._busy("it has no time for another session", _NOBODY_KNOWS_S)
        if self._charged(0.0) + self.cost > self.capacity:
            room = (s for s in _RETRY_S if self._charged(s) + self.cost <= self.capacity)
            raise self._busy("it could not transcribe more in time", next(room, _NOBODY_KNOWS_S))

    def _busy(self, why: str, retry_after_s: int) -> Refusal:
        n_sessions = len(self._sessions) + len(self._reserved)
        return Refusal(
            "busy",
            f"the server is busy: {why} (live sessions: {n_sessions}); "
            f"try again in {retry_after_s} s",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            close_code=TRY_LATER,
            retry_after_s=retry_after_s,
        )


class _Session:
    """What a session takes, and what it is charged for."""

    def __init__(
        self,
        compute_s: Callable[[], float],
        speaking: Callable[[], bool],
        now_s: float,
        charge: float,
    ) -> None:
        self._compute_s = compute_s
        self._speaking = speaking
        self._spoken_s = 0.0
        self.work = _Meter(now_s, compute_s())
        self.speech = _Meter(now_s, 0.0)
        self.charge = charge

    def note(self, now_s: float, after_s: float) -> None:
        """Look at it, so long after the last time."""
        if self._speaking():
            self._spoken_s += after_s
        self.work.note(now_s, self._compute_s())
        self.speech.note(now_s, self._spoken_s)

    @property
    def young(self) -> bool:
        """True until there is a window of it to judge by."""
        return self.work.lacks_s > 0


class _Meter:
    """The rate at which a total rises, over a window that slides."""

    def __init__(self, at_s: float, total: float) -> None:
        self._noted = deque([(at_s, total)])

    def note(self, at_s: float, total: float) -> None:
        """Take the total at a later time; one that has fallen stands still."""
        self._noted.append((at_s, max(total, self._noted[-1][1])))
        while self._noted[1][0] <= at_s - _WINDOW_S:
            self._noted.popleft()

    @property
    def lacks_s(self) -> float:
        """Until the window is full."""
        return max(0.0, _WINDOW_S - self._span_s)

    @property
    def rate(self) -> float:
        """Per second; before the window is full, as if nothing had been before.

        At most 1: a thread has no more time, and a session no more than one pass out.
        """
        return min(1.0, (self._noted[-1][1] - self._noted[0][1]) / max(self._span_s, _WINDOW_S))

    @property
    def _span_s(self) -> float:
        return self._noted[-1][0] - self._noted[0][0]


def _fallen(after_s: float) -> float:
    """What part is left of something that nothing holds up."""
    return math.pow(0.5, max(0.0, after_s) / _HALVED_S)
