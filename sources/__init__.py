"""Sources: one module, one origin of audio.

A source is an async context manager that is iterated once and yields `AudioChunk` (mono
float32 at 16 kHz, numbered from sample 0) until its input ends. Seven lines make one, with
`streaming.Source` for a base that does nothing on entering and leaving::

    class Beep(Source):
        live = False  # True where audio goes on whether or not anybody listens

        async def __aiter__(self):
            for start in range(0, 16_000, 1_600):
                time_s = np.arange(start, start + 1_600) / 16_000
                beep = 0.1 * np.sin(2 * np.pi * 440 * time_s)
                yield AudioChunk(beep.astype(np.float32), start)

`AudioChunk` and `Flush` come from `streaming.audio`. Audio that was lost is a jump in
``start_sample`` and a ``gap_reason``; audio that cannot be read is a `SourceError`; a `Flush`
between chunks closes the utterance there. `streaming.testing.check_source(Beep)` checks the
rest of the contract. To be found by name from another package, name the class in an entry
point of the group ``streaming.sources``.
"""

from .file import FileSource
from .loopback import LoopbackSource
from .media import MediaSource
from .microphone import MicrophoneSource
from .pcm_stdin import PcmStdinSource
from .push import PushSource
from .record import RecordingSource
from .replay import ReplaySource
from .synthetic import Noise, Silence, SyntheticSource, Tone

__all__ = [
    "FileSource",
    "LoopbackSource",
    "MicrophoneSource",
    "MediaSource",
    "Noise",
    "PcmStdinSource",
    "PushSource",
    "RecordingSource",
    "ReplaySource",
    "Silence",
    "SyntheticSource",
    "Tone",
]
