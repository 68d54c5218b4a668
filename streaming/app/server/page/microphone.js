// The microphone as blocks of 16-bit samples, at the rate that the browser has.

const LAST_BLOCK_MS = 500;

/** Why there is no sound: `code` is the browser's name for it, or one of ours. */
export class MicrophoneError extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** Whether this browser lets this page have a microphone at all; the code of the reason if not. */
export function obstacle() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return "insecure";
  if (!window.AudioWorkletNode) return "too_old";
  return "";
}

export class Microphone {
  #context;
  #node;
  #track;
  #pausedAt = 0;
  #listener;

  /**
   * Asks for the microphone.
   *
   * @param listener `audio(samples, level)` every 0.1 s, with 16-bit samples and their RMS of
   *   full scale; `gap(seconds)` when the system has let nothing through for so long; and
   *   `lost()` when the device is gone.
   * @throws MicrophoneError
   */
  static async open(listener) {
    const code = obstacle();
    if (code) throw new MicrophoneError(code);
    const microphone = new Microphone();
    microphone.#listener = listener;
    try {
      await microphone.#open();
    } catch (error) {
      microphone.#release();
      throw new MicrophoneError(error.name);
    }
    return microphone;
  }

  get sampleRate() { return this.#context.sampleRate; }

  async #open() {
    // Speech recognition hears noise better than what is left of speech once noise is removed.
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    [this.#track] = stream.getAudioTracks();
    this.#track.onended = () => this.#listener.lost();
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    this.#node = new AudioWorkletNode(this.#context, "blocks");
    this.#node.port.onmessage = ({ data }) => {
      if (data.audio?.length) this.#listener.audio(data.audio, data.level);
    };
    this.#context.createMediaStreamSource(stream).connect(this.#node);
    this.#node.connect(this.#context.destination);  // silent; what leads nowhere is not run
    this.#context.onstatechange = () => this.#stateChanged();
    await this.#context.resume();
  }

  /** Phones stop the sound during a call, and when they sleep. */
  #stateChanged() {
    if (this.#context.state === "running") {
      if (this.#pausedAt) this.#listener.gap((performance.now() - this.#pausedAt) / 1000);
      this.#pausedAt = 0;
    } else if (this.#context.state !== "closed") {
      this.#pausedAt ||= performance.now();
    }
  }

  /** Go on after a pause, where the system lets us. */
  wake() {
    if (this.#pausedAt) this.#context.resume().catch(() => {});
  }

  /** Hands over the last, shorter block and lets the device go. */
  async close() {
    const last = new Promise((resolve) => {
      this.#node.port.addEventListener("message", ({ data }) => data.last && resolve());
      setTimeout(resolve, LAST_BLOCK_MS);
    });
    this.#node.port.postMessage("stop");
    await last;
    this.#release();
  }

  #release() {
    if (this.#track) this.#track.onended = null;
    this.#track?.stop();
    if (this.#node) this.#node.port.onmessage = null;
    if (this.#context) {
      this.#context.onstatechange = null;
      this.#context.close().catch(() => {});
    }
  }
}
