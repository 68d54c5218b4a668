"""What passes cover, what they cost and what comes of them, written down one by one.

At debug level every pass is one line of the logger ``streaming.pass_log``, whose message is one
JSON object: the fields of `streaming.events.PassDone`, and the texts behind them (``context``,
``prefix``, ``heard``), for which such a log is read. It holds what people said, then; nothing
is put together unless somebody listens. In a session that traces, the same is an event, with
numbers only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from .audio import seconds
from .context import parrots
from .events import Committed, Event, Final, Partial, PassDone, event_to_json, text_of
from .protocols import Hypothesis
from .transcriber import Pass

__all__ = ["Cost", "PassLog"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a pass took."""

    compute_s: float
    queue_s: float
    done_s: float
    """Stream time."""


class PassLog:
    """Follows the passes of one session, of which one is out at a time.

    Args:
        session: its name.
        traced: make events.
    """

    def __init__(self, session: str, *, traced: bool) -> None:
        self._session = session
        self._traced = traced
        self._asked_s = 0.0

    def asked(self, clock_s: float) -> None:
        """A pass is out."""
        self._asked_s = clock_s

    def done(
        self,
        done: Pass,
        hypothesis: Hypothesis,
        said: Sequence[Event],
        utterance: int,
        cost: Cost,
    ) -> list[PassDone]:
        """It is back.

        Args:
            done: the pass.
            hypothesis: what it heard.
            said: the events it led to.
            utterance: the number of its utterance when it came back, -1 without one.
            cost: what it took.

        Returns:
            The event, unstamped, where passes are traced.
        """
        log = _LOG.isEnabledFor(logging.DEBUG)
        if not (self._traced or log):
            return []
        numbers = [e.utterance for e in said if isinstance(e, Committed | Partial | Final)]
        partials = [event for event in said if isinstance(event, Partial)]
        event = PassDone(
            session=self._session,
            clock_s=cost.done_s,
            start_s=seconds(done.start_sample),
            end_s=seconds(done.end_sample),
            asked_s=self._asked_s,
            compute_s=cost.compute_s,
            queue_s=cost.queue_s,
            utterance=numbers[0] if utterance < 0 and numbers else utterance,
            n_prefix=len(done.prefix),
            context_chars=len(done.context),
            careful=done.careful,
            language=hypothesis.language,
            n_words=len(hypothesis.words),
            n_committed=sum(len(e.words) for e in said if isinstance(e, Committed)),
            n_tentative=len(partials[-1].words) if partials else 0,
            looped=hypothesis.looped or parrots(hypothesis.words, done.context),
        )
        if log:
            _LOG.debug("%s", _line(event, done, hypothesis))
        return [event] if self._traced else []


def _line(event: PassDone, done: Pass, hypothesis: Hypothesis) -> str:
    body = json.loads(event_to_json(event))
    del body["seq"]  # an untraced session has none for it
    body["session"] = event.session[:8]  # the whole name is the permission to read along
    texts = {
        "context": done.context,
        "prefix": text_of(done.prefix),
        "heard": text_of(hypothesis.words),
    }
    return json.dumps({**body, **texts}, ensure_ascii=False)
