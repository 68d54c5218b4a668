"""A request that is turned away: which limit or rule, and how HTTP and WebSockets say it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ...errors import StreamingError

__all__ = [
    "INTERNAL",
    "INVALID",
    "POLICY",
    "RESTART",
    "TOO_BIG",
    "TRY_LATER",
    "UNSUPPORTED",
    "Refusal",
]

UNSUPPORTED = 1003
INVALID = 1007
POLICY = 1008
TOO_BIG = 1009
INTERNAL = 1011
RESTART = 1012
TRY_LATER = 1013
"""Close codes of the IANA registry (RFC 6455, section 7.4)."""


class Refusal(StreamingError):  # noqa: N818 - an answer, not a fault
    """Says no to a client, in one line, with the way out.

    Args:
        code: for programs, as listed in PROTOCOL.md: "busy", "unauthorized".
        message: for people; holds no secret.
        status: of the HTTP response.
        close_code: of the WebSocket.
        retry_after_s: when another try makes sense.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        close_code: int = POLICY,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.close_code = close_code
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """As the WebSocket's last message has it."""
        body: dict[str, Any] = {"type": "error", "code": self.code, "message": self.message}
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return body
