"""WASAPI loopbacks of Windows, by way of the package PyAudioWPatch.

Written from that package's interface; it has not been run on Windows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from streaming.errors import SourceError

from ._device import Connection, Inbox
from ._listing import DeviceInfo, find_device
from ._serial import SerialThread

__all__ = ["WasapiLoopback", "list_loopbacks"]

TIMEOUT_S = 10.0
BLOCK_S = 0.05

_thread = SerialThread("loopback")


def list_loopbacks() -> list[DeviceInfo]:
    """Every output whose sound can be recorded; blocks.

    Raises:
        SourceError: the package is missing, or Windows refuses.
    """
    pyaudio = _library()
    try:
        with pyaudio.PyAudio() as audio:
            return _loopbacks(audio)
    except OSError as error:
        raise SourceError(f"Windows does not list its outputs: {error}") from error


class WasapiLoopback:
    """What an output plays, as a `Device`.

    Args:
        wanted: see `find_device`.
    """

    def __init__(self, wanted: int | str | None) -> None:
        self._wanted = wanted

    async def open(self, inbox: Inbox) -> Connection:
        """Start recording."""
        try:
            return await _thread.call(
                lambda: self._start(inbox), timeout_s=TIMEOUT_S, undo=_Recorder.stop
            )
        except TimeoutError:
            raise SourceError("the sound system does not answer; restart it") from None

    def _start(self, inbox: Inbox) -> _Recorder:
        pyaudio = _library()
        audio = pyaudio.PyAudio()
        try:
            output = find_device(_loopbacks(audio), self._wanted, "output")
            recorder = _Recorder(pyaudio, audio, output, inbox)
        except OSError as error:
            audio.terminate()
            raise SourceError(f"what is played cannot be recorded: {error}") from error
        except BaseException:
            audio.terminate()
            raise
        if self._wanted is not None:
            self._wanted = output.name
        return recorder


class _Recorder:
    """An open loopback."""

    def __init__(self, pyaudio: Any, audio: Any, output: DeviceInfo, inbox: Inbox) -> None:
        self.name = f'output "{output.name}"'
        self._audio = audio

        def deliver(data: bytes, _n: int, _time: Any, status: int) -> tuple[None, int]:
            frames = np.frombuffer(data, np.float32).reshape(-1, output.channels)
            overflowed = bool(status & pyaudio.paInputOverflow)
            inbox.put(frames, output.rate, overflowed=overflowed)
            return None, pyaudio.paContinue

        self._stream = audio.open(
            format=pyaudio.paFloat32,
            channels=output.channels,  # a loopback can be opened with its own number alone
            rate=output.rate,
            frames_per_buffer=round(BLOCK_S * output.rate),
            input=True,
            input_device_index=output.index,
            stream_callback=deliver,
        )

    def stop(self) -> None:
        """Close it; blocks."""
        self._stream.close()
        self._audio.terminate()

    async def close(self) -> None:
        with suppress(TimeoutError):
            await _thread.call(self.stop, timeout_s=0.5)


def _loopbacks(audio: Any) -> list[DeviceInfo]:
    try:
        default = audio.get_default_wasapi_loopback()["index"]
    except (OSError, LookupError):
        default = None
    return [
        DeviceInfo(
            index=device["index"],
            name=device["name"],
            host="Windows WASAPI",
            channels=device["maxInputChannels"],
            rate=int(device["defaultSampleRate"]),
            default=device["index"] == default,
            id=device["name"],
        )
        for device in audio.get_loopback_device_info_generator()
    ]


def _library() -> Any:
    try:
        import pyaudiowpatch
    except ImportError:
        raise SourceError(
            "recording what this machine plays needs a package: pip install PyAudioWPatch"
        ) from None
    return pyaudiowpatch
