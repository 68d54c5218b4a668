"""A session of the example's client whose connections break, and what was said by either side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from cutting_proxy import Cut, CuttingProxy
from stream_client import JSON, events_of, whole_log

from examples.live_client import LiveClient
from streaming.evaluation import check_events
from streaming.events import event_from_json
from streaming.protocols import Source

__all__ = ["Streamed", "stream"]


@dataclass(frozen=True)
class Streamed:
    """What became of one session."""

    seen: list[JSON]
    """The events as the client had them."""
    server_log: list[JSON]
    """The same as the server has them."""
    n_broken: int
    n_connections: int

    @property
    def text(self) -> str:
        """What was committed."""
        return "".join(each["text"] for each in self.of_type("committed"))

    def of_type(self, kind: str) -> list[JSON]:
        """The client's events of a type."""
        return [event for event in self.seen if event["type"] == kind]

    def faults(self) -> list[str]:
        """How the client's log is not the server's, each event once and in order."""
        found = []
        if [event["seq"] for event in self.seen] != list(range(len(self.seen))):
            found.append("not every seq once and in order")
        if self.seen != self.server_log:
            found.append("not what the server has")
        if not self.seen or self.seen[-1]["type"] != "session_ended":
            found.append("no end")
        parsed = [event_from_json(json.dumps(event)) for event in self.seen]
        return found + check_events(event for event in parsed if event is not None)


async def stream(port: int, source: Source, cuts: Sequence[Cut] = (), **options: Any) -> Streamed:
    """Send a source to the server at a port of the loopback.

    Args:
        port: of the server.
        source: what is said.
        cuts: what becomes of the connections, one each.
        options: of the client.
    """
    async with CuttingProxy(port) as proxy:
        proxy.plans.extend(cuts)
        client = LiveClient(f"ws://127.0.0.1:{proxy.port}/v1/stream", **options)
        async with aclosing(client.events(source)) as events:
            said = [event async for event in events]
    log = await whole_log(f"ws://127.0.0.1:{port}/v1/stream", client.session)
    return Streamed(events_of(said), log, proxy.n_broken, proxy.n_connections)
