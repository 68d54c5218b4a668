"""Captions for viewers who come to a server that is there already: `sinks.captions` less its own.

A `Publisher` is a sink. For every WebSocket that a viewer opens, the server calls

.. code-block:: python

    await publisher.follow(lambda data: socket.send_text(data.decode()), incoming)

with what the viewer sends as ``incoming``, and it answers requests for the page with `page_for`.
What viewers get, and what the page's address may ask for, is told in `sinks.captions`.
"""

from __future__ import annotations

from ._captions.publisher import Publisher, TooManyViewersError
from ._captions.wire import Answer, page_for

__all__ = ["Answer", "Publisher", "TooManyViewersError", "page_for"]
