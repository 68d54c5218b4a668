"use strict";

const LOOKS = { light: ["#1c2128", "#57606a", "#e3e7eb"], dark: ["#e6edf3", "#9ba6b2", "#2b323b"] };
const PIXELS_A_SECOND = 42;
const LEGIBLE = { labels: 26, captions: 40 }; // pixels a second that texts need
const MARGIN_S = 1; // so that the texts before the first words are seen
const sessions = JSON.parse(document.getElementById("sessions").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)");

function plot(name) {
  for (const each of Bokeh.documents) {
    const found = each.get_model_by_name(name);
    if (found) return found;
  }
}

const time = (s) => {
  const whole = Math.max(0, Math.round(s));
  const [h, m] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const two = (n) => String(n).padStart(2, "0");
  return `${h ? `${h}:${two(m)}` : m}:${two(whole % 60)}`;
};

function paint(figure) {
  const [text, faint, grid] = LOOKS[dark.matches ? "dark" : "light"];
  for (const axis of [...figure.below, ...figure.left]) {
    axis.setv({
      axis_label_text_color: faint, axis_label_text_font_style: "normal",
      major_label_text_color: faint, axis_line_color: faint,
      major_tick_line_color: faint, minor_tick_line_color: null,
    });
  }
  for (const each of figure.center) if (each.type === "Grid") each.grid_line_color = grid;
  for (const each of figure.renderers) if (each.name in LEGIBLE) each.glyph.text_color = { value: text };
}

class Session {
  constructor({ name, length_s, plots }) {
    this.length_s = length_s;
    this.figures = plots.map((kind) => plot(`${name}-${kind}`));
    this.range = plot(`${name}-sound`).x_range;
    const renderers = this.figures.flatMap((each) => each.renderers);
    this.labels = renderers.filter((each) => each.name in LEGIBLE);
    this.dots = renderers.filter((each) => each.name === "dots");
    const section = document.getElementById(name);
    this.output = section.querySelector("output");
    for (const button of section.querySelectorAll("button[data-move]")) {
      button.addEventListener("click", () => this.move(button.dataset.move));
    }
    for (const property of ["start", "end"]) {
      this.range.connect(this.range.properties[property].change, () => this.moved());
    }
    this.show(-MARGIN_S, this.width_px / PIXELS_A_SECOND);
    this.paint();
    this.moved();
    // A finger that drags scrolls the page; the buttons move the time.
    if (touch.matches) {
      for (const each of this.figures) {
        for (const tool of each.toolbar.tools) if (tool.type === "PanTool") tool.active = false;
      }
    }
  }

  get width_px() {
    return Math.max(200, document.body.clientWidth - 100);
  }

  get span_s() {
    return this.range.end - this.range.start;
  }

  paint() {
    this.figures.forEach(paint);
  }

  show(start_s, span_s) {
    const last = this.length_s + MARGIN_S;
    const span = Math.min(Math.max(span_s, 0.5), last + MARGIN_S);
    const start = Math.min(Math.max(start_s, -MARGIN_S), last - span);
    this.range.setv({ start, end: start + span });
  }

  move(how) {
    const [start, span] = [this.range.start, this.span_s];
    if (how === "earlier") this.show(start - span * 0.8, span);
    else if (how === "later") this.show(start + span * 0.8, span);
    else if (how === "closer") this.show(start + span / 4, span / 2);
    else if (how === "wider") this.show(start - span / 2, span * 2);
    else this.show(-MARGIN_S, Infinity);
  }

  moved() {
    const until = time(Math.min(this.range.end, this.length_s));
    this.output.textContent = `${time(this.range.start)} – ${until} of ${time(this.length_s)}`;
    const pixels = this.width_px / this.span_s;
    // Where thousands share the picture, large ones would be one blot.
    const size = pixels > 6 ? 6 : pixels > 1.5 ? 4 : 2;
    for (const each of this.dots) each.glyph.size = { value: size };
    for (const each of this.labels) each.visible = pixels >= LEGIBLE[each.name];
  }
}

function begin() {
  const shown = sessions.map((each) => new Session(each));
  dark.addEventListener("change", () => shown.forEach((each) => each.paint()));
  document.documentElement.dataset.ready = "yes";
}

// The pictures are drawn once the page is there, some of them later than this script runs.
function whenDrawn() {
  const all = sessions.flatMap(({ name, plots }) => plots.map((kind) => `${name}-${kind}`));
  if (window.Bokeh && all.every(plot)) begin();
  else setTimeout(whenDrawn, 20);
}

whenDrawn();
