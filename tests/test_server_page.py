"""The page with the microphone, as a browser runs it."""

from __future__ import annotations

import asyncio
import re
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cli_plugin
import httpx
import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]
from audio_files import read_audio
from caption_reader import Speech
from captions_browser import browser, eventually
from fakes import ScriptedBackend, chunks_of, say, simulate
from scripted_stream import ScriptedServer
from server_process import serving
from system_parts import needs

from sinks.subtitles import SrtSink, WebVttSink
from streaming.audio import Samples
from streaming.events import (
    AudioDropped,
    Event,
    Final,
    Notice,
    SessionEnded,
    SpeechStarted,
    Word,
)

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = needs("chromedriver", package="chromium-driver")

JFK = " And so, my fellow Americans, ask not what your country can do"
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RATE = 16_000
COUNTED = 30_011
"""Samples of the tests that need no microphone count, up to this."""
STREAM = """
const done = arguments[arguments.length - 1];
import(new URL("page/stream.js", document.baseURI).href).then(({ Stream }) => {
  Object.assign(window, { heard: [], sessions: [], pushed: 0 });
  const address = (query) => {
    const made = new URL("v1/stream", document.baseURI);
    made.protocol = "ws:";
    made.search = new URLSearchParams(query);
    return made;
  };
  window.stream = new Stream(address, 16000, {
    state() {},
    session(session) { sessions.push(session); },
    event(event) { heard.push(event.seq); },
  });
  window.push = (seconds) => {
    for (let n = 0; n < seconds * 10; n++) {
      stream.audio(Int16Array.from({ length: 1600 }, (_, i) => (pushed + i) % 30011));
      pushed += 1600;
    }
  };
  stream.open();
  done();
});
"""
TRANSCRIPT = """
const done = arguments[arguments.length - 1];
const at = (name) => import(new URL(`page/${name}.js`, document.baseURI).href);
Promise.all([at("transcript"), at("subtitles")]).then(([{ Transcript }, { srt, vtt }]) => {
  const transcript = new Transcript();
  for (const event of arguments[0]) transcript.take(event, 0);
  done([srt(transcript.cues), vtt(transcript.cues)]);
});
"""


class Page:
    """The page of a server, in a browser."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        driver.get("about:blank")
        self.errors()  # of the page before
        driver.get(url)
        eventually(lambda: self.text("#state") != "Loading", True)

    def keep(self, folder: Path) -> None:
        """Leave a picture for people in the test's folder, which pytest keeps for some runs."""
        assert self.driver.save_screenshot(str(folder / "page.png"))

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: object) -> Any:
        """The result of a script that calls back."""
        return self.driver.execute_async_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What is to be seen of an element."""
        return self.driver.find_element("css selector", selector).text

    def press(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def type(self, text: str) -> None:
        """Into whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(text)

    def style(self, selector: str, name: str) -> str:
        found: str = self.run(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
            selector,
            name,
        )
        return found

    def captions(self) -> list[str]:
        """The paragraphs."""
        text = self.run(
            "return ['history', 'now'].map((e) => document.getElementById(e).innerText)"
        )
        return [line.strip() for line in "\n".join(text).split("\n") if line.strip()]

    def shows(self, *paragraphs: str, within_s: float = 8.0) -> None:
        eventually(self.captions, list(paragraphs), within_s=within_s)

    def start(self, server: ScriptedServer) -> None:
        """Press the button; returns once audio arrives."""
        before = len(server.sessions)
        self.press("#toggle")
        eventually(lambda: len(server.sessions), before + 1)
        eventually(lambda: server.session.position > 0, True)

    def errors(self) -> list[str]:
        """What the browser complained about, refusals of its security policy included."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as a wav for a browser's microphone."""
    audio = read_audio(Path(__file__).parents[1] / "examples" / "jfk.flac")
    return write_wav(tmp_path_factory.mktemp("spoken") / "jfk.wav", audio)


def write_wav(path: Path, audio: Samples) -> Path:
    pcm = (soxr.resample(audio, RATE, 48_000).clip(-1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(pcm.tobytes())
    return path


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, spoken: Path) -> Iterator[WebDriver]:
    speaking = f"--use-file-for-fake-audio-capture={spoken}%noloop"
    with browser(tmp_path_factory.mktemp("profile"), flags=[*FAKE, speaking]) as made:
        yield made


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as made:
        yield made


@pytest.fixture
def page(driver: WebDriver, server: ScriptedServer, tmp_path: Path) -> Iterator[Page]:
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    made = Page(driver, server.url)
    yield made
    made.keep(tmp_path)
    made.run("localStorage.clear(); sessionStorage.clear()")


# -- its files -----------------------------------------------------------------------------------


def test_files_have_their_types_and_a_strict_policy(server: ScriptedServer) -> None:
    types = {
        "": "text/html; charset=utf-8",
        "page/app.js": "text/javascript; charset=utf-8",
        "page/worklet.js": "text/javascript; charset=utf-8",
        "page/style.css": "text/css; charset=utf-8",
        "page/icon.svg": "image/svg+xml",
    }
    for name, kind in types.items():
        answer = httpx.get(server.url + name)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert httpx.head(server.url + name).headers["ETag"] == answer.headers["ETag"]
    assert httpx.get(server.url + "page/index.html").status_code == 404
    assert httpx.get(server.url + "page/../page.py").status_code == 404


def test_a_file_that_did_not_change_is_not_sent_again(server: ScriptedServer) -> None:
    first = httpx.get(server.url)
    known = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
    again = httpx.get(server.url, headers=known)
    assert again.status_code == 304
    assert again.content == b""
    assert httpx.get(server.url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_it_works_behind_a_path_prefix_and_loads_nothing_from_elsewhere(
    driver: WebDriver,
) -> None:
    with ScriptedServer("/some/prefix") as server:
        server.languages = ["de", "en"]
        page = Page(driver, server.url)
        page.start(server)
        server.write(Speech().commit(" Hello."))
        page.shows("Hello.")
        loaded = page.run("return performance.getEntriesByType('resource').map((e) => e.name)")
        assert len(loaded) > 10
        assert all(name.startswith(server.url) for name in loaded)
        assert page.run("return document.querySelector('#view').href").startswith(
            server.url + "view/"
        )
        assert page.errors() == []


# -- the stream ----------------------------------------------------------------------------------


def counted(page: Page, server: ScriptedServer) -> Page:
    """A stream of samples that count, without a microphone."""
    page.wait(STREAM)
    eventually(lambda: page.run("return stream.state.name"), "live")
    return page


def test_ten_cuts_lose_no_sample_and_no_event_and_double_none(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    speech = Speech()
    lost = np.random.default_rng(0).integers(0, 3 * RATE, 10)
    for number, count in enumerate(lost):
        page.run("push(1.3)")
        server.write(speech.commit(" one"), speech.partial(" two"))
        server.cut(lost=int(count))
        server.write(speech.commit(" two"))
        page.run("push(0.7)")
        eventually(
            lambda: (page.run("stream.retry(); return stream.state.name"), server.session.resumes),
            ("live", number + 1),
        )
    page.run("push(0.5); stream.finish()")
    eventually(lambda: page.run("return stream.state.code"), "finished")
    samples = server.session.samples()
    assert np.array_equal(samples, np.arange(int(20.5 * RATE)) % COUNTED)
    assert page.run("return heard") == list(range(len(server.session.events)))
    assert len(server.sessions) == 1


def test_of_audio_that_nobody_takes_the_last_minute_is_kept_and_the_rest_skipped(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    page.run("push(2)")
    eventually(lambda: server.session.position, 2 * RATE)
    server.refusals = [(1013, busy(100))]
    server.cut()
    eventually(lambda: page.run("return stream.state.code"), "busy")
    page.run("push(70); stream.retry()")
    eventually(lambda: server.session.position, 72 * RATE)
    expected = np.arange(72 * RATE) % COUNTED
    expected[2 * RATE : 12 * RATE] = 0
    assert np.array_equal(server.session.samples(), expected)
    assert {"type": "skip", "count": 10 * RATE} in server.session.said


def test_what_was_never_captured_is_skipped_in_its_place(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    page.run("push(1); stream.gap(2.5); push(1)")
    eventually(lambda: server.session.position, int(4.5 * RATE))
    assert server.session.said == [{"type": "skip", "count": 40_000}]
    assert not server.session.samples()[RATE : int(3.5 * RATE)].any()


def test_a_dead_line_is_noticed_and_replaced(page: Page, server: ScriptedServer) -> None:
    counted(page, server)
    page.run(
        "const real = performance.now.bind(performance); window.ahead = 0;"
        "performance.now = () => real() + ahead"
    )
    server.mute = True
    page.run("push(2)")
    eventually(lambda: server.session.position, 2 * RATE)
    page.run("ahead = 14000")
    time.sleep(0.4)
    assert page.run("return stream.state.name") == "live"
    server.mute = False
    page.run("ahead = 16000")
    eventually(lambda: server.session.resumes, 1)
    page.run("push(1)")
    eventually(lambda: server.session.position, 3 * RATE)


def test_a_line_on_which_nothing_is_said_is_kept_open(page: Page, server: ScriptedServer) -> None:
    counted(page, server)
    page.run(
        "const real = performance.now.bind(performance); performance.now = () => real() + 16e3"
    )
    eventually(lambda: server.session.said, [{"type": "keepalive"}])
    assert page.run("return stream.state.name") == "live"


def test_a_new_session_begins_with_the_audio_whose_words_were_not_committed(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    words = [Word(" one", 1.2, 2.0, 1.0)]
    server.write(SpeechStarted(at_s=1.0), Speech().commit(" one", words))
    eventually(lambda: page.run("return heard.length"), 3)
    page.run("push(5)")
    eventually(lambda: server.session.position, 5 * RATE)
    server.forget()
    server.cut()
    eventually(lambda: len(server.sessions), 2)
    eventually(lambda: server.session.position, 3 * RATE)
    assert np.array_equal(server.session.samples(), np.arange(2 * RATE, 5 * RATE) % COUNTED)
    after = page.run("return sessions.at(-1).after")
    assert after["code"] == "unknown_session"
    assert after["away_s"] < after["resume_s"]


def test_after_silence_a_new_session_begins_shortly_before_it_was_cut(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    final = Final(utterance=0, text=" one", end_s=2.0, reason="silence")
    server.write(SpeechStarted(at_s=1.0), final)
    eventually(lambda: page.run("return heard.length"), 3)
    page.run("push(7)")
    eventually(lambda: server.session.position, 7 * RATE)
    time.sleep(0.1)  # for the server's last word on it
    server.forget()
    server.cut()
    eventually(lambda: len(server.sessions), 2)
    eventually(lambda: server.session.position, 3 * RATE)
    assert server.session.samples()[0] == 4 * RATE % COUNTED


def test_a_server_that_ends_in_order_has_heard_everything(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    page.run("push(3)")
    eventually(lambda: server.session.position, 3 * RATE)
    server.write(SpeechStarted(at_s=1.0), SessionEnded(audio_s=3.0))
    server.cut(code=1012)
    eventually(lambda: len(server.sessions), 2)
    page.run("push(1)")
    eventually(lambda: server.session.position, RATE)
    assert server.session.samples()[0] == 3 * RATE % COUNTED
    assert page.run("return sessions.at(-1).after.code") == "restart"


def test_stopping_while_the_line_is_down_still_brings_the_last_words(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    server.refusals = [(1013, busy(1))]
    server.cut()
    eventually(lambda: page.run("return stream.state.code"), "busy")
    page.run("push(1); stream.finish()")
    eventually(lambda: page.run("return stream.state.code"), "finished")
    assert server.session.position == RATE
    assert server.session.said == [{"type": "finish"}]


def test_a_change_of_language_that_was_cut_off_is_said_again(
    page: Page, server: ScriptedServer
) -> None:
    counted(page, server)
    server.refusals = [(1013, busy(100))]
    server.cut()
    eventually(lambda: page.run("return stream.state.code"), "busy")
    page.run("stream.configure({language: 'de'}); stream.retry()")
    eventually(lambda: server.session.said, [{"type": "configure", "language": "de"}])
    page.run("push(2)")
    eventually(lambda: server.session.position, 2 * RATE)
    server.cut()
    eventually(lambda: page.run("stream.retry(); return stream.state.name"), "live")
    page.run("push(1)")
    eventually(lambda: server.session.position, 3 * RATE)
    assert len(server.session.said) == 1


def busy(retry_after_s: int) -> dict[str, Any]:
    return {"code": "busy", "message": "the server is busy", "retry_after_s": retry_after_s}


# -- captions ------------------------------------------------------------------------------------


def test_the_microphone_is_heard_at_the_rate_it_has(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    assert page.text("#state") == "Listening"
    assert page.text("#act") == "Stop"
    eventually(lambda: server.session.position > 3 * server.session.rate, True)
    page.press("#toggle")
    eventually(lambda: page.text("#state"), "Ready")
    session = server.session
    assert session.query["encoding"] == "s16le"
    assert session.rate == page.run("return new AudioContext().sampleRate")
    assert session.said == [{"type": "finish"}]
    heard = (session.samples() / 32768).astype(np.float32)
    said = read_audio(Path(__file__).parents[1] / "examples" / "jfk.flac")
    said = np.asarray(soxr.resample(said, RATE, session.rate))[: len(heard)]
    # A busy browser loses some of its file, so the half second that came through best counts.
    halves = [said[at : at + session.rate // 2] for at in range(0, len(said), session.rate // 2)]
    assert max(likeness(heard, half) for half in halves if np.abs(half).max() > 0.2) > 0.9
    assert page.errors() == []


def likeness(heard: Samples, said: Samples) -> float:
    """Highest correlation of ``said`` with any part of ``heard``."""
    n = len(heard) + len(said)
    spectrum = np.fft.rfft(heard, n) * np.conj(np.fft.rfft(said, n))
    products = np.fft.irfft(spectrum, n)[: len(heard) - len(said) + 1]
    energy = np.cumsum([0.0, *heard**2])
    energy = energy[len(said) :] - energy[: -len(said)]
    return float(np.max(products / np.sqrt(energy * np.sum(said**2) + 1e-9)))


def test_committed_and_tentative_text_are_told_apart_without_colour(
    page: Page, server: ScriptedServer
) -> None:
    page.start(server)
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for you, ask"))
    page.shows(JFK.strip() + " for you, ask")
    assert page.text("#live") == JFK.strip()
    assert page.text("#tentative") == "for you, ask"
    assert page.style("#live", "fontStyle") == "normal"
    assert page.style("#live", "textDecorationLine") == "none"
    assert page.style("#tentative", "fontStyle") == "italic"
    assert page.style("#tentative", "textDecorationLine") == "underline"
    server.write(speech.commit(" for you."), speech.final(), speech.partial(" And"))
    page.shows(JFK.strip() + " for you.", "And")


def test_those_who_listen_hear_committed_text_alone(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    page.run("""
      window.said = [];
      new MutationObserver((records) => {
        for (const each of records) said.push(...each.addedNodes);
      }).observe(document.querySelector("[aria-live=polite]"), {childList: true, subtree: true});
    """)
    speech = Speech()
    server.write(speech.commit(" One"), speech.partial(" tow"))
    page.shows("One tow")
    server.write(speech.commit(" two."), speech.final(), speech.partial(" thee"))
    page.shows("One two.", "thee")
    assert page.run("return said.filter((e) => e.nodeType === 3).map((e) => e.data)") == [
        "One",
        " two.",
    ]
    assert page.run("return document.querySelectorAll('[aria-live]').length") == 1
    assert page.run("return document.querySelector('#tentative').ariaHidden") == "true"
    assert page.run("return document.querySelector('#tentative').closest('[aria-live]')") is None


def test_what_speakers_say_is_text_and_nothing_else(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    speech = Speech()
    said = "<img src=x onerror=alert(1)>\u202e\x1b[31m & <b>bold</b>"
    server.write(speech.commit(" " + said), speech.final())
    server.write(Notice(level="error", message="`<u>oh</u>`"), speech.partial(" <i>x</i>"))
    page.shows(said.replace("\x1b", " "), "[`<u>oh</u>`]", "<i>x</i>")
    assert page.run("return document.querySelectorAll('#captions :is(img, b, i, u)').length") == 0


def test_lost_audio_and_notices_stand_in_the_text(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    speech = Speech()
    slow = Notice(level="warning", message="decoding does not keep up")
    server.write(
        speech.commit(" before"),
        slow,
        AudioDropped(start_s=2.0, end_s=3.2, reason="overload"),
        speech.commit(" after."),
        slow,
        speech.commit(" All."),
        speech.final(),
        Notice(level="info", message="all is well"),
    )
    late = "[decoding does not keep up]"  # does not part a sentence
    page.shows("before", "[audio lost 1.2 s]", late, "after. All.", late)
    assert page.style(".note", "fontSize") < page.style(".speech", "fontSize")


def test_state_delay_and_level_are_shown(page: Page, server: ScriptedServer) -> None:
    page.press("#toggle")
    eventually(lambda: page.text("#state"), "Listening")
    eventually(
        lambda: bool(server.sessions and server.session.position > server.session.rate), True
    )
    highest = "return Math.max(...[...document.querySelectorAll('#meter i')].map((bar) =>"
    highest += "new DOMMatrix(getComputedStyle(bar).transform).d))"
    eventually(lambda: page.run(highest) > 0.4, True)
    server.write(SpeechStarted(at_s=0.5))
    eventually(lambda: page.text("#state"), "Hearing speech")
    end_s = server.session.position / server.session.rate - 0.5
    server.write(Speech().commit(" now", [Word(" now", 0.0, end_s, 1.0)]))
    eventually(lambda: page.text("#delay") != "", True)
    shown = re.fullmatch(r"Delay (\d\.\d) s", page.text("#delay"))
    assert shown
    assert 0.4 <= float(shown[1]) <= 0.9


def test_the_share_link_is_there_while_a_session_runs(page: Page, server: ScriptedServer) -> None:
    share = page.driver.find_element("css selector", "#share")
    assert not share.is_displayed()
    page.start(server)
    assert share.is_displayed()
    share.click()
    assert page.text("#view") == f"{server.url}view/s0"
    page.press("#toggle")
    eventually(share.is_displayed, False)


def test_the_reader_who_scrolled_up_stays_there(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    speech = Speech()
    for _ in range(20):
        server.write(speech.commit(JFK), speech.final())
    where = "const c = document.querySelector('#captions'); return [c.scrollTop, c.scrollHeight - "
    where += "c.clientHeight - c.scrollTop]"
    eventually(lambda: len(page.captions()), 20)
    eventually(lambda: page.run(where)[1] < 2, True)
    latest = page.driver.find_element("css selector", "#latest")
    assert not latest.is_displayed()
    page.run("document.querySelector('#captions').scrollTop = 120")
    eventually(latest.is_displayed, True)
    for _ in range(120):
        server.write(speech.commit(JFK), speech.final())
    eventually(lambda: len(page.captions()), 140)
    assert page.run(where)[0] == 120
    latest.click()
    eventually(lambda: page.run(where)[1] < 2, True)
    server.write(speech.commit(" Last."), speech.final())
    eventually(lambda: page.captions()[-1], "Last.")
    assert page.run(where)[1] < 2
    assert not latest.is_displayed()


def test_a_long_day_makes_no_long_page(page: Page, server: ScriptedServer) -> None:
    page.start(server)
    speech = Speech()
    for first in range(0, 720, 90):
        for number in range(first, first + 90):
            server.write(speech.commit(f" Number {number}."), speech.final())
        last = "return document.querySelector('#live').lastElementChild?.textContent"
        eventually(lambda: page.run(last), f"Number {first + 89}.")  # noqa: B023
        assert page.run("return document.querySelectorAll('#captions *').length") < 120
    text = page.run("return document.querySelector('#captions').innerText")
    assert re.findall(r"\d+", text) == [str(number) for number in range(720)]


# -- what can be taken along ---------------------------------------------------------------------


def expected_subtitles(sink: Callable[[Path], Any], path: Path, events: list[Event]) -> str:
    async def write() -> None:
        async with sink(path) as opened:
            for event in events:
                await opened.write(event)

    asyncio.run(write())
    return path.read_text()


@pytest.mark.parametrize("case", ["talk", "odd"])
def test_subtitles_are_those_of_the_command_line(
    page: Page, server: ScriptedServer, tmp_path: Path, case: str
) -> None:
    if case == "talk":
        script = say(30, 8, 40, 2, word_s=0.25)
        events = simulate(chunks_of(script.audio()), ScriptedBackend(script), pass_cost_s=0.05)
    else:
        speech = Speech()
        texts = [
            " Yes & <no>.",
            " " + "long" * 30,
            "彼は毎日図書館で本を読んでいますそして家に帰ります。" * 2,
        ]
        events = []
        for number, text in enumerate(texts):
            words = [Word(text, number * 4.0, number * 4.0 + 3.0, 1.0)]
            events += [speech.commit(text, words), speech.final()]
        events.append(SessionEnded(session="a"))
    plain = [as_json(event) for event in events]
    srt, vtt = page.wait(TRANSCRIPT, plain)
    assert srt == expected_subtitles(SrtSink, tmp_path / "a.srt", events)
    assert vtt == expected_subtitles(WebVttSink, tmp_path / "a.vtt", events)
    assert srt.count("-->") >= (7 if case == "talk" else 3)


def as_json(event: Event) -> Any:
    import json

    from streaming.events import event_to_json

    return json.loads(event_to_json(event))


def test_text_can_be_copied_and_downloaded_and_times_rise_through_sessions(
    page: Page, server: ScriptedServer, tmp_path: Path
) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    assert not page.driver.find_element("css selector", "#copy").is_enabled()
    for text in (" One.", " Two."):
        page.start(server)
        eventually(lambda: server.session.position > 1.2 * server.session.rate, True)
        speech = Speech()
        server.write(speech.commit(text, [Word(text, 0.1, 1.1, 1.0)]), speech.final())
        page.press("#toggle")
        eventually(lambda: page.text("#state"), "Ready")
    page.shows("One.", "Two.")
    page.press("#copy")
    eventually(lambda: page.text("#said"), "Text copied")
    pasted = page.wait("navigator.clipboard.readText().then(arguments[0])")
    assert pasted == "One.\nTwo.\n"
    found = {}
    for kind in ("txt", "srt", "vtt"):
        page.press("#download summary")
        page.press(f"[data-format={kind}]")
        eventually(lambda: len(list(tmp_path.glob(f"captions-*.{kind}"))), 1)  # noqa: B023
        [file] = tmp_path.glob(f"captions-*.{kind}")
        assert re.fullmatch(r"captions-\d{4}-\d\d-\d\d-\d{4}\.\w{3}", file.name)
        found[kind] = file.read_text()
    assert found["txt"] == pasted
    between_s = server.sessions[0].position / server.sessions[0].rate
    first, second = re.findall(r"00:00:(\d\d),(\d{3}) --> ", found["srt"])
    assert first == ("00", "100")
    assert int("".join(second)) == pytest.approx(1000 * between_s + 100, abs=2)
    assert found["vtt"].startswith("WEBVTT\n\n00:00:00.100 --> 00:00:01.100\nOne.\n\n")


# -- what can go wrong ---------------------------------------------------------------------------


def test_after_a_restart_of_the_server_the_text_stays_and_a_new_session_goes_on(
    page: Page, server: ScriptedServer
) -> None:
    page.start(server)
    speech = Speech()
    server.write(
        speech.commit(" One."), speech.final(), speech.commit(" And"), speech.partial(" tow")
    )
    page.shows("One.", "And tow")
    server.stop()
    eventually(lambda: page.text("#state").startswith("Reconnecting in"), True)
    page.shows("One.", "And tow")
    server.start()
    eventually(lambda: len(server.sessions), 2)
    eventually(lambda: page.text("#state"), "Listening")
    server.write(Speech().commit(" Two."))
    page.shows("One.", "And", "[The server was restarted: a new session goes on from here]", "Two.")
    assert page.text("#problem") == ""
    eventually(lambda: server.session.position > 0, True)


def test_a_busy_server_is_told_of_and_asked_again(page: Page, server: ScriptedServer) -> None:
    server.refusals = [(1013, busy(2))]
    page.press("#toggle")
    eventually(lambda: page.text("#state"), "Reconnecting in 2 s")
    assert page.text("#problem").startswith("The server is busy: it is asked again")
    eventually(lambda: page.text("#state"), "Listening")
    assert page.text("#problem") == ""


def test_a_refusal_that_stays_ends_the_run_with_the_servers_words(
    page: Page, server: ScriptedServer
) -> None:
    refusal = {"code": "bad_parameter", "message": "language must be a code, not 'xx'"}
    server.refusals = [(1008, refusal)]
    page.press("#toggle")
    eventually(
        lambda: page.text("#problem"),
        "Language must be a code, not 'xx'. Press Start to try again.",
    )
    assert page.text("#state") == "Ready"
    page.start(server)
    assert page.text("#problem") == ""


def test_a_token_is_asked_for_and_kept_out_of_the_address(
    page: Page, server: ScriptedServer
) -> None:
    server.token = "open-sesame"
    page = Page(page.driver, server.url)
    eventually(lambda: page.text("#problem").startswith("This server asks for a token."), True)
    page.type("sesame\n")
    eventually(
        lambda: page.text("#problem").startswith("The server does not know this token"), True
    )
    page.type("sésame ☃\n")  # cannot be one
    eventually(lambda: page.run("return document.querySelector('#token-text').value"), "")
    assert page.text("#problem").startswith("The server does not know this token")
    page.type("open-sesame\n")
    eventually(lambda: page.text("#problem"), "")
    assert page.run("return document.activeElement.id") == "toggle"
    page.start(server)
    assert page.run("return location.href") == server.url
    page = Page(page.driver, server.url)  # this tab knows it
    page.start(server)
    assert page.run("return Object.keys(localStorage)") == []


def test_a_token_that_is_revoked_is_asked_for_again_in_the_middle(
    page: Page, server: ScriptedServer
) -> None:
    page.start(server)
    server.write(Speech().commit(" One"))
    page.shows("One")
    server.refusals = [(1008, {"code": "token_revoked", "message": "this token was revoked"})]
    server.cut()
    eventually(lambda: page.text("#state"), "Waiting for a token")
    server.token = "new"
    eventually(lambda: page.run("return document.activeElement.id"), "token-text")
    page.type("new\n")
    eventually(lambda: page.text("#state"), "Listening")
    assert server.session.resumes == 1
    page.shows("One")


def test_a_microphone_that_is_gone_ends_the_run_and_says_so(
    page: Page, server: ScriptedServer
) -> None:
    page.run("""
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await ask(wanted));
    """)
    page.start(server)
    page.run("stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    eventually(lambda: page.text("#state"), "Ready")
    assert page.text("#problem").startswith("The microphone is gone: connect it again")
    assert server.session.said == [{"type": "finish"}]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((FAKE[0], "--deny-permission-prompts"), "The microphone is not allowed for this page"),
        ((FAKE[1],), "No microphone was found: connect one"),
    ],
    ids=["denied", "absent"],
)
def test_without_a_microphone_it_says_why(
    server: ScriptedServer, tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    with browser(tmp_path, flags=flags) as driver:
        page = Page(driver, server.url)
        page.press("#toggle")
        eventually(lambda: page.text("#problem").startswith(sentence), True)
        assert page.text("#state") == "Ready"
        assert server.sessions == []


def test_without_a_secure_context_it_says_what_helps(
    server: ScriptedServer, tmp_path: Path
) -> None:
    with browser(tmp_path, flags=["--host-resolver-rules=MAP captions.test 127.0.0.1"]) as driver:
        page = Page(driver, f"http://captions.test:{server.port}/")
        told = page.text("#problem")
        assert "over HTTPS only" in told
        assert "--tls-cert" in told
        assert f"http://localhost:{server.port}/" in told
        assert not driver.find_element("css selector", "#toggle").is_enabled()


# -- for everybody -------------------------------------------------------------------------------


def test_languages_have_names_and_can_be_changed_in_the_middle(
    page: Page, server: ScriptedServer
) -> None:
    choice = page.driver.find_element("css selector", "#language-choice")
    assert not choice.is_displayed()  # of an English-only model
    server.languages = ["en", "de", "ja"]
    page = Page(page.driver, server.url)
    eventually(
        lambda: page.text("#language").split("\n"), ["Automatic", "English", "German", "Japanese"]
    )
    page.start(server)
    assert "language" not in server.session.query
    page.driver.find_element("css selector", "#language").send_keys("Ger")
    eventually(lambda: server.session.said, [{"type": "configure", "language": "de"}])
    page = Page(page.driver, server.url)
    page.start(server)
    assert server.session.query["language"] == "de"


def test_the_keyboard_is_enough_and_shows_where_it_is(page: Page, server: ScriptedServer) -> None:
    visited = []
    for _ in range(4):
        page.type("\ue004")  # tab
        visited.append(
            page.run("const e = document.activeElement; return e.id || e.textContent.trim()")
        )
        assert page.run("return getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert visited == ["Download", "theme", "captions", "toggle"]
    page.run("document.querySelector('#toggle').focus()")
    page.type("\n")
    eventually(lambda: page.text("#state"), "Listening")
    page.run("document.querySelector('#download summary').focus()")
    page.type("\n")
    assert page.run("return document.querySelector('#download').open")
    page.type("\ue00c")  # escape
    assert not page.run("return document.querySelector('#download').open")
    names = "return [...document.querySelectorAll('button, summary, select, input')].every("
    names += "(e) => e.textContent.trim() || e.ariaLabel || e.labels?.length)"
    assert page.run(names)


CONTRAST = """
const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function luminance(color) {
  probe.fillStyle = color;
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map((value) => value / 255)
    .map((value) => (value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4));
  return .2126 * r + .7152 * g + .0722 * b;
}
const box = document.createElement("i");
document.body.append(box);
const found = arguments[0].map(([ink, paper]) => {
  box.style.cssText = "transition: none";
  box.style.color = `var(--${ink})`;
  box.style.backgroundColor = `var(--${paper})`;
  const {color, backgroundColor} = getComputedStyle(box);
  const [a, b] = [luminance(color), luminance(backgroundColor)].sort((x, y) => y - x);
  return (a + .05) / (b + .05);
});
box.remove();
return found;
"""


def test_dark_and_light_follow_the_system_and_the_switch_with_contrast(
    page: Page, server: ScriptedServer
) -> None:
    pairs = [
        *(("ink", "paper"), ("soft", "paper"), ("soft", "card"), ("accent", "card")),
        *(("on-accent", "accent"), ("stop", "card"), ("warn-ink", "warn"), ("ink", "line")),
    ]
    papers = set()
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        papers.add(page.style("body", "backgroundColor"))
        assert min(page.run(CONTRAST, pairs)) >= 4.5
        pressed = "return document.querySelector('#theme').ariaPressed"
        eventually(lambda: page.run(pressed), str(scheme == "dark").lower())  # noqa: B023
    assert len(papers) == 2
    light = page.style("body", "backgroundColor")
    page.press("#theme")
    assert page.style("body", "backgroundColor") != light
    assert Page(page.driver, server.url).style("body", "backgroundColor") != light  # remembered


def test_nothing_moves_for_those_who_asked_for_that(page: Page) -> None:
    for value, expected in (("reduce", "0s"), ("no-preference", "0.1s")):
        features = [{"name": "prefers-reduced-motion", "value": value}]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert page.style("#meter i", "transitionDuration") == expected


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (320, 568), (844, 390)])
def test_everything_fits_any_window(
    page: Page, server: ScriptedServer, width: int, height: int
) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    server.languages = ["en", "de"]
    page = Page(page.driver, server.url)
    page.start(server)
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for you, " + "very" * 30))
    words = [Word(" x", 0.0, 0.1, 1.0)]
    server.write(speech.commit(" x", words), speech.final())
    eventually(lambda: page.text("#delay") != "", True)
    out = page.run("""
      return [...document.querySelectorAll("header *, footer *, #captions p")].filter((each) => {
        const {left, right, top, bottom, width} = each.getBoundingClientRect();
        const hidden = getComputedStyle(each).clipPath !== "none" || width === 0;
        const text = each.closest("#captions");
        return !hidden && !each.closest("span[class], .sheet")
          && (left < 0 || right > innerWidth || (!text && (top < 0 || bottom > innerHeight)));
      }).map((each) => each.id || each.tagName)
    """)
    assert out == []
    assert page.run("return document.documentElement.scrollWidth") <= width
    for button in page.run(
        "return [...document.querySelectorAll('button, summary, select')]"
        ".map((e) => e.getBoundingClientRect()).filter((box) => box.width)"
    ):
        assert button["width"] >= 44
        assert button["height"] >= 44
    assert page.run("return document.querySelector('#captions').clientHeight") > height / 4
    for menu in ("#share", "#download"):
        page.press(f"{menu} summary")
        box = page.run(f"return document.querySelector('{menu} .sheet').getBoundingClientRect()")
        assert 0 <= box["left"] < box["right"] <= width
        assert box["bottom"] <= height


# -- the real server -----------------------------------------------------------------------------


@pytest.mark.needs_model
@pytest.mark.realtime
def test_what_is_said_into_the_microphone_appears_as_captions(
    driver: WebDriver, tmp_path: Path
) -> None:
    with serving(tmp_path, "--model", "tiny.en", backend="auto") as served:
        eventually(lambda: "ready\n" in served.lines, True, within_s=60)
        page = Page(driver, served.url)
        page.press("#toggle")
        eventually(lambda: "for your country." in " ".join(page.captions()), True, within_s=40)
        assert 0 < float(page.text("#delay-s").split()[0]) < 5
        page.press("#toggle")
        eventually(lambda: page.text("#state"), "Ready", within_s=20)
        said = " ".join(page.captions()).casefold()
        assert "my fellow americans" in said
        assert "what your country can do for you" in said
        assert "ask what you can do for your country." in said
        assert page.text("#problem") == ""
        assert page.errors() == []
        page.keep(tmp_path)


@pytest.mark.realtime
def test_the_page_outlives_its_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("outlives")
    script = cli_plugin.SAID
    wav = write_wav(folder / "script.wav", script.audio())
    flags = [*FAKE, f"--use-file-for-fake-audio-capture={wav}%noloop"]
    with browser(folder / "profile", flags=flags) as driver:
        with serving(folder, "--vad", "loud") as first:
            page = Page(driver, first.url)
            page.press("#toggle")
            committed = "return document.querySelector('#live').textContent.split(' ').length"
            eventually(lambda: page.run(committed) >= 3, True, within_s=30)
            [before, *_] = page.captions()
            first.process.kill()
            eventually(lambda: page.text("#state").startswith("Reconnecting"), True)
        with serving(folder, "--vad", "loud", port=first.port):
            note = "[The server was restarted: a new session goes on from here]"
            eventually(lambda: note in page.captions(), True, within_s=30)
            assert before.split()[0] in page.captions()[0]
            eventually(lambda: page.captions()[-1] != note, True, within_s=30)
            eventually(lambda: page.text("#state") in ("Listening", "Hearing speech"), True)
            page.press("#toggle")
            eventually(lambda: page.text("#state"), "Ready", within_s=20)
            page.keep(folder)


def test_a_token_of_the_real_server_lets_the_page_in(driver: WebDriver, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("anna anna-0123456789abcdef\n")
    tokens.chmod(0o600)
    with serving(tmp_path, "--vad", "loud", "--tokens-file", tokens) as served:
        page = Page(driver, served.url)
        eventually(lambda: page.text("#problem").startswith("This server asks for a token."), True)
        page.type("anna-0123456789abcdef\n")
        eventually(lambda: page.text("#problem"), "")
        page.press("#toggle")
        eventually(lambda: page.text("#state") in ("Listening", "Hearing speech"), True)
        page.press("#toggle")
        eventually(lambda: page.text("#state"), "Ready", within_s=20)
        page.run("sessionStorage.clear()")
