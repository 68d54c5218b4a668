// Cues as subtitling practice has them: two rows of 42 columns, 5/6 of a second to seven seconds.

const COLUMNS = 42;  // wide characters count two
const ROWS = 2;
const LEAST_S = 5 / 6;
const MOST_S = 7;
const PAUSE_S = 1;
const SENTENCE_END = /[.?!…。？！؟।။។]["'”’»)\]」』）]*\s*$/u;
const ZERO_WIDTH = /^[\p{M}\u200b-\u200f\u2060\ufe00-\ufe0f]$/u;
const WIDE = /^[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6\p{Emoji_Presentation}]$/u;

const widthOf = (text) =>
  [...text].reduce((sum, each) => sum + (ZERO_WIDTH.test(each) ? 0 : WIDE.test(each) ? 2 : 1), 0);

/** Rows of at most 42 columns, broken at spaces where there are any. */
export function wrap(text) {
  const rows = [];
  let row = "";
  for (const word of text.match(/\s*\S+\s*/gu) ?? []) {
    if (row && widthOf(row + word.trimEnd()) > COLUMNS) {
      rows.push(row.trimEnd());
      row = "";
    }
    for (const character of word) {
      if (widthOf(row) + widthOf(character) > COLUMNS && character.trim()) {
        rows.push(row);
        row = "";
      }
      row += character;
    }
  }
  return row.trim() ? [...rows, row.trimEnd()] : rows;
}

/** A word in pieces that each fit a row and share its time by their length. */
function piecesOf(word) {
  const rows = wrap(word.text);
  if (rows.length < 2) return [word];
  const share_s = (word.end_s - word.start_s) / rows.join("").length;
  let start_s = word.start_s;
  return rows.map((text) => {
    const piece = { text, start_s, end_s: start_s + share_s * text.length };
    start_s = piece.end_s;
    return piece;
  });
}

/** Cuts words into cues `{start_s, end_s, rows}`, one after the other, at rising times. */
export class Track {
  #words = [];
  #end_s = 0;

  /** The cues that these words complete. */
  push(words) {
    return words.flatMap(piecesOf).flatMap((word) => this.#add(word));
  }

  /** The cue of the words that wait, if there are any. */
  close() {
    const words = this.#words;
    this.#words = [];
    const rows = rowsOf(words);
    if (!rows.length) return [];
    const start_s = Math.max(words[0].start_s, this.#end_s);
    this.#end_s = Math.max(words.at(-1).end_s, start_s + LEAST_S);
    return [{ start_s, end_s: this.#end_s, rows }];
  }

  #add(word) {
    const words = this.#words;
    const full = words.length && (rowsOf([...words, word]).length > ROWS
      || word.end_s - words[0].start_s > MOST_S
      || word.start_s - words.at(-1).end_s > PAUSE_S);
    const cues = full ? this.close() : [];
    this.#words.push(word);
    const long = word.end_s - this.#words[0].start_s >= LEAST_S;
    return SENTENCE_END.test(word.text) && long ? [...cues, ...this.close()] : cues;
  }
}

const rowsOf = (words) => wrap(words.map((word) => word.text).join("").trim());

function timestamp(time_s, separator) {
  const ms = Math.round(time_s * 1000);
  const pad = (value, n) => String(Math.floor(value)).padStart(n, "0");
  const [hours, minutes] = [pad(ms / 3_600_000, 2), pad(ms / 60_000 % 60, 2)];
  return `${hours}:${minutes}:${pad(ms / 1000 % 60, 2)}${separator}${pad(ms % 1000, 3)}`;
}

const times = (cue, separator) =>
  `${timestamp(cue.start_s, separator)} --> ${timestamp(cue.end_s, separator)}`;

const escaped = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

export const srt = (cues) =>
  cues.map((cue, n) => `${n + 1}\n${times(cue, ",")}\n${cue.rows.join("\n")}\n\n`).join("");

export const vtt = (cues) =>
  "WEBVTT\n\n" + cues.map((cue) => `${times(cue, ".")}\n${escaped(cue.rows.join("\n"))}\n\n`).join("");
