"""The captions page as a browser shows it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from caption_reader import Speech
from captions_browser import Server, browser, eventually
from fakes import Noise, ScriptedBackend, chunks_of, say, simulate
from system_parts import needs

from streaming.events import AudioDropped, Committed, Notice, SessionEnded, Word

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = needs("chromedriver", package="chromium-driver")

JFK = " And so, my fellow Americans, ask not what your country can do"

LOOK = """
return [...document.querySelectorAll(".speaker:not(.empty) .row")].map((row) => [
  +row.dataset.line,
  row.querySelector(".committed").textContent,
  row.querySelector(".tentative").textContent,
])
"""
WATCH = """
window.watched = {lines: {}, words: {}, faults: [], most: 0};
new MutationObserver(() => {
  const rows = [...document.querySelectorAll(".row")];
  watched.most = Math.max(watched.most, rows.length);
  for (const row of rows) {
    const [n, text] = [row.dataset.line, row.querySelector(".committed").textContent];
    if (row.innerText.length > 42) watched.faults.push("too long: " + row.innerText);
    if (!text.startsWith(watched.lines[n] ?? "")) {
      watched.faults.push(`line ${n}: ${watched.lines[n]} became ${text}`);
    }
    watched.lines[n] = text;
    for (const word of text.split(" ").filter(Boolean)) {
      if ((watched.words[word] ??= n) !== n) watched.faults.push(word + " moved");
    }
  }
}).observe(document.body, {subtree: true, childList: true, characterData: true});
"""


class Page:
    """What a browser shows of a server."""

    def __init__(self, driver: WebDriver, url: str, options: dict[str, str]) -> None:
        self.driver = driver
        driver.get("about:blank")
        self.errors()  # of the page before
        driver.get(url + ("?" + urlencode(options) if options else ""))
        eventually(lambda: self.run("return socket.readyState"), 1)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def rows(self) -> Any:
        """Number, committed and tentative text of every row in view."""
        return self.run(LOOK)

    def text(self, selector: str) -> str:
        """What is to be seen of an element."""
        return self.driver.find_element("css selector", selector).text

    def style(self, selector: str, name: str) -> str:
        found: str = self.run(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
            selector,
            name,
        )
        return found

    def errors(self) -> list[str]:
        """What the browser complained about, refusals of its security policy included."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(clear_after_s=0) as made:
        yield made


def test_committed_and_tentative_text_are_told_apart_without_colour(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {})
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for you, ask"))
    eventually(
        page.rows,
        [
            [0, "And so, my fellow Americans, ask not what", ""],
            [1, "your country can do", "for you, ask"],
        ],
    )
    assert page.text("#captions") == (
        "And so, my fellow Americans, ask not what\nyour country can do for you, ask"
    )
    last = ".row:last-child "
    assert page.style(last + ".committed", "fontStyle") == "normal"
    assert page.style(last + ".committed", "textDecorationLine") == "none"
    assert page.style(last + ".tentative", "fontStyle") == "italic"
    assert page.style(last + ".tentative", "textDecorationLine") == "underline"
    assert page.style(last + ".tentative", "textDecorationStyle") == "dotted"


def test_it_loads_nothing_else_and_breaks_no_rule_of_its_policy(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {"size": "30", "font": "DejaVu Serif", "background": "navy"})
    speech = Speech()
    server.write(speech.start("me"), speech.commit(JFK), speech.partial(" for"))
    eventually(lambda: len(page.rows()), 2)
    assert (
        page.run("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    )
    assert page.errors() == []


def test_a_committed_word_never_changes_its_line(driver: WebDriver, server: Server) -> None:
    script = say(30, 25, 3, word_s=0.25)
    noise = Noise(unsure=0.5, misheard=0.02)
    backend = ScriptedBackend(script, noise, seed=3)
    events = simulate(chunks_of(script.audio()), backend, pass_cost_s=0.05)
    said = [word.text for event in events if isinstance(event, Committed) for word in event.words]
    assert len(said) > 40
    page = Page(driver, server.url, {})
    page.run(WATCH)

    def text() -> list[str]:
        found: str = page.run("return document.querySelector('#captions').innerText")
        return found.split()

    def shows(word: str) -> bool:
        return word in text()

    for event in events[:-1]:
        server.write(event)
        if isinstance(event, Committed):  # so that the page draws every one, however slow it is
            last = event.words[-1].text.strip()
            eventually(partial(shows, last), True)
    eventually(lambda: text()[-1:], [said[-1].strip()])
    assert page.run("return watched.faults") == []
    assert page.run("return watched.most") == 2
    assert page.run("return Object.keys(watched.words).length") > 40


def test_lines_roll_up_and_do_not_jump_back_when_tentative_text_shrinks(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {})
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for you, ask what you can do"))
    eventually(lambda: [row[0] for row in page.rows()], [1, 2])
    server.write(speech.partial(" for"))
    eventually(page.rows, [[1, "your country can do", "for"]])
    # Where all of it was tentative, the last committed line stays in view.
    server.write(speech.partial(" and" * 40))
    eventually(lambda: [row[0] for row in page.rows()], [4, 5])
    server.write(speech.partial(""))
    eventually(page.rows, [[1, "your country can do", ""]])


def test_a_late_viewer_sees_the_same_lines(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {"lines": "5"})
    speech = Speech()
    for _ in range(4):
        server.write(speech.commit(JFK), speech.final())
    server.write(speech.commit(" now"), speech.partial(" or"))
    eventually(lambda: page.rows()[-1:], [[8, "now", "or"]])
    early = page.rows()
    assert len(early) == 5
    late = Page(driver, server.url, {"lines": "5"})
    eventually(late.rows, early)


def test_the_screen_clears_after_silence(driver: WebDriver) -> None:
    with Server(clear_after_s=0.6) as server:
        page = Page(driver, server.url, {})
        speech = Speech()
        server.write(speech.commit(" Hello."), speech.final())
        eventually(lambda: page.text("#captions"), "Hello.")
        eventually(lambda: page.text("#captions"), "")
        eventually(lambda: page.run("return document.querySelectorAll('.row').length"), 0)
        server.write(speech.commit(" Again."))
        eventually(page.rows, [[1, "Again.", ""]])
        eventually(page.rows, [])
        server.write(speech.commit(" And"))  # in a line that was cleared
        eventually(page.rows, [[1, "Again. And", ""]])
        eventually(page.rows, [])
        assert Page(driver, server.url, {}).rows() == []  # it was said too long ago
        kept = Page(driver, server.url, {"clear": "0"})
        eventually(lambda: len(kept.rows()), 2)


def test_the_address_sets_when_the_screen_clears(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {"clear": "0.3"})
    speech = Speech()
    server.write(speech.partial(" Hello."))
    eventually(page.rows, [[0, "", "Hello."]])
    eventually(page.rows, [])


def test_lost_audio_is_marked_in_the_flow(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {"lines": "3"})
    speech = Speech()
    words = [Word(" before", 1.0, 1.5, 1.0), Word(" after", 5.0, 5.5, 1.0)]
    lost = AudioDropped(session="a", start_s=2.0, end_s=4.3)
    server.write(speech.partial(" before"), lost, speech.commit(" before after", words))
    eventually(lambda: page.text("#captions"), "before\n[audio lost 2.3 s]\nafter")
    assert page.text(".lost") == "[audio lost 2.3 s]"
    assert page.style(".lost .committed", "fontSize") < page.style(".committed", "fontSize")


def test_speakers_have_blocks_of_two_lines_and_names(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {})
    me, them = Speech("a"), Speech("b")
    server.write(me.start("me"), them.start("them"))
    for speech in (me, them):
        server.write(speech.commit(JFK), speech.final(), speech.commit(" Yes."))
    eventually(
        lambda: page.text("#captions"),
        "me\nyour country can do\nYes.\nthem\nyour country can do\nYes.",
    )
    page = Page(driver, server.url, {"label": "off"})
    eventually(
        lambda: page.text("#captions"), "your country can do\nYes.\nyour country can do\nYes."
    )


def test_it_says_when_the_session_has_ended(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {})
    eventually(lambda: page.text("#status"), "Waiting for speech")
    speech = Speech()
    server.write(speech.commit(" Bye."))
    eventually(lambda: page.text("#status"), "")
    server.write(speech.final(), SessionEnded(session="a"))
    eventually(lambda: page.text("#status"), "The session has ended")
    late = Page(driver, server.url, {})
    eventually(lambda: late.text("#status"), "The session has ended")
    server.write(Speech("b").start())
    eventually(lambda: late.text("#status"), "")


def test_it_comes_back_by_itself_after_a_restart(driver: WebDriver) -> None:
    speech = Speech()
    with Server(clear_after_s=0) as first:
        page = Page(driver, first.url, {})
        first.write(speech.commit(" One."))
        eventually(page.rows, [[0, "One.", ""]])
        port = first.port
    eventually(lambda: page.text("#status"), "Connection lost. Trying again")
    assert page.rows() == [[0, "One.", ""]]
    with Server(port, clear_after_s=0) as second:
        second.write(Speech("new").commit(" Two."))
        eventually(page.rows, [[0, "Two.", ""]])
        eventually(lambda: page.text("#status"), "")


def test_a_connection_that_died_without_a_word_is_replaced(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {})
    page.run("window.dead = socket; heard -= 60000")
    eventually(lambda: page.text("#status"), "Connection lost. Trying again")
    eventually(lambda: page.run("return socket !== dead && socket.readyState"), 1)
    server.write(Speech().commit(" Hello."))
    eventually(page.rows, [[0, "Hello.", ""]])
    eventually(lambda: page.text("#status"), "")


def test_a_viewer_too_many_is_told(driver: WebDriver) -> None:
    with Server(max_viewers=1) as server:
        Page(driver, server.url, {})
        driver.switch_to.new_window("tab")
        try:
            driver.get(server.url)
            eventually(
                lambda: driver.find_element("css selector", "#status").text,
                "All places are taken. Trying again",
            )
        finally:
            driver.close()
            driver.switch_to.window(driver.window_handles[0])


def test_warnings_show_small_and_information_does_not(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {"background": "transparent"})
    speech = Speech()
    server.write(
        Notice(session="a", level="warning", message="the source reconnects"),
        Notice(session="a", level="info", message="captions at"),
        speech.commit(" Hello."),
    )
    eventually(lambda: page.text("#captions"), "Hello.")
    assert page.text("#status") == "the source reconnects"


def test_a_page_that_cannot_keep_up_skips_ahead_and_says_so(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {})
    many = [Notice(session="a", seq=n, message="x") for n in range(700)]
    speech = Speech()
    server.write(*many, speech.commit(" The newest."))
    eventually(page.rows, [[0, "The newest.", ""]])
    assert page.text("#status") == "Did not keep up: 701 events skipped"


# -- what the address asks for -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "selector", "name", "expected"),
    [
        ({"size": "24"}, "main", "fontSize", "24px"),
        ({"size": "31px"}, "main", "fontSize", "31px"),
        ({"size": "50%"}, "main", "fontSize", "21.6px"),
        ({"size": "400"}, "main", "fontSize", "fits"),
        ({"font": "DejaVu Serif"}, "main", "fontFamily", '"DejaVu Serif", system-ui, sans-serif'),
        ({"contrast": "high"}, ".row > span", "backgroundColor", "rgb(0, 0, 0)"),
        ({"contrast": "normal"}, ".row > span", "backgroundColor", "rgba(10, 12, 15, 0.78)"),
        ({}, "body", "backgroundColor", "rgb(27, 31, 36)"),
        ({"background": "transparent"}, "body", "backgroundColor", "rgba(0, 0, 0, 0)"),
        ({"background": "black"}, "body", "backgroundColor", "rgb(0, 0, 0)"),
        ({"background": "00ff0080"}, "body", "backgroundColor", "rgba(0, 255, 0, 0.5"),
        ({"align": "left"}, "main", "alignItems", "flex-start"),
        ({"align": "right"}, "main", "alignItems", "flex-end"),
        ({}, "main", "alignItems", "center"),
    ],
)
def test_the_address_sets_the_look(
    driver: WebDriver,
    server: Server,
    options: dict[str, str],
    selector: str,
    name: str,
    expected: str,
) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False},
    )
    server.write(Speech().commit(" Hello."))
    page = Page(driver, server.url, options)
    eventually(lambda: len(page.rows()), 1)
    found = page.style(selector, name)
    if expected == "fits":
        width = page.run("return document.querySelector('.speaker').getBoundingClientRect().width")
        assert 1240 < width <= 1256
    else:
        assert found.startswith(expected)
    assert page.text("#status") == ""


def test_the_address_limits_lines_and_hides_what_is_tentative(
    driver: WebDriver, server: Server
) -> None:
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for"))
    page = Page(driver, server.url, {"lines": "1", "tentative": "0"})
    eventually(page.rows, [[1, "your country can do", ""]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "huge"),
        ("size", "9999"),
        ("font", 'x";} body{background:red} /*'),
        ("background", "red;background:url(x)"),
        ("background", "url(javascript:alert(1))"),
        ("contrast", "<script>window.hacked=1</script>"),
        ("align", "justify"),
        ("lines", "1e9"),
        ("clear", "-1"),
        ("label", "perhaps"),
        ("tentative", "2"),
        ("sise", "40"),
    ],
)
def test_what_the_address_cannot_ask_for_is_left_out_and_said(
    driver: WebDriver, server: Server, name: str, value: str
) -> None:
    plain = Page(driver, server.url, {})
    style = plain.run("return document.documentElement.outerHTML.replace(/<script>.*/s, '')")
    page = Page(driver, server.url, {name: value})
    assert f"Not understood: {name}" in page.text("#status")
    assert page.run("return window.hacked") is None
    now = page.run(
        "document.querySelector('#note').textContent = '';"
        "return document.documentElement.outerHTML.replace(/<script>.*/s, '')"
    )
    assert now == style
    assert page.errors() == []


def test_text_labels_and_notices_are_never_markup(driver: WebDriver, server: Server) -> None:
    attack = "<img src=x onerror=window.hacked=1>"
    page = Page(driver, server.url, {})
    speech = Speech("<b>")
    server.write(
        speech.start(attack),
        speech.commit(" " + attack),
        speech.partial(" <script>window.hacked=2</script>"),
        Notice(session="<b>", level="error", message=attack),
    )
    eventually(lambda: page.text(".name"), attack)
    eventually(lambda: page.text("#status"), attack)
    assert page.text(".rows") == attack + "\n<script>window.hacked=2</script>"
    assert page.run("return window.hacked") is None
    assert page.run("return document.querySelectorAll('img, main script, main b').length") == 0
    assert page.errors() == []


# -- for everybody -------------------------------------------------------------------------------


def test_readers_of_the_screen_hear_committed_lines_alone(
    driver: WebDriver, server: Server
) -> None:
    page = Page(driver, server.url, {})
    speech = Speech()
    server.write(speech.start("me"), speech.commit(JFK), speech.partial(" for you"))
    log = "return document.querySelector('[role=log][aria-live=polite]').innerText"
    eventually(lambda: page.run(log), "me: And so, my fellow Americans, ask not what")
    server.write(speech.commit(" for you."), speech.final())
    eventually(lambda: page.run(log).split("\n")[-1], "me: your country can do for you.")
    live = "return document.querySelectorAll('[aria-live] .tentative, [role=status] .row').length"
    assert page.run(live) == 0
    assert page.run("return document.querySelector('main').ariaHidden") == "true"


def test_who_comes_in_the_middle_of_a_line_hears_that_line(
    driver: WebDriver, server: Server
) -> None:
    speech = Speech()
    server.write(speech.commit(" One more line."), speech.final(), speech.commit(" And so"))
    page = Page(driver, server.url, {})
    eventually(lambda: [row[1] for row in page.rows()], ["One more line.", "And so"])
    log = "return document.querySelector('[role=log]').innerText.trim()"
    assert page.run(log) == ""
    server.write(speech.commit(" my"), speech.final())
    eventually(lambda: page.run(log), "And so my")


def test_lines_have_their_language_and_direction(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {})
    speech = Speech(language="he")
    server.write(speech.commit(" שלום עולם"))
    eventually(lambda: len(page.rows()), 1)
    assert page.run("return document.querySelector('.row').lang") == "he"
    assert page.style(".row", "direction") == "rtl"
    wide = Speech("b", language="ja")
    text = "彼は毎日図書館で本を読んでいますそして家に帰ります"
    server.write(wide.commit(text, [Word(c, 0.0, 0.0, 1.0) for c in text]))
    eventually(lambda: [row[1] for row in page.rows()][1:], [text[:21], text[21:]])


def test_nothing_moves_for_those_who_asked_for_that(driver: WebDriver, server: Server) -> None:
    page = Page(driver, server.url, {})
    for value, expected in (("reduce", "0s"), ("no-preference", "0.25s")):
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-reduced-motion", "value": value}]},
        )
        server.write(Speech().commit(" Hello."))
        eventually(lambda: len(page.rows()) > 0, True)
        assert page.style(".rows", "transitionDuration") == expected


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844), (320, 568), (1920, 200)])
def test_two_lines_and_a_note_fit_any_window(
    driver: WebDriver, server: Server, width: int, height: int
) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    page = Page(driver, server.url, {})
    speech = Speech()
    server.write(speech.commit(JFK), speech.partial(" for you, ask what you"))
    note = "decoding does not keep up; partial text is skipped until there is time again"
    server.write(Notice(level="warning", message=note))
    eventually(lambda: page.text("#note").endswith(note), True)
    eventually(lambda: len(page.rows()), 2)
    note_top = page.run("return document.querySelector('#note').getBoundingClientRect().top")
    boxes = page.run(
        "return [...document.querySelectorAll('.row > span')].map((row) => {"
        "const box = row.getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom, row.getClientRects().length]})"
    )
    line_height = float(page.style("main", "lineHeight").removesuffix("px"))
    for left, top, right, bottom, n_boxes in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= note_top - 4
        assert n_boxes == 1
        assert bottom - top < 1.5 * line_height  # not wrapped by the browser
