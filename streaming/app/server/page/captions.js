// Shows a transcript, and stays with its end unless the reader is elsewhere.

const MOST_PARAGRAPHS = 100;  // each an element; older ones are folded into one
const FOLDED = 50;
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
  #next = 0;  // number of the first paragraph that has no element yet
  #pieces = 0;  // of the last one that has, so many are there
  #following = true;
  #top = 0;
  #drawing = false;

  /** @param at finds an element by its id. */
  constructor(transcript, at) {
    this.#transcript = transcript;
    [this.#scroller, this.#history, this.#now] = [at("captions"), at("history"), at("now")];
    [this.#live, this.#tentative, this.#latest] = [at("live"), at("tentative"), at("latest")];
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(this.#scroller);
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
    const { paragraphs, first, tentative } = this.#transcript;
    this.#scroller.classList.toggle("empty", paragraphs.length === 0);
    const end = first + paragraphs.length;
    if (this.#next > end) this.#takeBack();
    for (let n = Math.max(this.#next - 1, first); n < end; n++) {
      if (n >= this.#next) this.#begin(n);
      this.#grow(paragraphs[n - first]);
    }
    const last = this.#live.lastElementChild;
    this.#tentative.lang = last?.lang ?? "";
    write(this.#tentative, tentative.trimStart());
    // A space has no dots under it.
    write(this.#tentative.previousSibling, tentative.startsWith(" ") && this.#pieces ? " " : "");
    this.#hold();
    this.#fold();
    this.#follow();
  }

  #begin(number) {
    const element = document.createElement("div");  // a p is no part of a line, even inline
    element.role = "paragraph";
    element.dir = "auto";
    this.#live.append(element);
    this.#now.style.minHeight = "";
    this.#next = number + 1;
    this.#pieces = 0;
  }

  /** Who listens to the page hears what is added here, piece by piece. */
  #grow({ kind, pieces, language }) {
    const element = this.#live.lastElementChild;
    element.className = kind;
    element.lang = language;
    element.append(...pieces.slice(this.#pieces));
    this.#pieces = pieces.length;
  }

  /** Only tentative text was to have stood in the last one. */
  #takeBack() {
    this.#live.lastElementChild.remove();
    this.#next -= 1;
    this.#pieces = Infinity;  // of the one before, all
  }

  /** Where tentative text shrinks, nothing jumps. */
  #hold() {
    const { height } = this.#now.getBoundingClientRect();
    if (height > parseFloat(this.#now.style.minHeight || 0)) {
      this.#now.style.minHeight = `${height}px`;
    }
  }

  /** The oldest paragraphs become one element; their text stays. */
  #fold() {
    const paragraphs = [...this.#live.children];
    const most = MOST_PARAGRAPHS * (this.#following ? 1 : 4);  // not under the reader's eyes
    if (paragraphs.length <= most) return;
    const old = paragraphs.slice(0, paragraphs.length - MOST_PARAGRAPHS + FOLDED);
    const folded = document.createElement("div");
    folded.textContent = old.map((each) => each.textContent).join("\n\n");
    this.#history.append(folded);
    for (const each of old) each.remove();
    this.#now.style.minHeight = "";
    if (this.#history.childElementCount > MOST_FOLDED) this.#history.firstElementChild.remove();
  }

  #resized() {
    this.#now.style.minHeight = "";
    this.#follow();
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
