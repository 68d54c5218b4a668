// One run of the microphone over /v1/stream: connects, sends, comes back, and never loses count.
// Knows nothing of the page. What is said is written down in the server's PROTOCOL.md.
//
//      ┌──── the line broke, the server is busy or ended ────┐
//      ▼                                                     │
//   waiting ────▶ connecting ────▶ live ─────────────────────┤
//                   ▲  │             └─▶ over: "finished"    │
//       a token     │  └─▶ over: what the server has against it
//                 locked ◀───── it asks for a token ─────────┘
//
// A session that the server no longer has is followed by a new one, which begins with the audio of
// which the old one had not committed the words.

import { Backlog } from "./backlog.js";
import { CLOSED, NEXT } from "./refusals.js";

const KEPT_S = 60;  // of audio, for a server that does not answer
const FIRST_RETRY_S = 0.5;
const LAST_RETRY_S = 15;
const STEADY_S = 10;  // a connection that has lasted so long starts the retries afresh
const OPEN_S = 10;
const SILENT_S = 15;  // of a server that has something to acknowledge
const UNHEARD_S = 1.5;  // it does so about once a second of audio
const KEEPALIVE_S = 10;
const FINISH_S = 30;
const IN_FLIGHT_S = 2;  // more waits here, where it can be counted
const RUN_UP_S = 3;  // speech may have begun so long before the server says so

const SILENCE = { code: "" };

const seconds = () => performance.now() / 1000;

export class Stream {
  /** `{name, code, message, retryAt}`: see above; `retryAt` in seconds of performance.now(). */
  state = { name: "connecting" };

  #address;
  #rate;
  #listener;
  #backlog;
  #socket = null;
  #session = null;
  #next = 0;  // where a new session would begin
  #tries = 0;
  #finishBy = Infinity;
  #after = null;  // why there is to be a new session
  #timer;

  /**
   * @param address of /v1/stream for a query, a plain object, and whether the session is new.
   * @param sampleRate of the audio, in Hz.
   * @param listener `state()` after every change; `session({id, after, lost_s})` when a session
   *   begins, `after` being null or the `{code, away_s, resume_s}` that ended the one before;
   *   `event(event, start)` for every event once, the session's start given in samples.
   */
  constructor(address, sampleRate, listener) {
    this.#address = address;
    this.#rate = sampleRate;
    this.#listener = listener;
    this.#backlog = new Backlog(KEPT_S * sampleRate);
  }

  open() {
    this.#timer = setInterval(() => this.#tick(), 250);
    this.#connect();
  }

  get finishing() { return this.#finishBy < Infinity; }

  /** Samples captured so far. */
  get captured() { return this.#backlog.to; }

  /** Take 16-bit samples. */
  audio(samples) {
    this.#backlog.push(samples);
    this.#tick();  // timers are slow in tabs that nobody sees; audio is not
  }

  /** Audio of so many seconds was never captured. */
  gap(gap_s) {
    this.#backlog.skip(Math.round(gap_s * this.#rate));
    this.#pump();
  }

  /** From here on, speech in another language. */
  configure(changes) {
    const session = this.#session;
    if (session === null) return;  // the next one begins with them
    session.changes = { changes, at: Infinity };
    if (this.state.name === "live") this.#change();
  }

  /** No more audio: the rest is sent, and the last words awaited. */
  finish() {
    this.#finishBy = seconds() + FINISH_S;
    this.#pump();
    this.#listener.state();
  }

  /** Do not wait for anything any more. */
  stop() {
    if (this.state.name === "live") this.#say({ type: "finish" });
    this.#over("stopped");
  }

  /** Try now: there is a token, or the network is back. */
  retry() {
    if (this.state.name === "waiting" || this.state.name === "locked") this.#connect();
  }

  // -- connecting ---------------------------------------------------------------------------

  #connect() {
    const session = this.#session;
    const query = session
      ? { session: session.id }
      : { encoding: "s16le", sample_rate: this.#rate, channels: 1 };
    const socket = new WebSocket(this.#address(query, session === null));
    const now = seconds();
    const link = { socket, since: now, said: now, heard: now, refusal: null, finished: false };
    this.#socket = link;
    socket.onopen = () => {
      if (session === null) return;
      const sent = session.sent - session.start;
      this.#say({ type: "resume", secret: session.secret, last_seq: session.lastSeq, sent });
    };
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code }) => this.#closed(link.refusal ?? { code: CLOSED[code] ?? "" });
    this.#become({ name: "connecting" });
  }

  #drop() {
    const socket = this.#socket?.socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #closed({ code, message = "", retry_after_s: retryAfterS = null }) {
    const now = seconds();
    if (this.state.name === "live") {
      if (now - this.#socket.since > STEADY_S) this.#tries = 0;
      this.#session.lostAt = now;
    }
    this.#drop();
    let next = NEXT[code] ?? "over";
    const session = this.#session;
    if (session?.ended) {
      const rest = this.#backlog.to - session.end;
      if (this.finishing && rest < this.#rate / 2) return this.#over("finished");
      if (next === "again") [next, code] = ["anew", session.reason];
    }
    if (next === "over") return this.#over(code, message);
    if (next === "locked") return this.#become({ name: "locked", code, message });
    if (next === "anew" && session) {
      const away_s = now - (session.lostAt ?? now);
      this.#next = session.ended ? session.end : session.settled;
      this.#session = null;
      this.#after = { code, away_s, resume_s: session.resumeS };
      if (code === "unknown_session") return this.#connect();
    }
    const wait = Math.min(FIRST_RETRY_S * 2 ** this.#tries, LAST_RETRY_S);
    this.#tries += 1;
    const retryAt = now + (retryAfterS ?? wait * (0.8 + 0.4 * Math.random()));
    return this.#become({ name: "waiting", code, message, retryAt });
  }

  #over(code, message = "") {
    clearInterval(this.#timer);
    this.#drop();
    this.#become({ name: "over", code, message });
  }

  #become(state) {
    this.state = state;
    this.#listener.state();
  }

  #tick() {
    const now = seconds();
    const { name, retryAt } = this.state;
    if (name === "over") return;
    if (now > this.#finishBy) this.#over("unfinished");
    else if (name === "waiting" && now >= retryAt) this.#connect();
    else if (name === "connecting" && now - this.#socket.since > OPEN_S) this.#closed(SILENCE);
    else if (name === "live" && this.#isDead(now)) this.#closed(SILENCE);
    else if (name === "live" && now - this.#socket.said > KEEPALIVE_S) this.#say({ type: "keepalive" });
    else this.#pump();
  }

  #isDead(now) {
    const [link, session] = [this.#socket, this.#session];
    const owes = link.finished || session.sent - session.received > UNHEARD_S * this.#rate;
    if (!owes) link.heard = now;
    return now - link.heard > SILENT_S;
  }

  // -- sending ------------------------------------------------------------------------------

  #pump() {
    const [link, session] = [this.#socket, this.#session];
    if (this.state.name !== "live") return;
    for (const { to, audio, count } of this.#backlog.since(session.sent, session.mostSamples)) {
      if (link.socket.bufferedAmount > IN_FLIGHT_S * 2 * this.#rate) return;
      if (audio) this.#send(audio);
      else this.#say({ type: "skip", count });
      session.sent = to;
    }
    if (this.finishing && !link.finished) {
      link.finished = true;
      this.#say({ type: "finish" });
    }
  }

  #change() {
    const { changes } = this.#session;
    if (!changes) return;
    changes.at = this.#session.sent;
    this.#say({ type: "configure", ...changes.changes });
  }

  #send(data) {
    this.#socket.said = seconds();
    this.#socket.socket.send(data);
  }

  #say(message) {
    this.#send(JSON.stringify(message));
  }

  // -- hearing ------------------------------------------------------------------------------

  #hear(data) {
    const message = JSON.parse(data);
    this.#socket.heard = seconds();
    if (message.type === "session") this.#begin(message);
    else if (message.type === "resumed") this.#resume(message);
    else if (message.type === "received") this.#received(this.#session.start + message.position);
    else if (message.type === "error") this.#socket.refusal = message;
    else if (Number.isInteger(message.seq)) this.#event(message);
  }

  #begin(message) {
    const start = Math.max(this.#next, this.#backlog.from);
    this.#session = {
      id: message.session, secret: message.secret, resumeS: message.resume_s,
      mostSamples: Math.floor(message.max_frame_bytes / 2),
      start, sent: start, received: start,
      settled: start,  // the words up to here are known, or there are none
      speaking: false, lastSeq: -1, ended: false, end: start, reason: "", lostAt: null,
      changes: null,  // asked for, and not known to have arrived
    };
    const [after, lost_s] = [this.#after, (start - this.#next) / this.#rate];
    this.#after = null;
    this.#listener.session({ id: message.session, after, lost_s });
    this.#become({ name: "live" });
    this.#pump();
  }

  #resume(message) {
    this.#session.sent = this.#session.received = this.#session.start + message.position;
    this.#session.lostAt = null;
    this.#become({ name: "live" });
    this.#change();
    this.#pump();
  }

  #received(position) {
    const session = this.#session;
    session.received = position;
    if (position > session.changes?.at) session.changes = null;
    if (!session.speaking) session.settled = Math.max(session.settled, position - RUN_UP_S * this.#rate);
    // What is not settled is kept for a server that dies with it.
    this.#backlog.forget(Math.min(position, session.settled));
    this.#pump();
  }

  #event(event) {
    const session = this.#session;
    if (event.seq <= session.lastSeq) return;
    session.lastSeq = event.seq;
    const settle = (time_s) => {
      session.settled = Math.max(session.settled, session.start + Math.round(time_s * this.#rate));
    };
    if (event.type === "speech_started") {
      session.speaking = true;
      settle(event.at_s);
    } else if (event.type === "committed" && event.words.length) {
      settle(event.words.at(-1).end_s);
    } else if (event.type === "final") {
      session.speaking = event.reason === "max_length";
      settle(event.end_s);
    } else if (event.type === "session_ended") {
      session.ended = true;
      session.reason = event.reason;
      session.end = session.start + Math.round(event.audio_s * this.#rate);
    }
    this.#listener.event(event, session.start);
  }
}
