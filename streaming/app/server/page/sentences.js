// What the page says to people: where it stands, and what is wrong, each with the way out.

const port = location.port || "8766";

/** By the code of a MicrophoneError, a refusal, or the page's own. */
const PROBLEMS = {
  insecure: "Browsers give the microphone to pages over HTTPS only: serve with `--tls-cert` and"
    + " `--tls-key`, put the server behind a proxy that has HTTPS, or reach it through a tunnel,"
    + ` \`ssh -L ${port}:127.0.0.1:${port} SERVER\`, and open \`http://localhost:${port}/\` here.`,
  too_old: "This browser lacks what the microphone needs (AudioWorklet): a current Firefox, Chrome,"
    + " Edge or Safari has it.",
  NotAllowedError: "The microphone is not allowed for this page: allow it in the browser's settings for"
    + " this site (left of the address), then press Start.",
  NotFoundError: "No microphone was found: connect one, then press Start.",
  NotReadableError: "The microphone cannot be opened, perhaps because another program has it: close"
    + " that program, then press Start.",
  unplugged: "The microphone is gone: connect it again, then press Start. Your text is kept.",
  silent: "The microphone is silent: it may be muted, or another one may be meant.",
  unauthorized: "This server asks for a token. Whoever runs it can give you one.",
  wrong_token: "The server does not know this token: check it, or ask whoever runs the server.",
  token_revoked: "This token is no longer valid: ask whoever runs the server for another one.",
  origin: "The server does not take sessions from this address: open the page at the server's own"
    + " address, or let it be started with `--allow-origin` for this one.",
  unfinished: "The last words could not be fetched, because the server did not answer. Press Start to"
    + " go on.",
};

/** Why a new session goes on, in the text. */
const AFTER = {
  restart: "The server was restarted",
  session_too_long: "The server's limit for one session was reached",
  idle: "No audio arrived for a while, and the session ended",
  internal: "A fault in the server ended the session",
};

const WAITING = {
  busy: "The server is busy",
  too_many_sessions: "The server is full",
  not_ready: "The server is still loading its model",
};

/** One sentence, with backticks around what is to be typed; `message` is the server's own, for codes that are not known here. */
export function problem(code, message = "") {
  if (PROBLEMS[code]) return PROBLEMS[code];
  const why = message || `The microphone or the connection failed (${code})`;
  return `${sentence(why)} Press Start to try again.`;
}

export function afterwards({ code, away_s, resume_s }) {
  const known = code === "unknown_session"
    ? away_s < resume_s ? AFTER.restart : "The connection was away for too long"
    : AFTER[code] ?? "The session was ended by the server";
  return `${known}: a new session goes on from here`;
}

/** What a waiting stream waits for; what is said meanwhile is kept for a minute. */
export function waiting({ code, message }) {
  if (WAITING[code]) {
    return `${WAITING[code]}: it is asked again by itself, and what you say is kept for a minute.`;
  }
  return code && code !== "unknown_session" ? sentence(message) : "";
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
