from __future__ import annotations

import numpy as np
import pytest
from fakes import LoudnessVad, ScriptedBackend, chunks_of, make_parts, say

from streaming.audio import SAMPLE_RATE, AudioChunk, samples_from_seconds, seconds
from streaming.errors import BackendError, SourceError
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Stats,
)
from streaming.protocols import Activity, Status
from streaming.session import PIECE_SAMPLES, Session, SessionParts, pieces
from streaming.vad.none import NoVad


def make(parts: SessionParts | None = None) -> Session:
    session = Session(parts or make_parts(), n_mels=80, started=SessionStarted(session="s"))
    session.start()
    return session


def sound(start_s: float, end_s: float, *, loud: bool = True) -> list[AudioChunk]:
    n = samples_from_seconds(end_s) - samples_from_seconds(start_s)
    samples = np.full(n, 0.2 if loud else 0.0, np.float32)
    return chunks_of(samples, start_sample=samples_from_seconds(start_s))


def feed(session: Session, chunks: list[AudioChunk], backend: ScriptedBackend) -> list[Event]:
    """Feed audio and run every pass that is due."""
    events: list[Event] = []
    for chunk in chunks:
        events += session.feed(chunk, seconds(chunk.end_sample))
        events += run(session, backend)
    return events


def run(session: Session, backend: ScriptedBackend) -> list[Event]:
    events: list[Event] = []
    while (due := session.next_pass()) is not None:
        hypothesis = backend.decode(session.window(due))
        events += session.complete(due, hypothesis, 0.1, seconds(session.audio_end))
    return events


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def test_a_chunk_is_cut_into_pieces_that_keep_their_places_and_the_reason_once() -> None:
    chunk = AudioChunk(np.arange(2 * PIECE_SAMPLES + 5, dtype=np.float32), 100, "overflow")
    cut = [piece for piece in pieces(chunk) if isinstance(piece, AudioChunk)]
    assert [len(piece.samples) for piece in cut] == [PIECE_SAMPLES, PIECE_SAMPLES, 5]
    assert [piece.start_sample for piece in cut] == [100, 100 + PIECE_SAMPLES, 100 + 3200]
    assert [piece.gap_reason for piece in cut] == ["overflow", "", ""]
    assert np.array_equal(np.concatenate([piece.samples for piece in cut]), chunk.samples)


def test_a_session_begins_and_ends_with_its_own_events_numbered_from_zero() -> None:
    session = Session(make_parts(), n_mels=80, started=SessionStarted(session="s", model="m"))
    events = session.start(0.0) + session.finish(1.0) + session.end(1.0)
    assert kinds(events) == ["session_started", "stats", "session_ended"]
    assert [event.seq for event in events] == [0, 1, 2]
    assert {event.session for event in events} == {"s"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(SourceError("the cable is out"), "source_error"), (BackendError("no"), "backend_error")],
)
def test_what_went_wrong_is_said_at_the_end(error: SourceError, reason: str) -> None:
    notice, _, ended = make().end(0.0, error)
    assert isinstance(notice, Notice)
    assert (notice.level, notice.code, notice.message) == ("error", reason, str(error))
    assert isinstance(ended, SessionEnded)
    assert ended.reason == reason


def test_a_window_is_just_the_audio_that_was_asked_for() -> None:
    script = say(4)
    session, backend = make(), ScriptedBackend(script)
    feed(session, chunks_of(script.audio()), backend)
    for window in backend.windows:
        assert window.start_sample % 160 == 0
    ends = [window.end_sample for window in backend.windows]
    assert ends == sorted(ends)
    assert ends[0] - backend.windows[0].start_sample <= samples_from_seconds(0.7)


@pytest.mark.parametrize("missing", [1, 500, SAMPLE_RATE])
def test_a_gap_of_up_to_a_second_is_silence_and_the_utterance_goes_on(missing: int) -> None:
    script = say(2, start_s=0.0)
    session, backend = make(make_parts(silence_s=2.0)), ScriptedBackend(script)
    feed(session, sound(0.0, 0.7), backend)
    (chunk,) = chunks_of(np.full(1600, 0.2, np.float32), start_sample=11_200 + missing)
    events = session.feed(AudioChunk(chunk.samples, chunk.start_sample, "overflow"), 0.8)
    dropped = [e for e in events if isinstance(e, AudioDropped)]
    assert [(e.start_s, e.end_s, e.reason) for e in dropped] == [
        (0.7, seconds(11_200 + missing), "overflow")
    ]
    assert not [e for e in events if isinstance(e, SpeechEnded | Final)]
    assert session.audio_end == 11_200 + missing + 1600


def test_a_longer_gap_ends_the_utterance_and_begins_afresh() -> None:
    script = say(2, start_s=0.0)
    session, backend = make(), ScriptedBackend(script)
    feed(session, sound(0.0, 0.7), backend)
    later = sound(2.0, 3.0)
    events = feed(session, later, backend)
    assert kinds(events)[:2] == ["audio_dropped", "speech_ended"]
    (final,) = [e for e in events if isinstance(e, Final)]
    assert (final.reason, final.end_s) == ("flush", 0.7)
    started = [e for e in events if isinstance(e, SpeechStarted)]
    assert [e.at_s for e in started] == [2.0]  # the pre-roll does not reach into the gap
    assert backend.windows[-1].start_sample == 2 * SAMPLE_RATE


def test_audio_lost_before_the_first_sample_is_said_too() -> None:
    (dropped,) = make().feed(sound(5.0, 5.1, loud=False)[0], 5.1)
    assert isinstance(dropped, AudioDropped)
    assert (dropped.start_s, dropped.end_s, dropped.reason) == (0.0, 5.0, "gap")


def test_audio_that_goes_back_is_refused() -> None:
    session = make()
    session.feed(sound(0.0, 0.1)[0], 0.1)
    with pytest.raises(ValueError, match="goes back by 1600 samples"):
        session.feed(sound(0.0, 0.1)[0], 0.2)


def test_a_flush_ends_the_utterance_now_and_audio_goes_on() -> None:
    script = say(3, start_s=0.0, end_s=0.0)
    session, backend = make(), ScriptedBackend(script)
    feed(session, chunks_of(script.audio()), backend)
    events = session.flush(1.1) + run(session, backend)
    (final,) = [e for e in events if isinstance(e, Final)]
    assert final.reason == "flush"
    assert [w.text for w in final.words] == [w.text for w in script.words]
    assert session.idle
    end_s = seconds(session.audio_end)
    events = feed(session, sound(end_s, end_s + 1.0), backend)
    assert [e.at_s for e in events if isinstance(e, SpeechStarted)] == [end_s]


def test_a_flush_in_silence_says_only_where_it_was() -> None:
    session = make()
    session.feed(sound(0.0, 0.1, loud=False)[0], 0.1)
    (flushed,) = session.flush(0.1)
    assert isinstance(flushed, Flushed)
    assert (flushed.at_s, flushed.at_sample) == (0.1, 1600)


def test_there_is_room_until_the_audio_a_pass_needs_would_be_lost() -> None:
    session = make(make_parts(vad=NoVad(), window_s=4.0, left_context_s=1.0, max_utterance_s=600.0))
    fed_s = 0.0
    while session.has_room:
        session.feed(sound(fed_s, fed_s + 0.1)[0], fed_s)
        fed_s += 0.1
        assert fed_s < 100
    assert fed_s > 30
    # Even a gap that is filled and one more piece leave the first pass its audio.
    due = session.next_pass()
    assert due is not None
    start = session.audio_end + SAMPLE_RATE
    session.feed(AudioChunk(np.zeros(PIECE_SAMPLES, np.float32), start), fed_s)
    assert session.window(due).start_sample == 0
    assert session.window(due).n_frames == 600


def test_there_is_no_room_while_many_utterances_wait() -> None:
    session = make(make_parts(silence_s=0.25))
    fed_s = 0.0
    while session.has_room:
        for loud in (True, False):
            for chunk in sound(fed_s, fed_s + 0.5, loud=loud):
                session.feed(chunk, fed_s)
            fed_s = seconds(session.audio_end)
        assert fed_s < 20
    finals = [e for e in run(session, ScriptedBackend(say(1))) if isinstance(e, Final)]
    assert 8 <= len(finals) <= 9
    assert session.has_room


class Endless:
    """Never ends an utterance."""

    def update(self, activity: Activity) -> None:
        return None


def test_no_endpoint_policy_outdoes_the_longest_utterance() -> None:
    parts = make_parts(max_utterance_s=5.0)
    parts = SessionParts(
        vad=LoudnessVad(),
        commit_policy=parts.commit_policy,
        trim_policy=parts.trim_policy,
        endpoint_policy=Endless(),
        options=parts.options,
    )
    script = say(40, gap_s=0.04)
    events = feed(make(parts), chunks_of(script.audio()), ScriptedBackend(script))
    finals = [e for e in events if isinstance(e, Final)]
    assert len(finals) >= 2
    assert {e.reason for e in finals} == {"max_length"}


def test_overload_is_said_once_and_its_end_too() -> None:
    session = make(make_parts(vad=NoVad()))
    backend = ScriptedBackend(say(1))
    events: list[Event] = []
    fed_s = 0.0
    for behind_s in [4.0] * 6 + [0.1] * 40:
        due = session.next_pass()
        while due is None:
            session.feed(sound(fed_s, fed_s + 0.1)[0], fed_s)
            fed_s = seconds(session.audio_end)
            due = session.next_pass()
        for chunk in sound(fed_s, fed_s + behind_s):
            session.feed(chunk, fed_s)
        fed_s = seconds(session.audio_end)
        events += session.complete(due, backend.decode(session.window(due)), 0.1, fed_s)
    notices = [(e.level, e.code) for e in events if isinstance(e, Notice)]
    assert notices == [("warning", "overload"), ("info", "keeping_up")]


def test_stats_tell_passes_cost_audio_and_delays() -> None:
    script = say(6)
    session, backend = make(), ScriptedBackend(script)
    feed(session, chunks_of(script.audio()), backend)
    session.finish(4.0)
    run(session, backend)
    (stats,) = [e for e in session.end(4.0) if isinstance(e, Stats)]
    assert stats.passes == backend.passes
    assert stats.compute_s == pytest.approx(0.1 * backend.passes)
    assert stats.audio_s == script.duration_s
    assert stats.delay_p50_s is not None
    assert 0 < stats.delay_p50_s < 2
    assert stats.queue_delay_max_s == 0.0


def test_the_wait_for_other_sessions_is_no_compute_time() -> None:
    session, backend = make(make_parts(vad=NoVad())), ScriptedBackend(say(2))
    for chunk in sound(0.0, 1.0):
        session.feed(chunk, 1.0)
    due = session.next_pass()
    assert due is not None
    session.complete(due, backend.decode(session.window(due)), 0.1, 3.0, queue_s=1.5)
    (stats,) = [e for e in session.end(3.0) if isinstance(e, Stats)]
    assert (stats.compute_s, stats.queue_delay_max_s) == (0.1, 1.5)


def test_prompt_and_hotwords_travel_with_every_window() -> None:
    script = say(3)
    session = make(make_parts(prompt="Names.", hotwords=("Ada", "Linus"), candidates=("en", "de")))
    backend = ScriptedBackend(script)
    events = feed(session, chunks_of(script.audio()), backend)
    assert [e for e in events if isinstance(e, Committed)]
    assert {w.prompt for w in backend.windows} == {"Ada, Linus, Names."}
    assert {w.candidates for w in backend.windows} == {("en", "de")}


def test_an_abandoned_pass_is_asked_for_again() -> None:
    session = make(make_parts(vad=NoVad()))
    for chunk in sound(0.0, 1.0):
        session.feed(chunk, 1.0)
    due = session.next_pass()
    assert due is not None
    assert session.next_pass() is None
    session.abandon(due)
    assert session.next_pass() is not None


def test_the_status_tells_what_the_session_is_doing() -> None:
    script = say(6)
    backend = ScriptedBackend(script)
    session = make()
    assert session.status() == Status()
    chunks = chunks_of(script.audio())
    spoke = decoded = False
    for chunk in chunks:
        session.feed(chunk, seconds(chunk.end_sample))
        status = session.status()
        spoke |= status.speaking and status.behind_s > 0
        assert status.behind_s <= 1.2
        assert status.audio_s == status.clock_s == seconds(chunk.end_sample)
        peak = float(np.abs(chunk.samples).max())
        assert status.level_db == pytest.approx(20 * np.log10(peak) if peak else -np.inf)
        while (due := session.next_pass()) is not None:
            decoded |= session.status().decoding
            hypothesis = backend.decode(session.window(due))
            session.complete(due, hypothesis, 0.1, seconds(session.audio_end))
            assert not session.status().decoding
    assert spoke
    assert decoded
    session.finish(seconds(session.audio_end))
    run(session, backend)
    status = session.status()
    assert not status.speaking
    assert status.behind_s == 0
    assert status.delay_s is not None
    assert 0 < status.delay_s < 2
    assert status.real_time_factor > 0
    assert status.compute_s == pytest.approx(status.real_time_factor * status.heard_s)
    assert status.heard_s == status.audio_s
    session.feed(AudioChunk(np.zeros(1600, np.float32), session.audio_end + 10 * 16_000), 99.0)
    gone = session.status()
    assert gone.audio_s == pytest.approx(status.audio_s + 10.1)
    assert gone.heard_s == pytest.approx(status.heard_s + 0.1)
    assert gone.compute_s == status.compute_s


def test_the_level_is_that_of_the_newest_tenth_of_a_second_whatever_the_chunks() -> None:
    session = make()
    samples = np.zeros(3200, dtype=np.float32)
    samples[1000] = 0.5
    levels = []
    for chunk in chunks_of(samples, 400):
        session.feed(chunk, seconds(chunk.end_sample))
        levels.append(session.status().level_db)
    heard = pytest.approx(20 * np.log10(0.5))
    assert levels == [-np.inf, -np.inf, heard, heard, heard, heard, -np.inf, -np.inf]
    session.feed(AudioChunk(np.full(400, 0.5, dtype=np.float32), 3200), 0.225)
    assert session.status().level_db == heard
    session.flush(0.225)
    assert session.status().level_db == -np.inf


def test_what_a_source_says_is_an_event_like_any_other() -> None:
    session = make()
    (said,) = session.take(Notice(code="silent_input", message="muted?"), 1.5)
    assert isinstance(said, Notice)
    assert (said.seq, said.session, said.clock_s, said.message) == (1, "s", 1.5, "muted?")
