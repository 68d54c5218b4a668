// What a client does when the server ends a connection; the codes are those of PROTOCOL.md.

/** What each refusal leads to; `over` where it is not listed. */
export const NEXT = {
  "": "again",
  too_slow: "again",
  busy: "later",
  too_many_sessions: "later",
  not_ready: "later",
  unauthorized: "locked",
  token_revoked: "locked",
  unknown_session: "anew",
  wrong_secret: "anew",
  bad_position: "anew",
  events_lost: "anew",
  restart: "anew",
  session_too_long: "anew",
  idle: "anew",
  internal: "anew",
};

/** Of a close that came without a word. */
export const CLOSED = {
  1003: "bad_audio", 1007: "bad_message", 1008: "policy", 1009: "too_big", 1011: "internal",
  1012: "restart", 1013: "busy",
};
