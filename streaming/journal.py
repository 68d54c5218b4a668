"""A session on disk, so that a run that is killed can go on: events and audio as they come.

Every event is written before a sink sees it, every piece of audio before the session takes it,
both without a buffer of our own: what was written survives the process, however it ends. A
thread has the disk keep it once a second (`streaming.syncing`), which is what a power cut may
cost. For the files see `streaming.journal_files`, for what is made of them `streaming.recovery`.

Audio that a session which goes on would need is never deleted; what else goes, and that it
went, is told by a notice. A journal that cannot be written any more stops, the session goes on,
and the error is raised at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from .audio import SAMPLE_RATE, AudioChunk
from .errors import ConfigurationError, SinkError
from .events import Event, Notice, event_to_json
from .journal_files import (
    ABOUT,
    EVENTS,
    FAILED,
    LOCK,
    VERSION,
    audio_files,
    audio_path,
    cut_torn,
    folders_in,
    has_ended,
    read_about,
    read_events,
    read_quiet,
    size_of,
    write_quiet,
)
from .models.lock import file_lock
from .recovery import Quiet, Recovered, Recovery
from .syncing import Syncing, sync_folder

__all__ = ["Journal", "JournalBusyError"]

_ROTATE_SAMPLES = 600 * SAMPLE_RATE
"""Audio in a file: 19 MB."""
_LIMIT_BYTES = 2_000_000_000
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class JournalBusyError(ConfigurationError):
    """A living process writes the journal."""


class Journal:
    """Writes the folder of one session: an async context manager, used by a `Pipeline`.

    Audio is kept in 16 bits, clipped at full scale: where a source is louder than that, a session
    that goes on hears something else than the first run did.

    Args:
        directory: holds the folders of sessions; made if it is not there.
        about: what it takes to make the session again; JSON.
        limit_bytes: what ``directory`` may hold. When it is more, audio goes that this session
            does not need any more, and at the start sessions that have ended, the oldest first.
        rotate_samples: audio in one file.

    Raises:
        SinkError: on entering, where the journal cannot be written.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        about: Mapping[str, Any],
        *,
        limit_bytes: int = _LIMIT_BYTES,
        rotate_samples: int = _ROTATE_SAMPLES,
    ) -> None:
        self.report: Callable[[Notice], None] = lambda notice: None
        """Told of what was deleted and of faults; the pipeline puts it among the events."""
        self.quiet: Callable[[], Quiet | None] = lambda: None
        """Asked at every new file what the session can do without; set by the pipeline."""
        self.error: SinkError | None = None
        """Why nothing is written any more."""
        self.recovered: Recovered | None = None
        """What a former run of the session told."""
        self.about = about
        self.audio_end = 0
        """One past the last sample that is written."""
        self._directory = Path(directory)
        self._folder: Path | None = None
        self._limit_bytes = limit_bytes
        self._rotate_samples = rotate_samples
        self._recovery = Recovery()
        self._lock = ExitStack()
        self._events: int | None = None
        self._audio: int | None = None
        self._audio_from = 0
        self._full_told = False
        self._syncing = Syncing()

    @classmethod
    def reopen(cls, folder: str | os.PathLike[str], *, limit_bytes: int = _LIMIT_BYTES) -> Journal:
        """The journal of a session that was interrupted. Holds its lock until `close`.

        Raises:
            ConfigurationError: it cannot be read, or the session has ended.
            JournalBusyError: a living process writes it.
        """
        folder = Path(folder)
        about = read_about(folder)
        journal = cls(folder.parent, about, limit_bytes=limit_bytes)
        try:
            journal._lock.enter_context(file_lock(folder / LOCK, timeout_s=0.0))
        except TimeoutError:
            raise JournalBusyError(f"{folder} is being written; its run is not over") from None
        except OSError as error:
            raise ConfigurationError(f"cannot write {folder}: {error.strerror}") from None
        try:
            cut_torn(folder)
            for event in read_events(folder):
                journal._recovery.push(event)
            if (quiet := read_quiet(folder)) is not None:
                journal._recovery.rest(quiet)
            journal.recovered = journal._recovery.state()
            if journal.recovered is not None and journal.recovered.ended:
                raise ConfigurationError(f"the session of {folder} has ended: nothing to resume")
        except BaseException:
            journal._lock.close()
            raise
        journal._folder = folder
        journal.audio_end = max((file.end_sample for file in audio_files(folder)), default=0)
        return journal

    @property
    def folder(self) -> Path | None:
        """The session's own; None before it is entered for the first time."""
        return self._folder

    def close(self) -> None:
        """Let go of the lock, where the journal is not entered after all."""
        self._lock.close()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._open)
        except (OSError, ConfigurationError) as error:
            self._forget_unbegun()
            raise SinkError(self._cannot(error)) from error
        self._syncing.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for descriptor in (self._events, self._audio):
            if descriptor is not None:
                self._syncing.retire(descriptor)
        self._events = self._audio = None
        self._syncing.stop()
        if exc is None:  # who cancels does not wait for a disk
            await asyncio.to_thread(self._syncing.wait)
        if self.error is not None and self._folder is not None:
            with contextlib.suppress(OSError):  # else what was put out could be put out again
                (self._folder / FAILED).touch()
        self._forget_unbegun()

    def tell(self, event: Event) -> None:
        """Write an event."""
        line = event_to_json(event) + "\n"
        self._recovery.push(event)
        self._write(lambda: self._events, line.encode("utf-8"))

    def hear(self, chunk: AudioChunk) -> None:
        """Write audio, as far as it is not there yet."""
        samples = chunk.samples[max(0, self.audio_end - chunk.start_sample) :]
        if not len(samples) or self.error is not None:
            return
        start = chunk.end_sample - len(samples)
        pcm = np.clip(np.rint(np.nan_to_num(samples) * np.float32(32768)), -32768, 32767)
        full = self.audio_end - self._audio_from >= self._rotate_samples
        try:
            if self._audio is None or start > self.audio_end or full:
                self._next_audio(start)
        except (OSError, ConfigurationError) as error:
            self._fail(error)
        self.audio_end = chunk.end_sample
        self._write(lambda: self._audio, pcm.astype("<i2").tobytes())

    # -- inside -------------------------------------------------------------------------------

    def _open(self) -> None:
        """Make the folder, or go on in it."""
        if self._folder is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._delete_ended()
            now = datetime.now(UTC)
            name = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}-{uuid.uuid4().hex[:8]}"
            self._folder = self._directory / name
            self._folder.mkdir()
            self._lock.enter_context(file_lock(self._folder / LOCK, timeout_s=0.0))
            self._events = os.open(self._folder / EVENTS, _APPEND, 0o644)
            about = {"version": VERSION, **self.about}
            # Last: what has this file is a session.
            unnamed = self._folder / f"{ABOUT}.new"
            with unnamed.open("w", encoding="utf-8") as file:
                json.dump(about, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            unnamed.replace(self._folder / ABOUT)
            sync_folder(self._folder)
            sync_folder(self._directory)
        else:
            self._events = os.open(self._folder / EVENTS, _APPEND, 0o644)
        self._syncing.add(self._events)

    def _forget_unbegun(self) -> None:
        """Leave nothing of a run that has never begun."""
        if not self._recovery.begun and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def _next_audio(self, start_sample: int) -> None:
        assert self._folder is not None
        if self._audio is not None:
            self._syncing.retire(self._audio)
            self._audio = None
            quiet = self.quiet()
            if quiet is not None and self._recovery.rest(quiet):
                write_quiet(self._folder, quiet)  # first: it says that what goes is not needed
            self._trim()
        self._audio = os.open(audio_path(self._folder, start_sample), _APPEND, 0o644)
        self._audio_from = start_sample
        self._syncing.add(self._audio)

    def _write(self, descriptor: Callable[[], int | None], data: bytes) -> None:
        error = self._syncing.error
        if error is None and self.error is None:
            try:
                rest = memoryview(data)
                while rest and (at := descriptor()) is not None:
                    rest = rest[os.write(at, rest) :]
            except OSError as failed:
                error = failed
        if error is not None:
            self._fail(error)

    def _fail(self, error: OSError | ConfigurationError) -> None:
        if self.error is None:
            self.error = SinkError(self._cannot(error))
            message = f"{self.error}; the journal stops, the session goes on"
            self.report(Notice(level="error", code="journal_failed", message=message))

    def _cannot(self, error: OSError | ConfigurationError) -> str:
        path = self._folder or self._directory
        return f"cannot write the journal {path}: {getattr(error, 'strerror', None) or error}"

    def _room(self) -> int:
        """Bytes that may be written before the limit is reached, the next file left out."""
        held = sum(map(size_of, folders_in(self._directory)))
        return self._limit_bytes - held - 2 * self._rotate_samples

    def _delete_ended(self) -> None:
        """At the start: sessions that have ended go, where it takes that."""
        deleted = 0
        for folder in folders_in(self._directory):
            if self._room() >= 0:
                break
            if has_ended(folder):
                shutil.rmtree(folder, ignore_errors=True)
                deleted += not folder.exists()
        if deleted:
            self._say_trimmed(f"{deleted} ended session{'s' if deleted > 1 else ''}")
        self._say_full()

    def _trim(self) -> None:
        """Audio goes that this session needs no more, where it takes that."""
        assert self._folder is not None
        freed_from, freed_to = None, 0
        room, needed_from = self._room(), self._recovery.needed_from
        for file in audio_files(self._folder) if room < 0 else ():
            if room >= 0 or file.end_sample > needed_from:
                break
            room += file.path.stat().st_size
            file.path.unlink()
            freed_from = file.start_sample if freed_from is None else freed_from
            freed_to = file.end_sample
        if freed_from is not None:
            start_s, end_s = freed_from / SAMPLE_RATE, freed_to / SAMPLE_RATE
            self._say_trimmed(f"the audio of this session from {start_s:.1f} to {end_s:.1f} s")
        self._say_full()

    def _say_trimmed(self, what: str) -> None:
        limit = f"the limit of {self._limit_bytes / 1e6:.0f} MB"
        message = f"the journal {self._directory} has reached {limit}: deleted {what}"
        self.report(Notice(level="info", code="journal_trimmed", message=message))

    def _say_full(self) -> None:
        """Once, where nothing more can be deleted."""
        if self._full_told or self._room() >= 0:
            return
        self._full_told = True
        message = (
            f"the journal {self._directory} is at its limit of {self._limit_bytes / 1e6:.0f} MB "
            "and goes on growing: what it holds is needed to go on with sessions that run or were "
            "interrupted; resume or delete these, or raise the limit"
        )
        self.report(Notice(level="warning", code="journal_full", message=message))
