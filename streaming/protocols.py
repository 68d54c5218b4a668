"""The contracts between the parts. Everything that plugs in is one of these and one file.

Ring buffer, mel, voice activity detection, segmenter, transcriber and policies are pure:
no clock, no thread, no asyncio; the same input gives the same output. asyncio lives in the
pipeline, in sources and in sinks. Native calls live in backends.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .audio import AudioChunk, Flush, Samples
from .events import Event, FinalReason, Notice, Word
from .options import Configure
from .timeline import HOP_SAMPLES

__all__ = [
    "Activity",
    "Backend",
    "Commit",
    "CommitPolicy",
    "EndpointPolicy",
    "Hypothesis",
    "Lingering",
    "Pausable",
    "PromptChecking",
    "Reporting",
    "Sink",
    "Source",
    "SourceItem",
    "Status",
    "Telling",
    "TrimPolicy",
    "VoiceActivityDetector",
    "Window",
]


SourceItem: TypeAlias = AudioChunk | Flush | Configure | Notice
"""What a source yields: audio, a request to close the utterance or to hear it in another way, or
a word to people about the input ("unplugged?"), not yet stamped."""


@runtime_checkable
class Source(Protocol):
    """One origin of audio: an async context manager that is iterated once.

    Chunks are mono float32 at 16 kHz, contiguous unless audio was lost. Iteration ends at
    the end of the input. Cancelling a pending ``__anext__`` loses nothing that was yielded.
    Subclasses of this class need nothing but ``live`` and ``__aiter__``.

    Raises:
        SourceError: on entering or iterating, where the audio cannot be read.
    """

    live: bool
    """True where audio goes on whether or not anybody listens. The pipeline then drops the
    oldest audio when work does not keep up; other sources are made to wait."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __aiter__(self) -> AsyncIterator[SourceItem]: ...


@runtime_checkable
class Pausable(Protocol):
    """A source that is told while nobody listens, so that it does not keep what it hears then.

    What it yields meanwhile is thrown away.
    """

    def pause(self) -> None:
        """Nobody listens from now on."""
        ...

    def resume(self) -> None:
        """Somebody listens again."""
        ...


@runtime_checkable
class Sink(Protocol):
    """One destination of events: an async context manager.

    Subclasses of this class need nothing but ``write``.

    Raises:
        SinkError: on entering, writing or leaving, where the destination fails.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def write(self, event: Event) -> None:
        """Take one event; may wait, and the pipeline then waits too.

        At pace realtime a live source cannot: a sink that holds up others for ten seconds is
        cancelled then, and left.
        """
        ...


@runtime_checkable
class Reporting(Protocol):
    """A sink that tells of its own faults, instead of failing the run for them.

    The pipeline puts a function in place that adds the notice to the session's events, so the
    sink will see it come by like any other. To be called on the event loop's thread.
    """

    report: Callable[[Notice], None]


@runtime_checkable
class Telling(Protocol):
    """A sink that tells notices to whoever started the run."""

    tells_only: bool
    """It keeps nothing of the text: a run does not go on for it alone."""


@runtime_checkable
class Lingering(Protocol):
    """A sink that may need more than the usual second or two to send off what waits."""

    leave_limit_s: float
    """How long leaving may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a session is doing right now, for those who watch it."""

    clock_s: float = 0.0
    """Stream time."""
    audio_s: float = 0.0
    """Audio taken so far."""
    duration_s: float | None = None
    """Length of the whole input, where it is known."""
    level_db: float = -math.inf
    """Peak of the newest 0.1 s, in decibels of full scale; none of it is from before a flush
    or a pause."""
    speaking: bool = False
    """An utterance is open."""
    decoding: bool = False
    """A pass is under way."""
    behind_s: float = 0.0
    """Audio of the utterance that no pass has heard yet; about a chunk while passes keep up."""
    delay_s: float | None = None
    """Median delay of the words committed last; None at pace fast, where nothing is awaited."""
    real_time_factor: float = 0.0
    """Compute time per second of audio so far."""
    heard_s: float = 0.0
    """Audio taken, without what was lost."""
    compute_s: float = 0.0
    """Compute time so far."""


class VoiceActivityDetector(Protocol):
    """Speech probability of consecutive frames. One instance serves one stream at a time."""

    frame_samples: int
    """Samples in a frame."""

    def process(self, frame: Samples) -> float:
        """Probability in [0, 1] that the frame, shape ``(frame_samples,)``, is speech."""
        ...

    def reset(self) -> None:
        """Forget the stream so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """What one pass decodes. Decoding is stateless: everything it needs is in here."""

    start_sample: int
    """Absolute sample of the first mel frame."""
    mel: NDArray[np.float32]
    """Log-mel, shape ``(n_mels, n_frames)``, C order, clamped and scaled over these frames,
    not padded; one frame is 160 samples."""
    prompt: str = ""
    """Hotwords and the user's prompt."""
    context: str = ""
    """Committed text whose audio has left the window; the backend keeps its last tokens."""
    prefix: tuple[Word, ...] = ()
    """Committed words still inside the window, for backends that can force them."""
    language: str | None = None
    """Language code; None asks the backend to detect it."""
    candidates: tuple[str, ...] = ()
    """Languages that detection may choose from; empty means all."""
    fallback_language: str | None = None
    """Language of the stream so far: likelier than others, and used when detection is unsure."""
    task: Literal["transcribe", "translate"] = "transcribe"
    careful: bool = False
    """Set after a pass that looped: the backend takes whatever costs more and loops less."""

    @property
    def n_frames(self) -> int:
        """Number of mel frames."""
        return int(self.mel.shape[1])

    @property
    def end_sample(self) -> int:
        """Absolute sample one past the last frame's hop."""
        return self.start_sample + HOP_SAMPLES * self.n_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What one pass heard."""

    words: tuple[Word, ...]
    """In order; times are absolute, monotone and clipped to the window."""
    language: str = "en"
    """Empty where nothing was heard in too little audio to tell."""
    language_probability: float = 1.0
    """1.0 where the language was given; otherwise that of what detection preferred."""
    language_detected: bool = False
    """True where detection was sure enough to choose ``language``."""
    timing: Literal["aligned", "interpolated"] = "aligned"
    """How the word times came about. Audio is trimmed only at aligned words."""
    no_speech_probability: float | None = None
    """None where the core does not tell."""
    looped: bool = False
    """The core repeated itself; the repetition was cut. Another pass over the same audio with
    ``Window.careful`` may do better."""
    unheard_s: float = 0.0
    """Seconds of voice after the last word: the core stopped early. Another pass with
    ``Window.careful`` may hear them."""
    n_forced: int | None = None
    """How many words at the start are ``Window.prefix`` as it was given; None where it was not
    forced, so that the seam has to be looked for."""


class Backend(Protocol):
    """A loaded model. ``decode`` blocks; a `BackendPool` runs it on a thread of its own."""

    name: str
    """"whisper.cpp", ..."""
    model: str
    """Name of the model, e.g. "tiny.en"."""
    n_mels: int
    """80 or 128."""
    multilingual: bool
    forces_prefix: bool
    """True where ``Window.prefix`` is forced, unless the window is careful; the hypothesis then
    begins with it and says so in ``n_forced``."""

    def decode(self, window: Window) -> Hypothesis:
        """Decode one window. Stateless between calls; one call at a time.

        Raises:
            BackendError: the native core failed.
        """
        ...

    def abort(self) -> None:
        """Ask a running ``decode`` to end soon; thread-safe, and nothing if none runs."""
        ...

    def close(self) -> None:
        """Free the model. No call may follow."""
        ...


@runtime_checkable
class PromptChecking(Protocol):
    """A backend that knows how long a prompt may be."""

    def check_prompt(self, prompt: str) -> None:
        """See that nothing of a session's ``Window.prompt`` would be cut off. Thread-safe.

        Raises:
            ConfigurationError: it is too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """A policy's decision over the words after the seam."""

    words: tuple[Word, ...]
    """Newly committed: a prefix of the newest hypothesis."""
    tentative: tuple[Word, ...]
    """The rest of it."""
    disputed: bool = False
    """Its first tentative word was heard by as many passes as usually suffice, and still waits:
    another pass soon would help."""


class CommitPolicy(Protocol):
    """Decides which words are certain. Pure."""

    history: int
    """How many of the last hypotheses it wants to see, at least 1."""

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """Split the newest hypothesis.

        Args:
            history: the last hypotheses of this utterance after the seam, oldest first,
                at most ``self.history`` of them, at least one.
            committed: the utterance's committed words still inside the window.
            audio_end_s: where the newest hypothesis' audio ends.
        """
        ...


class TrimPolicy(Protocol):
    """Decides which audio may leave the window. Pure."""

    def trim(self, start_s: float, end_s: float, committed: Sequence[Word]) -> float | None:
        """New start of the window, or None to leave it.

        Args:
            start_s: where the window starts.
            end_s: where its audio ends.
            committed: committed words with aligned times inside the window, in order.
        """
        ...


@dataclass(frozen=True, slots=True)
class Activity:
    """State of the running utterance after one VAD frame."""

    utterance_samples: int
    """From the start of the utterance, pre-roll included, to the end of the frame."""
    silence_samples: int
    """Since speech was last heard; 0 while it is."""


class EndpointPolicy(Protocol):
    """Decides when an utterance is over. Pure."""

    def update(self, activity: Activity) -> FinalReason | None:
        """The reason to close the utterance now, or None."""
        ...
