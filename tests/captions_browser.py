"""A headless Chromium that looks at captions, and a captions server in a thread of its own."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinks.captions import CaptionsSink
from streaming.events import Event

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

__all__ = ["Server", "browser", "eventually"]


class Server:
    """A captions sink that a synchronous test writes to."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        self._sink = CaptionsSink(port=port, **options)
        self._sink.report = lambda notice: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        self._do(self._sink.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._do(self._sink.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return self._sink.url

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def write(self, *events: Event) -> None:
        """Write them all at once."""

        async def write() -> None:
            for event in events:
                await self._sink.write(event)

        self._do(write())

    def _do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


@contextmanager
def browser(
    profile: Path, width: int = 1280, height: int = 720, *, flags: Sequence[str] = ()
) -> Iterator[WebDriver]:
    """Chromium with a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        *flags,
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def eventually(look: Callable[[], object], expected: object, *, within_s: float = 8.0) -> None:
    """Look again and again until it is as expected."""
    until_s = time.monotonic() + within_s
    while (found := look()) != expected:
        assert time.monotonic() < until_s, f"{found!r} is not {expected!r}"
        time.sleep(0.03)
