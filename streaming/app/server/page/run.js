// One run: from the start of the microphone to the last word, through any number of sessions.

import { DelayMeter } from "./delay.js";
import { Microphone } from "./microphone.js";
import { afterwards } from "./sentences.js";
import { Stream } from "./stream.js";

const SILENT_BLOCKS = 40;  // of exact zeros: no microphone that is on does that

const seconds = () => performance.now() / 1000;

export class Run {
  /** The last session's, or "". */
  session = "";
  speaking = false;
  /** RMS of the last tenth of a second, of full scale. */
  level = 0;
  /** Nothing comes out of the microphone. */
  silent = false;
  /** What the server takes where no language is asked for. */
  usual = "auto";

  #server;
  #transcript;
  #before_s;
  #listener;
  #microphone = null;
  #stream = null;
  #delay = null;
  #rate = 0;
  #zeros = 0;
  #awake = null;

  /**
   * @param before_s of audio that other runs have had.
   * @param listener `language()` for a new session, a code or ""; `changed()` after every
   *   change; `lost()` when the microphone is gone; `over(code, message)` at the end.
   */
  constructor(server, transcript, before_s, listener) {
    this.#server = server;
    this.#transcript = transcript;
    this.#before_s = before_s;
    this.#listener = listener;
  }

  /** The stream's, or null before there is one. */
  get state() { return this.#stream?.state ?? null; }

  get finishing() { return this.#stream?.finishing ?? false; }

  get delay_s() { return this.#delay?.median ?? null; }

  get audio_s() { return this.#stream ? this.#stream.captured / this.#rate : 0; }

  /** @throws MicrophoneError */
  async start() {
    this.#microphone = await Microphone.open({
      audio: (samples, level) => this.#audio(samples, level),
      gap: (gap_s) => this.#stream?.gap(gap_s),
      lost: () => this.#listener.lost(),
    });
    this.#rate = this.#microphone.sampleRate;
    this.#delay = new DelayMeter(this.#rate);
    this.#stream = new Stream((query, isNew) => this.#address(query, isNew), this.#rate, {
      state: () => this.#changed(),
      session: (session) => this.#began(session),
      event: (event, start) => this.#heard(event, start),
    });
    this.#stream.open();
    await this.wake();
  }

  /** Ends the microphone; the last words are still to come. Told again, ends without them. */
  async finish() {
    if (this.finishing || this.state?.name === "locked") return this.#stream.stop();
    await this.#release();
    return this.#stream?.finish();
  }

  /** Ends at once. */
  stop() {
    this.#stream?.stop();
  }

  /** Connect now: there is a token, or the network is back. */
  retry() {
    this.#stream?.retry();
  }

  speakIn(language) {
    this.#stream?.configure({ language: language || this.usual });
  }

  /** Keeps the screen on, and goes on where the system made the microphone pause. */
  async wake() {
    if (this.#microphone === null) return;
    this.#microphone.wake();
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (this.#microphone === null) lock?.release();
    else this.#awake = lock;
  }

  #address(query, isNew) {
    const language = isNew ? this.#listener.language() : "";
    return this.#server.streamAddress(language ? { ...query, language } : query);
  }

  #audio(samples, level) {
    this.#stream?.audio(samples);
    this.#delay?.captured(this.#stream.captured, seconds());
    this.level = level;
    this.#zeros = level > 0 ? 0 : this.#zeros + 1;
    this.silent = this.#zeros >= SILENT_BLOCKS;
  }

  #began({ id, after, lost_s }) {
    this.#transcript.close();
    if (after) this.#transcript.note(afterwards(after));
    if (lost_s > 0.05) this.#transcript.lost(lost_s);
    this.session = id;
    this.speaking = false;
    this.#listener.changed();
  }

  #heard(event, start) {
    if (event.type === "speech_started") this.speaking = true;
    else if (event.type === "speech_ended") this.speaking = false;
    else if (event.type === "session_started") this.#started(event);
    else if (event.type === "committed") this.#measure(event.words, start);
    this.#transcript.take(event, this.#before_s + start / this.#rate);
    this.#listener.changed();
  }

  #started({ language }) {
    if (!this.#listener.language()) this.usual = language ?? "auto";
  }

  #measure(words, start) {
    const now = seconds();
    for (const { end_s } of words) this.#delay.committed(start + end_s * this.#rate, now);
  }

  #changed() {
    const { name, code, message } = this.state;
    if (name === "over") {
      this.#release();
      this.#transcript.close();
      this.#listener.over(code, message);
    }
    this.#listener.changed();
  }

  async #release() {
    const microphone = this.#microphone;
    this.#microphone = null;
    this.#awake?.release();
    this.#awake = null;
    await microphone?.close();
    this.level = 0;
    this.silent = false;
  }
}
