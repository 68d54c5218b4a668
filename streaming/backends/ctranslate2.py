"""CTranslate2, the engine of faster-whisper, on its own model files; the only importer of it.

Two things make it fast here. It encodes exactly the frames it is given and a margin, and it
takes the committed words of the window as a forced prefix, so that only the tail is decoded
and no seam has to be found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLE_RATE
from ..errors import BackendError, ConfigurationError, ModelError
from ..events import Word, text_of
from ..languages import LANGUAGES
from ..models.ct2_store import Ct2Model
from ..models.vocabulary_file import read_token_names, token_bytes
from ..protocols import Hypothesis, Window
from ..words import TimedToken
from .guards import token_limit
from .hearing import hypothesis_of
from .language_choice import choose_language, given_language
from .memory import require_memory
from .native_libraries import keep_few_kernels, spin_briefly
from .processor import require_processor
from .vocabulary import Vocabulary
from .window_input import (
    FULL_CONTEXT,
    check_prompt,
    check_window,
    context_of_model,
    context_positions,
    padded_mel,
    prompt_tokens,
    too_short,
)
from .word_timing import FRAME_S, voice_after_s

__all__ = ["CTranslate2Backend"]

_MOST_TOKENS = 448
"""The decoder's positions: prompt, prefix and what is decoded."""
_MOST_PREFIX = 128
"""Tokens that are forced; of more, too little room would be left to half of the positions."""
_SPOKEN_S = 0.3
"""Voice longer than this after the last committed word is a word, and not its end."""


@dataclass(frozen=True, slots=True)
class _Specials:
    """Ids of the tokens that are not text."""

    end: int
    """The first of them: all text tokens are below."""
    start: int
    previous: int
    no_timestamps: int
    transcribe: int
    translate: int
    languages: Mapping[str, int]


class CTranslate2Backend:
    """A Whisper model in CTranslate2's format.

    Args:
        files: the model's files.
        model: its name, for people.
        threads: threads of a pass.
        compute_type: "int8", "float32", ... as CTranslate2 has them; None takes int8 where the
            processor serves it, float16 on a graphics card.
        device: "cpu" or "cuda".
        margin: encoder positions of 20 ms that a pass works on beyond its window's own;
            None takes what was measured to suit the model.
        least_context: positions that a pass works on at least; None as well.

    Raises:
        BackendError: CTranslate2 cannot load the model, or there is not enough memory.
        ConfigurationError: CTranslate2 is not installed, or does not serve the compute type or
            the device here.
        ModelError: the vocabulary cannot be read.
    """

    name = "ctranslate2"
    forces_prefix = True
    n_mels: int
    multilingual: bool

    def __init__(
        self,
        files: Ct2Model,
        *,
        model: str,
        threads: int,
        compute_type: str | None = None,
        device: str = "cpu",
        margin: int | None = None,
        least_context: int | None = None,
    ) -> None:
        self._margin, self._least_context = context_of_model(model, margin, least_context)
        require_processor()
        size_bytes = sum(part.stat().st_size for part in files.parts)
        # Read whole, or piece by piece and then, as int8, half of it kept.
        least_bytes = size_bytes // 2 if files.folder else size_bytes
        require_memory(model, threads=threads, size_bytes=least_bytes)
        spin_briefly()
        keep_few_kernels()
        try:
            import ctranslate2
        except ModuleNotFoundError:
            raise ConfigurationError(
                'CTranslate2 is not installed: pip install "stream-transcribe[ct2]"'
            ) from None
        names = read_token_names(files.vocabulary)
        self.model = model
        self._core = ctranslate2
        self._special = _specials(names)
        self._vocabulary = Vocabulary(token_bytes(names[: self._special.end]))
        try:
            served = ctranslate2.get_supported_compute_types(device)
            self._model: Any = ctranslate2.models.Whisper(
                str(files.folder or model),
                device=device,
                compute_type=compute_type or _fastest(served, device),
                intra_threads=threads,
                inter_threads=1,
                files=None if files.folder else _contents(files),
            )
        except ValueError as error:
            raise ConfigurationError(f"CTranslate2: {error}") from error
        except (RuntimeError, OSError) as error:
            raise BackendError(f"CTranslate2 cannot load {model}: {error}") from error
        self.n_mels = int(self._model.n_mels)
        self.multilingual = bool(self._model.is_multilingual)

    def decode(self, window: Window) -> Hypothesis:
        """See `streaming.protocols.Backend`."""
        check_window(window, self.model, self.n_mels)
        nothing = too_short(window)
        if nothing is not None:
            return nothing
        try:
            return self._decode(window)
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"CTranslate2 failed: {error}") from error

    def check_prompt(self, prompt: str) -> None:
        """See `streaming.protocols.PromptChecking`."""
        check_prompt(prompt, self._vocabulary, self.model)

    def abort(self) -> None:
        """Nothing: CTranslate2 cannot stop in the middle, and a pass ends by itself."""

    def close(self) -> None:
        """Free the model."""
        self._model.unload_model()

    # -- one pass ---------------------------------------------------------------------------

    def _decode(self, window: Window) -> Hypothesis:
        context = context_positions(window, self._margin, self._least_context)
        chosen = self._language(window)
        language = chosen[0]
        encoded = self._encode(window.mel, context)
        start = self._start(language, window.task)
        forced: tuple[Word, ...] | None = None if window.careful else window.prefix
        prefix = self._vocabulary.encode(text_of(forced or ()))
        if len(prefix) > _MOST_PREFIX:
            forced, prefix = None, []
        text = self._generate(window, encoded, language, start, prefix)
        tokens = self._tokens(window, encoded, start, prefix, text)
        return hypothesis_of(window, tokens, chosen, forced)

    def _generate(
        self,
        window: Window,
        encoded: Any,
        language: str,
        start: list[int],
        prefix: list[int],
    ) -> list[int]:
        """Text tokens that follow the prefix."""
        prompt = prompt_tokens(window, self._vocabulary)
        before = [self._special.previous, *prompt, *start] if prompt else start
        start_s = said_until_s = window.start_sample / SAMPLE_RATE
        if prefix:
            said_until_s = max(start_s, window.prefix[-1].end_s)
        unheard_s = max(0.0, window.end_sample / SAMPLE_RATE - said_until_s)
        speaks_on = voice_after_s(said_until_s, window.mel, start_s) >= _SPOKEN_S
        limit = len(prefix) + token_limit(unheard_s, language, careful=window.careful)
        limit = min(limit, _MOST_TOKENS // 2, _MOST_TOKENS - len(before))
        result = self._model.generate(
            encoded,
            [[*before, *prefix]],
            beam_size=1,
            # With this, the text cannot end where it begins.
            suppress_blank=not prefix or speaks_on,
            # Half of it is for the prefix and what follows, or what the prompt leaves.
            max_length=max(2 * limit, len(before) + limit),
        )
        text = [token for token in result[0].sequences_ids[0] if token < self._special.end]
        return text[len(prefix) :]

    def _encode(self, mel: NDArray[np.float32], context: int) -> Any:
        """Encode the window, padded with silence to ``context`` positions."""
        padded = padded_mel(mel, 2 * context)[np.newaxis]
        return self._model.encode(self._core.StorageView.from_array(padded))

    def _language(self, window: Window) -> tuple[str, float, bool]:
        """Language of the window, its probability, and whether it was surely detected."""
        if not self.multilingual:
            return "en", 1.0, False
        given = given_language(window, self._special.languages)
        if given is not None:
            return given
        encoded = self._encode(window.mel, FULL_CONTEXT)  # on less, detection is unreliable
        heard = self._model.detect_language(encoded)[0]
        return choose_language({token[2:-2]: p for token, p in heard}, window)

    def _start(self, language: str, task: str) -> list[int]:
        special = self._special
        if not self.multilingual:
            return [special.start, special.no_timestamps]
        job = special.translate if task == "translate" else special.transcribe
        return [special.start, special.languages[language], job, special.no_timestamps]

    def _tokens(
        self,
        window: Window,
        encoded: Any,
        start: list[int],
        prefix: list[int],
        text: list[int],
    ) -> list[TimedToken]:
        """The text after the prefix, with absolute times."""
        if not text:
            return []
        # The sequence without <|notimestamps|>, as OpenAI's own alignment has it.
        aligned = self._model.align(encoded, start[:-1], [[*prefix, *text]], [window.n_frames])[0]
        pairs = np.asarray(aligned.alignments)
        # Where a token gives way to the next one, in positions of 20 ms.
        turns = pairs[np.flatnonzero(np.diff(pairs[:, 0], prepend=-1)), 1]
        start_s = window.start_sample / SAMPLE_RATE
        end_s = window.end_sample / SAMPLE_RATE
        times_s = np.minimum(start_s + turns * (2 * FRAME_S), end_s).tolist()
        times_s += [end_s] * (len(prefix) + len(text) + 1 - len(times_s))
        return [
            TimedToken(
                self._vocabulary.tokens[token],
                times_s[i],
                times_s[i + 1],
                float(aligned.text_token_probs[i]),
            )
            for i, token in enumerate(text, start=len(prefix))
        ]


def _fastest(served: Collection[str], device: str) -> str:
    wanted = "int8" if device == "cpu" else "float16"
    return wanted if wanted in served else "default"


def _contents(files: Ct2Model) -> dict[str, bytes]:
    """The files by the names that CTranslate2 asks for; it keeps none of them."""
    return {
        "model.bin": b"".join(part.read_bytes() for part in files.parts),
        "config.json": files.config.read_bytes(),
        files.vocabulary.name: files.vocabulary.read_bytes(),
    }


def _specials(names: Sequence[str]) -> _Specials:
    ids = {name: i for i, name in enumerate(names) if name.startswith("<|")}
    try:
        return _Specials(
            end=ids["<|endoftext|>"],
            start=ids["<|startoftranscript|>"],
            previous=ids["<|startofprev|>"],
            no_timestamps=ids["<|notimestamps|>"],
            transcribe=ids["<|transcribe|>"],
            translate=ids["<|translate|>"],
            languages={code: ids[f"<|{code}|>"] for code in LANGUAGES if f"<|{code}|>" in ids},
        )
    except KeyError as error:
        raise ModelError(f"the vocabulary has no {error}; it is not Whisper's") from None
