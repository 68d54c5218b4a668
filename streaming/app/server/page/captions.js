// Shows a transcript, and stays with its end unless the reader is elsewhere.

const MOST_PARAGRAPHS = 120;  // each an element; older ones are folded into one
const FOLDED = 60;
const MOST_FOLDED = 600;  // elements, after some days
const NEAR_PX = 48;

export class Captions {
  #transcript;
  #scroller;
  #history;
  #now;
  #live;
  #tentative;
  #latest;
  #shown = 0;  // number of the paragraph in #now
  #pieces = 0;  // of which so many are there
  #following = true;
  #top = 0;
  #drawing = false;

  /** @param at finds an element by its id. */
  constructor(transcript, at) {
    this.#transcript = transcript;
    [this.#scroller, this.#history, this.#now] = [at("captions"), at("history"), at("now")];
    [this.#live, this.#tentative, this.#latest] = [at("live"), at("tentative"), at("latest")];
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(this.#scroller);
    this.#latest.onclick = () => {
      this.#following = true;
      this.#follow();
      this.#scroller.focus({ preventScroll: true });
    };
  }

  /** Soon, and once for all that changed. */
  draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#draw();
    });
  }

  #draw() {
    const { paragraphs, first } = this.#transcript;
    const last = first + paragraphs.length - 1;
    this.#scroller.classList.toggle("empty", paragraphs.length === 0);
    this.#shown = Math.max(this.#shown, first);
    while (this.#shown < last) this.#leave(paragraphs[this.#shown - first]);
    if (this.#shown === last) this.#grow(paragraphs.at(-1));
    else this.#clear();  // the last one came to nothing
    write(this.#tentative, this.#transcript.tentative.trimStart());
    // A space has no dots under it.
    write(this.#tentative.previousSibling,
      this.#transcript.tentative.startsWith(" ") && this.#pieces ? " " : "");
    this.#hold();
    this.#fold();
    this.#follow();
  }

  /** Listeners hear what is added here, word by word; it stays until there is more. */
  #grow({ kind, pieces, language }) {
    this.#now.lang = language;
    this.#now.className = kind;
    for (; this.#pieces < pieces.length; this.#pieces++) {
      const piece = document.createElement("span");
      piece.textContent = pieces[this.#pieces];
      this.#live.append(piece);
    }
  }

  /** Where text that may change shrinks, nothing jumps. */
  #hold() {
    const { height } = this.#now.getBoundingClientRect();
    if (height > parseFloat(this.#now.style.minHeight || 0)) {
      this.#now.style.minHeight = `${height}px`;
    }
  }

  #clear() {
    this.#live.replaceChildren();
    this.#pieces = 0;
    this.#now.style.minHeight = "";
    this.#now.className = "";
  }

  #leave({ kind, text, language }) {
    const paragraph = document.createElement("p");
    paragraph.className = kind;
    paragraph.dir = "auto";
    paragraph.lang = language;
    paragraph.textContent = text;
    this.#history.append(paragraph);
    this.#clear();
    this.#shown += 1;
  }

  /** The oldest paragraphs become one element; their text stays. */
  #fold() {
    const paragraphs = this.#history.querySelectorAll(":scope > p");
    const most = MOST_PARAGRAPHS * (this.#following ? 1 : 4);  // not under the reader's eyes
    if (paragraphs.length <= most) return;
    const folded = document.createElement("div");
    folded.className = "folded";
    const old = [...paragraphs].slice(0, paragraphs.length - MOST_PARAGRAPHS + FOLDED);
    folded.textContent = old.map((each) => each.textContent).join("\n\n");
    old[0].before(folded);
    for (const each of old) each.remove();
    const all = this.#history.querySelectorAll(":scope > .folded");
    if (all.length > MOST_FOLDED) all[0].remove();
  }

  #follow() {
    if (this.#following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#latest.hidden = this.#following;
  }

  /** Upwards, the reader leaves the end; back at the end, the text rolls on. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (near) this.#following = true;
    else if (scrollTop < this.#top - 1) this.#following = false;
    this.#top = scrollTop;
    this.#latest.hidden = this.#following;
  }
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
