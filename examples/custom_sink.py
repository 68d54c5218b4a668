"""A sink of your own: what was said, in a database that can be searched.

python examples/custom_sink.py [RECORDING [DATABASE]]
"""

import asyncio
import sqlite3
import sys
from contextlib import closing

from streaming import Event, Final, Sink, SinkError
from streaming.app import transcribe


class SqliteSink(Sink):
    """A row for every finished utterance; events of other types are ignored."""

    def __init__(self, database: str) -> None:
        self.database = database

    async def write(self, event: Event) -> None:
        if isinstance(event, Final) and event.text:
            await asyncio.to_thread(self.insert, event)  # not on the event loop: a disk may be slow

    def insert(self, final: Final) -> None:
        try:
            with closing(sqlite3.connect(self.database)) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS said (text, at DEFAULT CURRENT_TIMESTAMP)")
                db.execute("INSERT INTO said (text) VALUES (?)", (final.text.strip(),))
        except sqlite3.Error as error:
            raise SinkError(f"cannot write to {self.database}: {error}") from error


async def main(path: str = "examples/jfk.flac", database: str = "said.sqlite") -> None:
    async for _ in transcribe(path, sinks=[SqliteSink(database)]):
        pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
