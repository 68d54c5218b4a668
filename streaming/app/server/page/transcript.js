// The text so far, as paragraphs. Knows nothing of the page.

import { Track } from "./subtitles.js";

const MOST_CHARACTERS = 4_000_000;  // about three days of speech without a break
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g;

const oneLine = (text) => text.replace(CONTROL, " ");

/**
 * Paragraphs `{kind, text, pieces, language, cues}`, numbered from `first` on; the last one may
 * grow while it is `open`. `kind` is "speech", or "note" for what the page has to say.
 */
export class Transcript {
  paragraphs = [];
  first = 0;
  tentative = "";
  #track = new Track();
  #notices = new Set();  // wait for the end of the paragraph
  #characters = 0;

  get last() { return this.paragraphs.at(-1); }

  get isEmpty() { return !this.paragraphs.some(({ text }) => text); }

  get hasSpeech() { return this.paragraphs.some(({ kind, text }) => kind === "speech" && text); }

  /** Take in an event whose times count from `start_s`. */
  take(event, start_s) {
    if (event.type === "committed") this.#commit(event, start_s);
    else if (event.type === "partial") this.#preview(event);
    else if (event.type === "final" || event.type === "session_ended") this.close();
    else if (event.type === "audio_dropped") this.lost(event.end_s - event.start_s);
    else if (event.type === "notice" && event.level !== "info") this.#notices.add(event.message);
    if (!this.last?.open) this.#tell();
  }

  #commit(event, start_s) {
    const paragraph = this.#running(event);
    const text = paragraph.text ? oneLine(event.text) : oneLine(event.text).trimStart();
    paragraph.text += text;
    paragraph.pieces.push(text);
    paragraph.cues.push(...this.#track.push(event.words.map((word) => ({
      text: oneLine(word.text), start_s: start_s + word.start_s, end_s: start_s + word.end_s,
    }))));
    this.tentative = "";  // the next partial brings what is left of it
    this.#characters += text.length;
    this.#forget();
  }

  #preview(event) {
    const text = oneLine(event.tentative);
    if (text.trim()) this.#running(event);
    this.tentative = text;
  }

  /** The open paragraph, or a new one. */
  #running({ language }) {
    if (!this.last?.open) this.#add({ kind: "speech", text: "", open: true });
    this.last.language = language;
    return this.last;
  }

  /** The paragraph ends here, and what was tentative will not be said. */
  close() {
    this.tentative = "";
    const paragraph = this.last;
    if (!paragraph?.open) return;
    paragraph.cues.push(...this.#track.close());
    paragraph.open = false;
    if (!paragraph.text) this.paragraphs.pop();
  }

  /** Something that is not speech, in its place. Said once, however often it comes in a row. */
  note(message) {
    const text = `[${oneLine(message)}]`;
    this.close();
    if (this.last?.text !== text) this.#add({ kind: "note", text, open: false });
  }

  lost(lost_s) {
    this.note(`audio lost ${lost_s.toFixed(1)} s`);
  }

  #tell() {
    const notices = [...this.#notices];
    this.#notices.clear();
    notices.forEach((each) => this.note(each));
  }

  #add(paragraph) {
    const pieces = paragraph.text ? [paragraph.text] : [];
    this.paragraphs.push({ language: "", ...paragraph, pieces, cues: [] });
    this.#characters += paragraph.text.length;
  }

  #forget() {
    while (this.#characters > MOST_CHARACTERS && this.paragraphs.length > 1) {
      this.#characters -= this.paragraphs.shift().text.length;
      this.first += 1;
    }
  }

  /** One paragraph a line. */
  get text() {
    return this.paragraphs.filter(({ text }) => text).map(({ text }) => `${text}\n`).join("");
  }

  /** Of all sessions, one after the other. */
  get cues() {
    return this.paragraphs.flatMap(({ cues }) => cues);
  }
}
