"""whisper.cpp through pywhispercpp's low-level module; the only importer of it.

The encoder dominates the cost of a pass, and its cost follows ``audio_ctx``, the number of
20 ms positions it works on. So the context is sized to the window plus a margin (full
context for every pass is what makes naive streaming slow); too small a margin makes the
model repeat itself, which the loop guard notices; one more pass at full context then follows.
"""

from __future__ import annotations

import atexit
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLE_RATE
from ..errors import BackendError
from ..models.ggml_file import read_index
from ..protocols import Hypothesis, Window
from ..words import TimedToken
from .guards import token_limit
from .hearing import hypothesis_of
from .language_choice import choose_language, given_language
from .memory import require_memory
from .native_libraries import spin_briefly
from .processor import require_processor
from .vocabulary import Vocabulary
from .window_input import (
    FULL_CONTEXT,
    MIN_FRAMES,
    check_prompt,
    check_window,
    context_of_model,
    context_positions,
    padded_mel,
    prompt_tokens,
    too_short,
)
from .word_timing import FRAME_S

__all__ = ["WhisperCppBackend"]

_NO_AUDIO = np.zeros(0, dtype=np.float32)


class WhisperCppBackend:
    """A whisper.cpp model.

    Args:
        path: a ggml model file.
        model: its name, for people.
        threads: threads of a pass.
        alignment_heads: name of whisper.cpp's preset of alignment heads ("tiny.en", ...);
            None uses the top layers, whose word times are coarser.
        margin: encoder positions of 20 ms that a pass works on beyond its window's own;
            None takes what was measured to suit the model.
        least_context: positions that a pass works on at least; None as well.

    Raises:
        BackendError: the processor lacks what the wheel needs, there is not enough memory, or
            the file cannot be loaded.
        ModelError: the file is damaged or not a model.
        ConfigurationError: a negative number of positions.
    """

    name = "whisper.cpp"
    forces_prefix = False

    def __init__(
        self,
        path: Path,
        *,
        model: str,
        threads: int,
        alignment_heads: str | None = None,
        margin: int | None = None,
        least_context: int | None = None,
    ) -> None:
        self._margin, self._least_context = context_of_model(model, margin, least_context)
        require_processor()
        read_index(path)  # whisper.cpp crashes on some damaged files
        # Where there is none, whisper.cpp aborts.
        require_memory(model, threads=threads, size_bytes=path.stat().st_size)
        spin_briefly()
        import _pywhispercpp as core

        self.model = model
        self._core = core
        self._threads = threads
        self._turn = threading.Lock()
        self._aborting = threading.Event()
        _silence_log(core)
        params = core.whisper_context_default_params()
        params.use_gpu = False
        params.flash_attn = False  # whisper.cpp has no word times with it
        params.dtw_token_timestamps = True
        presets = core.whisper_alignment_heads_preset
        if alignment_heads is None:
            params.dtw_aheads_preset = presets.WHISPER_AHEADS_N_TOP_MOST
            params.dtw_n_top = 2
        else:
            preset = "WHISPER_AHEADS_" + alignment_heads.upper().replace(".", "_").replace("-", "_")
            params.dtw_aheads_preset = getattr(presets, preset)
        context = core.whisper_init_from_file_with_params(str(path), params)
        if context is None:
            raise BackendError(f"whisper.cpp cannot load {path}; check it with `models verify`")
        self._context: Any = context
        self.n_mels = int(core.whisper_model_n_mels(context))
        self.multilingual = bool(core.whisper_is_multilingual(context))
        self._end_of_text = int(core.whisper_token_eot(context))
        self._vocabulary = Vocabulary(
            [core.whisper_token_to_bytes(context, i) for i in range(self._end_of_text)]
        )
        self._languages = {
            core.whisper_lang_str(i): i for i in range(core.whisper_lang_max_id() + 1)
        }
        self._widen_segment_list()

    def decode(self, window: Window) -> Hypothesis:
        """See `streaming.protocols.Backend`."""
        with self._turn:
            self._aborting.clear()
            return self._decode(window)

    def check_prompt(self, prompt: str) -> None:
        """See `streaming.protocols.PromptChecking`."""
        check_prompt(prompt, self._vocabulary, self.model)

    def abort(self) -> None:
        """See `streaming.protocols.Backend`. Looked at between decoder steps."""
        self._aborting.set()

    def close(self) -> None:
        """Free the model."""
        with self._turn:
            if self._context is not None:
                self._core.whisper_free(self._context)
                self._context = None

    def _widen_segment_list(self) -> None:
        """Keep whisper.cpp from reading outside its memory.

        After a pass that the token limit ended, its word times look one segment past the end
        of its list of segments. The list is allocated for one and keeps the room it once had,
        so one pass with many segments makes that place part of it for good. Such a pass is
        had by sampling a dozen random tokens and cutting the text at every one.
        """
        context = 64
        self._set_mel(np.zeros((self.n_mels, MIN_FRAMES), np.float32), 2 * context)
        params = self._parameters(MIN_FRAMES, context)
        params.language = "en"
        params.greedy = {"best_of": 1}
        params.temperature = 10.0  # any token is as likely as any other
        params.no_speech_thold = 2.0  # a probability never reaches it
        params.max_tokens = 12
        params.token_timestamps = True
        params.max_len = 1
        self._core.whisper_full(self._context, params, _NO_AUDIO, 0)

    # -- one pass ---------------------------------------------------------------------------

    def _decode(self, window: Window) -> Hypothesis:
        check_window(window, self.model, self.n_mels)
        nothing = too_short(window)
        if nothing is not None:
            return nothing
        context = context_positions(window, self._margin, self._least_context)
        chosen = self._language(window)
        self._set_mel(window.mel, 2 * context)
        return hypothesis_of(window, self._run(window, chosen[0], context), chosen)

    def _set_mel(self, mel: NDArray[np.float32], n_frames: int) -> None:
        """Hand the window over, padded with silence to what the encoder reads."""
        padded = padded_mel(mel, n_frames)
        if self._core.whisper_set_mel(self._context, padded, n_frames, self.n_mels) != 0:
            raise BackendError("whisper.cpp refused the mel window")

    def _language(self, window: Window) -> tuple[str, float, bool]:
        """Language of the window, its probability, and whether it was surely detected."""
        if not self.multilingual:
            return "en", 1.0, False
        given = given_language(window, self._languages)
        if given is not None:
            return given
        probabilities = self._language_probabilities(window)
        by_code = {code: float(probabilities[i]) for code, i in self._languages.items()}
        return choose_language(by_code, window)

    def _language_probabilities(self, window: Window) -> NDArray[np.float32]:
        """Of all languages, by id. At full context: on less, detection is unreliable."""
        core = self._core
        self._set_mel(window.mel, 2 * FULL_CONTEXT)
        # Detection encodes with the context of the call before, which can be set only by a
        # call; this one stops in front of its encoder.
        params = self._parameters(window.n_frames, FULL_CONTEXT)
        core.assign_encoder_begin_callback(params, _stop)
        core.whisper_full(self._context, params, _NO_AUDIO, 0)
        probabilities = np.zeros(core.whisper_lang_max_id() + 1, dtype=np.float32)
        if core.whisper_lang_auto_detect(self._context, 0, self._threads, probabilities) < 0:
            raise BackendError("whisper.cpp could not detect the language")
        return probabilities

    def _run(self, window: Window, language: str, audio_context: int) -> list[TimedToken]:
        core = self._core
        assert window.n_frames <= 2 * audio_context <= 2 * FULL_CONTEXT  # else whisper.cpp aborts
        duration_s = window.n_frames * FRAME_S
        params = self._parameters(window.n_frames, audio_context)
        params.max_tokens = token_limit(duration_s, language, careful=window.careful)
        params.language = language
        params.translate = window.task == "translate"
        params.suppress_nst = True
        prompt = prompt_tokens(window, self._vocabulary)
        if prompt:
            params.set_prompt_tokens(prompt)
        core.assign_abort_callback(params, self._aborting.is_set)
        status = core.whisper_full(self._context, params, _NO_AUDIO, 0)
        if self._aborting.is_set():
            return []
        if status != 0:
            raise BackendError(f"whisper.cpp failed with status {status}")
        return self._tokens(window)

    def _parameters(self, n_frames: int, audio_context: int) -> Any:
        """What every call of whisper.cpp here has in common."""
        core = self._core
        params = core.whisper_full_default_params(
            core.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
        )
        params.n_threads = self._threads
        params.audio_ctx = audio_context
        params.duration_ms = n_frames * 10
        params.no_context = True
        params.single_segment = True
        params.no_timestamps = True
        params.temperature_inc = 0.0  # no second guesses at a higher temperature
        params.print_progress = False
        params.print_realtime = False
        params.print_timestamps = False
        return params

    def _tokens(self, window: Window) -> list[TimedToken]:
        core, context = self._core, self._context
        start_s = window.start_sample / SAMPLE_RATE
        end_s = start_s + window.n_frames * FRAME_S
        tokens: list[TimedToken] = []
        at_s = start_s
        for segment in range(core.whisper_full_n_segments(context)):
            for i in range(core.whisper_full_n_tokens(context, segment)):
                data = core.whisper_full_get_token_data(context, segment, i)
                if data.id >= self._end_of_text:
                    continue
                # whisper.cpp reports where a token gives way to the next one.
                until_s = min(max(start_s + data.t_dtw * FRAME_S, at_s), end_s)
                text = self._vocabulary.tokens[data.id]
                tokens.append(TimedToken(text, at_s, until_s, float(data.p)))
                at_s = until_s
        return tokens


def _stop(*_: object) -> bool:
    """Tell whisper.cpp not to begin."""
    return False


def _ignore_log(*_: object) -> None:
    """Stand in for whisper.cpp's own log, which writes to stderr."""


def _silence_log(core: Any) -> None:
    core.whisper_log_set(_ignore_log)
    # A Python callback that outlives the interpreter aborts the process.
    atexit.register(core.whisper_log_set, None)
