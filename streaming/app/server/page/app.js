// The page: one button, and what becomes of it.

import { Captions } from "./captions.js";
import { closeMenusByThemselves, switchThemeBy } from "./menus.js";
import { obstacle } from "./microphone.js";
import { Run } from "./run.js";
import { problem, waiting } from "./sentences.js";
import { Server } from "./server.js";
import { srt, vtt } from "./subtitles.js";
import { Transcript } from "./transcript.js";

const SAID_MS = 2500;

const at = (id) => document.getElementById(id);
const server = new Server();
const transcript = new Transcript();
const captions = new Captions(transcript, at);
const blocked = obstacle();

let run = null;
let before_s = 0;  // audio of the runs before
let answered = false;  // the server has told what it offers
let locked = "";  // why a token is asked for
let fault = blocked && problem(blocked);

// -- start and stop --------------------------------------------------------------------------

at("toggle").onclick = async () => {
  if (run) return run.finish();
  fault = "";
  if (!answered && !await ask()) return show();
  const started = run = new Run(server, transcript, before_s, {
    language: () => at("language").value,
    changed: () => changed(),
    lost() {
      fault = problem("unplugged");
      started.finish();
    },
    over(code, message) {
      before_s += started.audio_s;
      run = null;
      locked = "";
      if (code !== "finished" && code !== "stopped") fault = problem(code, message);
    },
  });
  show();
  try {
    await started.start();
  } catch (error) {
    run = null;
    fault = problem(error.code ?? error.name, error.message);
  }
  return show();
};

function changed() {
  const { name, code } = run?.state ?? {};
  if (name === "live" && !run.finishing) fault = "";
  if (name === "locked") lock(code);
  captions.draw();
  show();
}

addEventListener("online", () => run?.retry());
addEventListener("pagehide", () => run?.stop());
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") run?.wake();
});
addEventListener("beforeunload", (event) => {
  if (run) event.preventDefault();  // the browser asks whether to leave
});

// -- languages, and the token ----------------------------------------------------------------

/** Asks what the server offers; false where it wants a token first. */
async function ask() {
  const answer = await server.ask();
  if (answer.locked) {
    lock("unauthorized");
    return false;
  }
  answered = answer.languages.length > 0;
  offer(answer.languages);
  return true;
}

function offer(languages) {
  const names = new Intl.DisplayNames([navigator.language, "en"], { type: "language" });
  const options = languages.map((code) => new Option(capital(names.of(code)), code));
  options.sort((one, other) => one.text.localeCompare(other.text));
  const select = at("language");
  select.replaceChildren(new Option("Automatic", ""), ...options);
  select.value = localStorage.getItem("language") ?? "";
  if (select.selectedIndex < 0) select.value = "";
  at("language-choice").hidden = languages.length < 2;
}

const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

at("language").onchange = ({ target }) => {
  localStorage.setItem("language", target.value);
  run?.speakIn(target.value);
};

function lock(code) {
  locked = server.hasToken && code === "unauthorized" ? "wrong_token" : code;
  show();
  at("token-text").focus();
}

at("token").onsubmit = async (event) => {
  event.preventDefault();
  server.remember(at("token-text").value.trim());
  at("token-text").value = "";
  if (!await ask()) return;
  locked = "";
  run?.retry();
  show();
  at("toggle").focus();
};

// -- what is shown ---------------------------------------------------------------------------

function stateOf() {
  if (blocked) return "No microphone";
  if (locked) return "Waiting for a token";
  if (run === null) return "Ready";
  if (run.state === null) return "Allow the microphone";
  const { name, retryAt } = run.state;
  if (name === "waiting") {
    return `Reconnecting in ${Math.max(Math.ceil(retryAt - performance.now() / 1000), 1)} s`;
  }
  if (run.finishing) return "Finishing";
  if (name === "connecting") return run.session ? "Reconnecting" : "Connecting";
  return run.speaking ? "Hearing speech" : "Listening";
}

function faultOf() {
  if (locked) return problem(locked);
  if (run?.state?.name === "waiting") return waiting(run.state);
  return fault || (run?.silent ? problem("silent") : "");
}

function show() {
  tell(at("problem"), faultOf());
  write(at("state"), stateOf());
  write(at("act"), run === null ? "Start" : run.finishing ? "Stop now" : "Stop");
  at("token").hidden = !locked;
  at("toggle").classList.toggle("going", run !== null);
  at("status").classList.toggle("going", run?.state != null);
  at("status").classList.toggle("live", run?.state?.name === "live" && !run.finishing);
  at("toggle").disabled = blocked !== "" || (run !== null && run.state === null);
  showDelay(run?.delay_s ?? null);
  showShare(run?.session ?? "");
  at("copy").disabled = transcript.isEmpty;
  for (const item of document.querySelectorAll("[data-format]")) {
    item.disabled = item.dataset.format === "txt" ? transcript.isEmpty : !transcript.hasSpeech;
  }
}

function showDelay(delay_s) {
  at("delay").hidden = delay_s === null;
  if (delay_s !== null) write(at("delay-s"), `${delay_s.toFixed(1)} s`);
}

function showShare(session) {
  at("share").hidden = session === "";
  if (session === "") return;
  at("view").href = server.viewAddress(session);
  write(at("view"), at("view").href);
}

const BARS = [0.45, 0.75, 1, 0.75, 0.45];
const FLAT = 0.17;

/** From the noise of a room (-55 dB) to a loud voice (-10 dB). */
function meter(level) {
  const height = Math.min(Math.max((20 * Math.log10(level || 1e-9) + 55) / 45, 0), 1);
  [...at("meter").children].forEach((bar, n) => {
    bar.style.transform = `scaleY(${Math.max(height * BARS[n], FLAT).toFixed(2)})`;
  });
}

setInterval(() => {
  meter(run?.level ?? 0);
  show();
}, 100);

let saying = 0;

function say(text) {
  clearTimeout(saying);
  write(at("said"), text);
  saying = setTimeout(() => write(at("said"), ""), SAID_MS);
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let told = "";

/** Writes a sentence; what stands between backticks is to be typed. */
function tell(node, text) {
  if (text === told) return;
  told = text;
  node.replaceChildren(...text.split("`").map((part, n) => {
    if (n % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  }));
}

// -- what can be taken along -----------------------------------------------------------------

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say("This browser does not let the page copy");
  }
}

at("copy").onclick = () => copy(transcript.text, "Text");
at("copy-link").onclick = () => copy(at("view").href, "Link");

const FORMATS = {
  txt: ["text/plain", () => transcript.text],
  srt: ["application/x-subrip", () => srt(transcript.cues)],
  vtt: ["text/vtt", () => vtt(transcript.cues)],
};

function save(format) {
  const [type, make] = FORMATS[format];
  const now = new Date();
  const local = new Date(now - now.getTimezoneOffset() * 60_000).toISOString();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([make()], { type: `${type};charset=utf-8` }));
  link.download = `captions-${local.slice(0, 16).replace("T", "-").replace(":", "")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

for (const item of document.querySelectorAll("[data-format]")) {
  item.onclick = () => save(item.dataset.format);
}

if (blocked) write(at("hint"), "This page cannot listen yet.");
closeMenusByThemselves();
switchThemeBy(at("theme"));
show();
if (!blocked) await ask();
