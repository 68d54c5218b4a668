// Runs on the audio thread: gathers what the microphone hears into blocks of a tenth of a second.

const BLOCK_S = 0.1;
const QUANTUM = 128;

class Blocks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate * BLOCK_S));
    this.filled = 0;
    this.energy = 0;
    this.going = true;
    this.port.onmessage = () => {  // there is one message: stop
      this.hand();
      this.port.postMessage({ last: true });
      this.going = false;
    };
  }

  hand() {
    const audio = this.samples.slice(0, this.filled);
    const level = Math.sqrt(this.energy / Math.max(audio.length, 1));
    this.port.postMessage({ audio, level }, [audio.buffer]);
    this.filled = 0;
    this.energy = 0;
  }

  /** The channels' mean as 16 bit; silence where no device feeds us, so that time goes on. */
  process([channels]) {
    if (!this.going) return false;
    const n = channels[0]?.length ?? QUANTUM;
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const value = Math.min(Math.max(channels.length ? sum / channels.length : 0, -1), 1);
      this.energy += value * value;
      this.samples[this.filled++] = Math.round(value * 32767);
      if (this.filled === this.samples.length) this.hand();
    }
    return true;
  }
}

registerProcessor("blocks", Blocks);
