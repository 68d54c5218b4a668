from __future__ import annotations

import asyncio
from pathlib import Path

from fakes import ScriptedBackend, say, worker_for

from streaming.app import Settings
from streaming.app.evaluate_command import measure_clip, offline_words
from streaming.evaluation import Clip


def test_an_offline_pass_that_was_made_before_is_not_made_again(jfk: Path) -> None:
    clip = Clip("jfk", jfk, None, "en")
    settings = Settings(vad="energy", pace="simulated", pass_cost_s=0.1)
    script = say(5, 15)

    async def run() -> None:
        backend = ScriptedBackend(script)
        with worker_for(backend) as worker:
            offline = await offline_words(clip, settings, worker)
            assert [word.text for word in offline] == [word.text for word in script.words]
            before = backend.passes
            given, _ = await measure_clip(clip, settings, worker, offline=offline)
            assert backend.passes == before + given.passes
            made, _ = await measure_clip(clip, settings, worker)
            assert backend.passes == before + given.passes + made.passes + 1
            assert given == made
            assert given.commit_delays_s

    asyncio.run(run())
