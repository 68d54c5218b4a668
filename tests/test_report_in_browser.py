"""The report as a browser shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from captions_browser import browser, eventually
from fakes import Noise, ScriptedBackend, chunks_of, make_parts, say, simulate
from report_logs import at, stamped, talk, word
from system_parts import needs

from streaming.events import Committed, Event, Final, Partial, SessionEnded, SessionStarted
from streaming.report import Envelope, Sounding, collect, page

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = needs("chromedriver", package="chromium-driver")

SCRIPT = say(9, 12, 7)
HOSTILE = '</script><img src="http://127.0.0.1:9/x" onerror="window.caught = 1">@text{safe}'
DEEP = """
const found = [];
(function walk(root) {
  for (const each of root.querySelectorAll("*")) {
    found.push(each);
    if (each.shadowRoot) walk(each.shadowRoot);
  }
})(document);
"""
PLACE = """
const [name, x, y] = arguments;
const figure = Bokeh.documents[0].get_model_by_name(name);
const section = document.getElementById(name.split("-")[0]);
const kind = sessions[0].plots.indexOf(name.split("-")[1]);
const outer = section.querySelectorAll("figure")[kind];
outer.scrollIntoView({block: "end"});
const box = outer.getBoundingClientRect();
const across = (x - figure.x_range.start) / (figure.x_range.end - figure.x_range.start);
const down = (figure.y_range.end - y) / (figure.y_range.end - figure.y_range.start);
return [
  box.right - 14 - figure.inner_width * (1 - across),
  box.bottom - figure.outer_height + figure.inner_height * down + 5,
];
"""
PAINTED = """
const canvases = (root) => [...root.querySelectorAll("*")].flatMap((each) => [
  ...(each.tagName === "CANVAS" ? [each] : []),
  ...(each.shadowRoot ? canvases(each.shadowRoot) : []),
]);
const figures = [...document.querySelectorAll("figure")];
return figures.filter((figure) => canvases(figure).some((canvas) => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let n = 0;
  for (let at = 3; at < data.length; at += 4) n += data[at] > 0;
  return n > 1000;
})).length;
"""


class Page:
    """What a browser shows of a report."""

    def __init__(self, driver: WebDriver, folder: Path) -> None:
        self.driver = driver
        self._folder = folder

    def open(
        self, *logs: list[Event], scheme: str = "light", width: int = 1280, touch: bool = False
    ) -> None:
        path = self._folder / "report.html"
        path.write_text(page([sounding(log) for log in logs], "Report"), "utf-8")
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": touch},
        )
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        self.driver.get("about:blank")
        self.complaints()  # of the page before
        self.driver.get(path.as_uri())
        eventually(lambda: self.run("return document.documentElement.dataset.ready"), "yes")

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def shown_part(self) -> tuple[float, float]:
        start, end = self.run(
            "const range = plot('s0-sound').x_range; return [range.start, range.end]"
        )
        return start, end

    def tooltip(self, name: str, x: float, y: float) -> str:
        """What is told where one points at something."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        left, top = self.run(PLACE, name, x, y)
        for nearer in (3, 0):  # it takes a movement
            pointer = ActionBuilder(self.driver)
            move = pointer.pointer_action.move_to_location
            move(round(left) + nearer, round(top))  # type: ignore[no-untyped-call]
            pointer.perform()
        until_s = time.monotonic() + 20
        script = DEEP + (
            'return found.filter((each) => each.matches(".bk-Tooltip")).map((each) => '
            "each.shadowRoot.textContent).join()"
        )
        while not (text := str(self.run(script)).strip()):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        return text


def sounding(log: list[Event]) -> Sounding:
    envelope = Envelope()
    for chunk in chunks_of(SCRIPT.audio()):
        envelope.push(chunk)
    return Sounding(collect(log), envelope.finish())


@pytest.fixture(scope="module")
def log() -> list[Event]:
    backend = ScriptedBackend(SCRIPT, noise=Noise(unsure=0.3), seed=2)
    parts = replace(make_parts(), trace=True)
    return simulate(chunks_of(SCRIPT.audio()), backend, parts)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    profile = tmp_path_factory.mktemp("chromium")
    with browser(profile, flags=("--host-resolver-rules=MAP * ~NOTFOUND",)) as driver:
        yield driver


@pytest.fixture
def report(driver: WebDriver, tmp_path: Path) -> Page:
    return Page(driver, tmp_path)


def test_every_picture_is_painted_and_nothing_is_asked_of_the_network(
    report: Page, log: list[Event], tmp_path: Path
) -> None:
    report.open(log)
    eventually(lambda: report.run(PAINTED), 6, within_s=20)
    names = report.run("return [...document.querySelectorAll('figure h3')].map(e => e.innerText)")
    assert names == [
        "The whole run",
        "What was heard",
        "Each word on its way",
        "When the model ran, and how far back it listened",
        "How late each word was",
        "How many words were how late",
    ]
    entries = report.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [each for each in entries if not each.startswith(("data:", "blob:"))] == []
    assert report.complaints() == []
    report.driver.save_screenshot(str(tmp_path / "report.png"))


def test_pointing_tells_what_the_log_says(report: Page, log: list[Event]) -> None:
    report.open(log)
    first, done = collect(log).words[0], collect(log).passes[8]
    told = report.tooltip("s0-words", first.committed_s, 0)
    assert first.text.strip() in told
    assert f"certain {first.commit_delay_s:.2f} s after its end" in told
    told = report.tooltip("s0-passes", done.done_s - done.compute_s / 2, 0.4)
    assert "ran 0.100 s" in told
    assert f"heard {done.n_words} words" in told
    shown = report.run("return [...document.querySelectorAll('td.said')].map(e => e.textContent)")
    finals = [event.text.strip() for event in log if isinstance(event, Final)]
    assert shown[: len(finals)] == finals


def test_text_of_the_log_stays_text_under_the_pointer(report: Page) -> None:
    said = word(" " + HOSTILE, 1.0, 1.5)
    report.open(
        stamped(
            [
                SessionStarted(label=HOSTILE),
                at(1.7, Partial(words=(word(" other", 1.0, 1.5),))),
                at(2.0, Committed(words=(said,))),
                at(2.0, Final(text=HOSTILE, words=(said,), start_s=1.0, end_s=3.0)),
                at(3.0, SessionEnded(audio_s=3.0)),
            ]
        )
    )
    assert HOSTILE[:20] in report.tooltip("s0-words", 2.0, 0)
    assert HOSTILE in report.tooltip("s0-sound", 2.0, -135)
    images = DEEP + "return found.filter((each) => each.tagName === 'IMG').length"
    assert report.run(images) == 0
    assert report.run("return window.caught") is None
    assert report.complaints() == []


def test_buttons_move_and_zoom_all_pictures_by_keyboard_too(report: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    report.open(talk(120))
    start, end = report.shown_part()
    assert start == -1
    assert 15 < end < 40
    by_name = {
        button.get_attribute("aria-label"): button
        for button in report.driver.find_elements("css selector", "button[data-move]")
    }
    assert list(by_name) == ["Earlier", "Later", "Zoom in", "Zoom out", "Whole run"]
    by_name["Later"].send_keys(Keys.ENTER)
    later = report.shown_part()
    assert later[0] > start + 10
    assert later[1] - later[0] == pytest.approx(end - start)
    by_name["Zoom in"].send_keys(Keys.SPACE)
    closer = report.shown_part()
    assert closer[1] - closer[0] == pytest.approx((end - start) / 2)
    visible = "return plot('s0-words').renderers.find(r => r.name === 'labels').visible"
    assert report.run(visible) is True
    by_name["Whole run"].click()
    assert report.run(visible) is False  # there is no room for texts
    assert report.shown_part() == pytest.approx((-1, 122))
    told = report.run("return document.querySelector('output').textContent")
    assert told == "0:00 \N{EN DASH} 2:01 of 2:01"
    by_name["Earlier"].click()
    assert report.shown_part() == pytest.approx((-1, 122))
    ranges = report.run(
        "return ['words', 'passes', 'delays'].map(kind => plot('s0-' + kind).x_range.end)"
    )
    assert ranges == [pytest.approx(122)] * 3


def test_the_page_follows_the_colours_of_the_system(report: Page, log: list[Event]) -> None:
    looks = {}
    for scheme in ("light", "dark"):
        report.open(log, scheme=scheme)
        looks[scheme] = report.run(
            "const axis = plot('s0-words').below[0];"
            "return [getComputedStyle(document.body).backgroundColor,"
            " axis.major_label_text_color]"
        )
    assert looks["light"] == ["rgb(255, 255, 255)", "#57606a"]
    assert looks["dark"] == ["rgb(20, 23, 28)", "#9ba6b2"]


def test_a_phone_shows_it_without_scrolling_sideways(report: Page, log: list[Event]) -> None:
    report.open(log, width=390, touch=True)
    assert report.run("return document.documentElement.scrollWidth") <= 390
    start, end = report.shown_part()
    assert end - start < 10
    tools = report.run("return plot('s0-words').toolbar.tools.map(t => [t.type, t.active])")
    assert ["PanTool", False] in tools  # a finger scrolls the page


def test_two_sessions_are_moved_each_by_its_own(report: Page, log: list[Event]) -> None:
    report.open(log, [replace(event, session="other") for event in talk(60)])
    eventually(lambda: report.run(PAINTED), 12, within_s=20)
    report.run("document.querySelector('#s1 [data-move=all]').click()")
    assert report.run("return plot('s1-sound').x_range.end") == pytest.approx(62)
    assert report.shown_part()[1] < 40
    assert report.complaints() == []


def test_an_hour_is_drawn_and_moved(report: Page) -> None:
    report.open(talk(3600))
    assert report.complaints() == []
    report.run("document.querySelector('[data-move=all]').click()")
    eventually(lambda: report.run(PAINTED), 6, within_s=20)
