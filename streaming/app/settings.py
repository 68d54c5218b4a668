"""The choices that a run is made of, with their defaults."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..backends.pool import PASS_LIMIT_S
from ..errors import ConfigurationError
from ..languages import parse_languages
from ..options import TranscriberOptions, VadOptions
from ..pipeline import Pace

__all__ = ["Settings", "default_threads", "default_workers"]

_MOST_THREADS = 4
"""More threads do not make a pass of these sizes faster."""
_MOST_WORKERS = 8
"""By default: they take memory, and what they could decode is more than one event loop serves."""
_MOST_WORKERS_PER_CORE = 4
"""More loaded models than that only wait for one another."""


def default_threads(workers: int = 1, *, taken: int = 0) -> int:
    """Threads of a pass: a worker's share of the cores this process may use, one to four.

    Args:
        workers: models that share the cores.
        taken: cores that another model uses.
    """
    return max(1, min((_cores() - taken) // workers, _MOST_THREADS))


def default_workers() -> int:
    """Workers of a server whose passes are short: one for each core it may use, at most eight.

    Passes of one thread do more work in all than as many threads that share a pass, and with
    more workers each comes to its turn sooner. Every worker holds a model of its own.
    """
    return min(_cores(), _MOST_WORKERS)


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _english_only(model: str) -> bool:
    return re.search(r"\.en\b", Path(model).name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run is made of. Seconds throughout.

    Raises:
        ConfigurationError: a value, or a combination of values, that cannot work.
    """

    model: str = "tiny.en"
    final_model: str | None = None
    """A larger model that hears every finished utterance again; None does without."""
    backend: str = "auto"
    compute_type: str | None = None
    """Of CTranslate2: "int8", "float32", ...; None takes the fastest one that the processor
    serves."""
    compute_device: str | None = None
    """Of CTranslate2: "cpu" or "cuda"; None stands for "cpu"."""
    language: str | None = None
    """A code, codes to choose from ("en,ja") or "auto"; None means English for an
    English-only model and "auto" for the others."""
    translate: bool = False
    """Into English."""
    chunk_s: float = 0.5
    window_s: float = 10.0
    left_context_s: float = 4.0
    policy: str = "local-agreement:sure=0.6,settled=1.2"
    vad: str = "silero"
    vad_threshold: float = 0.5
    endpoint_silence_s: float = 0.6
    max_utterance_s: float = 30.0
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    replace: str | None = None
    """A file of words to replace or mask: see `streaming.replacements`."""
    threads: int | None = None
    """Of one pass; None shares the cores among the workers."""
    workers: int = 1
    """Loaded models that sessions share, and so passes that run at the same time."""
    pass_limit_s: float = PASS_LIMIT_S
    """A pass that takes longer hangs, which ends the run; 0 for no limit."""
    pace: Pace = "realtime"
    pass_cost_s: float | None = None
    label: str = ""
    trace: bool = False
    """Say of every pass what it covered, cost and decided, in events of their own."""

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= 256:
            raise ConfigurationError(f"--threads must lie between 1 and 256, not {self.threads}")
        most = _cores() * _MOST_WORKERS_PER_CORE
        if not 1 <= self.workers <= most:
            raise ConfigurationError(
                f"--workers must lie between 1 and {most} on this machine, not {self.workers}"
            )
        if not (self.pass_limit_s == 0 or 1 <= self.pass_limit_s <= 86_400):
            raise ConfigurationError(
                f"--pass-limit must be 0 (none) or 1 to 86400 s, not {self.pass_limit_s:g}"
            )
        if not 0.1 <= self.endpoint_silence_s <= 15:  # a longer pause ends utterances anyway
            raise ConfigurationError(
                f"--endpoint-silence must lie between 0.1 and 15 s, not {self.endpoint_silence_s:g}"
            )
        if self.translate and self.english_only:
            raise ConfigurationError(
                f"{self.model} knows only English; --translate needs a multilingual model, "
                "e.g. --model base"
            )
        language, candidates = self.languages
        if self.english_only and (language, candidates) not in (("en", ()), (None, ())):
            raise ConfigurationError(
                f"{self.model} knows only English; --language {self.language} needs a "
                "multilingual model, e.g. --model base"
            )
        options = self.transcriber_options()
        english = options.language == "en" and not self.translate
        if self.final_model is not None and _english_only(self.final_model) and not english:
            raise ConfigurationError(
                f"{self.final_model} knows only English; --final-model needs a multilingual model "
                "here, e.g. base, or --language en"
            )
        self.vad_options()

    @property
    def english_only(self) -> bool:
        """Whether the model's name says that it knows only English."""
        return _english_only(self.model)

    @property
    def languages(self) -> tuple[str | None, tuple[str, ...]]:
        """Language, None to detect it, and the candidates for detection."""
        if self.language is None:
            return ("en", ()) if self.english_only else (None, ())
        return parse_languages(self.language)

    def transcriber_options(self) -> TranscriberOptions:
        """The part of the choices that the transcriber needs."""
        language, candidates = self.languages
        task: Literal["transcribe", "translate"] = "translate" if self.translate else "transcribe"
        return TranscriberOptions(
            chunk_s=self.chunk_s,
            window_s=self.window_s,
            left_context_s=self.left_context_s,
            max_utterance_s=self.max_utterance_s,
            language="en" if self.english_only else language,
            candidates=candidates,
            task=task,
            prompt=self.prompt,
            hotwords=self.hotwords,
        )

    def vad_options(self) -> VadOptions:
        """The part of the choices that the segmenter needs."""
        return VadOptions(threshold=self.vad_threshold)

    def described(self) -> dict[str, Any]:
        """As the ``session_started`` event shows them: those that are set."""
        threads = self.threads or default_threads(self.workers)
        every = {**asdict(self), "threads": threads, "trace": self.trace or None}
        return {name: value for name, value in every.items() if value not in (None, "", ())}
