from __future__ import annotations

import asyncio
import re
import textwrap

import pytest

import sinks
from streaming.events import Committed, Word


def test_the_sink_in_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert sinks.__doc__ is not None
    block = re.search(r"code-block:: python\n\n((?:    .*\n|\n)+)", sinks.__doc__)
    assert block is not None
    names: dict[str, type] = {}
    exec(textwrap.dedent(block[1]), names)

    async def main() -> None:
        async with names["CountingSink"]() as sink:
            await sink.write(Committed(words=(Word(" a", 0, 1, 1), Word(" b", 1, 2, 1))))

    asyncio.run(main())
    assert capsys.readouterr().out == "2 words\n"
