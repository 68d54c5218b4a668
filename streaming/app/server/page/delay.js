// How long words take from the mouth to the screen.

const KEPT_BLOCKS = 1200;  // two minutes
const KEPT_WORDS = 21;

/** Knows when each sample was captured, and the delay of the last words. Times in seconds. */
export class DelayMeter {
  #rate;
  #blocks = [];  // {to, at}
  #delays = [];

  constructor(sampleRate) {
    this.#rate = sampleRate;
  }

  /** Audio up to this sample has come out of the microphone now. */
  captured(to, now) {
    this.#blocks.push({ to, at: now });
    if (this.#blocks.length > KEPT_BLOCKS) this.#blocks.shift();
  }

  /** A word that ends at this sample was committed now. */
  committed(end, now) {
    const block = this.#blocks.find((each) => each.to >= end) ?? this.#blocks.at(-1);
    if (!block) return;
    this.#delays.push(now - (block.at - (block.to - end) / this.#rate));
    if (this.#delays.length > KEPT_WORDS) this.#delays.shift();
  }

  /** Median of the last words, or null before there is one. */
  get median() {
    if (!this.#delays.length) return null;
    const sorted = [...this.#delays].sort((a, b) => a - b);
    return Math.max(sorted[sorted.length >> 1], 0);
  }
}
