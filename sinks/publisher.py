"""Captions for viewers who come to a server that is there already: `sinks.captions` less its own.

A `Publisher` is a sink. For every WebSocket that a viewer opens, the server calls

.. code-block:: python

    await publisher.follow(lambda data: socket.send_text(data.decode()), incoming)

with what the viewer sends as ``incoming``, and it answers requests for the page with `page_for`.
What viewers get, and what the page's address may ask for, is told in `sinks.captions`. Such a
server has to know as well who asks for it, and why it cannot listen: `parse_host`, `is_loopback`
and `reason`.
"""

from __future__ import annotations

from ._captions.address import is_loopback, parse_host, reason
from ._captions.publisher import Publisher, TooManyViewersError
from ._captions.wire import Answer, page_for

__all__ = [
    "Answer",
    "Publisher",
    "TooManyViewersError",
    "is_loopback",
    "page_for",
    "parse_host",
    "reason",
]
