// Audio that may have to be sent again, by the number of its first sample.

/** Holds 16-bit samples, at most so many. A block without samples stands for audio that is lost. */
export class Backlog {
  #most;
  #blocks = [];  // {from, to, audio}, one right after the other
  #to = 0;

  constructor(most) {
    this.#most = most;
  }

  /** The first sample that is still here. */
  get from() { return this.#blocks[0]?.from ?? this.#to; }

  /** The sample after the last one. */
  get to() { return this.#to; }

  push(audio) {
    this.#add(audio.length, audio);
  }

  /** So many samples never were. */
  skip(count) {
    this.#add(count, null);
  }

  #add(count, audio) {
    this.#blocks.push({ from: this.#to, to: this.#to + count, audio });
    this.#to += count;
    this.forget(this.#to - this.#most);
  }

  /** Let go the blocks that end before a sample, or at it. */
  forget(before) {
    while (this.#blocks.length && this.#blocks[0].to <= before) this.#blocks.shift();
  }

  /**
   * Everything from a sample on, in pieces of at most `most` samples.
   * What has been let go comes first, as one piece without audio.
   */
  *since(position, most) {
    if (position < this.from) yield { to: this.from, audio: null, count: this.from - position };
    const first = this.#blocks.findLastIndex((block) => block.from <= position);
    for (const block of this.#blocks.slice(Math.max(first, 0))) {
      let from = Math.max(position, block.from);
      while (from < block.to) {
        const to = block.audio ? Math.min(from + most, block.to) : block.to;
        const audio = block.audio?.subarray(from - block.from, to - block.from) ?? null;
        yield { to, audio, count: to - from };
        from = to;
      }
    }
  }
}
