"""PortAudio, by way of the package ``sounddevice``.

The library is not thread-safe, and a sound server that hangs makes its calls hang: all of them
are made on one thread of this process, and nobody waits for it without a limit. It lists devices
only when it is initialised, so that is done again before a device is opened. That would close
streams that are open, and is left out while this module has any.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streaming.errors import SourceError

from ._device import Connection, Inbox
from ._listing import DeviceInfo, find_device
from ._serial import SerialThread

if TYPE_CHECKING:
    import sounddevice

__all__ = ["Microphone", "list_inputs"]

TIMEOUT_S = 10.0
"""For opening a device or listing all; a hot-plugged one may take a second or two."""
MOST_CHANNELS = 2
"""A device that offers dozens mixes or repeats the first ones in the others."""
CLOSE_TIMEOUT_S = 0.5
"""Closing takes milliseconds, unless the sound server hangs."""
LATENCY_S = 0.1
"""Enough for a busy interpreter to come back before the device's buffer overflows."""

_thread = SerialThread("portaudio")
_open: set[sounddevice.InputStream] = set()
"""Touched on that thread only, as all below."""


def list_inputs() -> list[DeviceInfo]:
    """Every input that PortAudio has now; blocks.

    Raises:
        SourceError: there is none, the package or the library is missing, or does not answer.
    """
    try:
        return _thread.wait(_inputs, timeout_s=TIMEOUT_S)
    except TimeoutError:
        raise _hangs() from None


class Microphone:
    """An input as a `Device`.

    Once it was opened it is known by its host, its name and its place among those called alike:
    an index may mean another one when devices have come or gone. The default stays whatever is
    the default.

    Args:
        wanted: see `find_device`.
    """

    def __init__(self, wanted: int | str | None) -> None:
        self._wanted = wanted
        self._known: tuple[DeviceInfo, int] | None = None

    async def open(self, inbox: Inbox) -> Connection:
        """Open it at its own rate and start it."""
        try:
            return await _thread.call(
                lambda: self._start(inbox), timeout_s=TIMEOUT_S, undo=_Stream.stop
            )
        except TimeoutError:
            raise _hangs() from None

    def _start(self, inbox: Inbox) -> _Stream:
        devices = _inputs()
        if self._known is None:
            device = find_device(devices, self._wanted)
        else:
            device = _found_again(devices, *self._known)
        stream = _Stream(device, inbox)
        if self._wanted is not None and self._known is None:
            self._known = device, _alike(devices, device).index(device)
        return stream


class _Stream:
    """An open input."""

    def __init__(self, device: DeviceInfo, inbox: Inbox) -> None:
        sd = _library()
        self.name = f'microphone "{device.name}"'

        def deliver(frames: Any, _n: int, _time: Any, status: Any) -> None:
            inbox.put(frames.copy(), device.rate, overflowed=status.input_overflow)

        try:
            self._stream = sd.InputStream(
                device=device.index,
                samplerate=device.rate,
                channels=min(device.channels, MOST_CHANNELS),
                dtype="float32",
                latency=LATENCY_S,
                callback=deliver,
                finished_callback=lambda: inbox.end("it stopped"),
            )
            _open.add(self._stream)
            try:
                self._stream.start()
            except BaseException:
                self.stop()
                raise
        except sd.PortAudioError as error:
            raise SourceError(
                f"{self.name} cannot be opened: {error}; does another program use it?"
            ) from error

    def stop(self) -> None:
        """Close it; blocks."""
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)
        _open.discard(self._stream)

    async def close(self) -> None:
        try:
            await _thread.call(self.stop, timeout_s=CLOSE_TIMEOUT_S)
        except TimeoutError:
            # Closing at exit whatever is open would hang there for good.
            atexit.unregister(_library()._exit_handler)


def _alike(devices: Sequence[DeviceInfo], device: DeviceInfo) -> list[DeviceInfo]:
    return [d for d in devices if (d.host, d.name) == (device.host, device.name)]


def _found_again(devices: Sequence[DeviceInfo], known: DeviceInfo, place: int) -> DeviceInfo:
    """The device that was known, by its place among those that are called alike."""
    alike = _alike(devices, known)
    if not alike:
        raise SourceError(f'there is no microphone "{known.name}" any more')
    return alike[min(place, len(alike) - 1)]


def _inputs() -> list[DeviceInfo]:
    known = "sounddevice" in sys.modules
    sd = _library()
    try:
        if known and not _open:
            if sd._initialized:
                sd._terminate()
            sd._initialize()
        hosts = [host["name"] for host in sd.query_hostapis()]
        found = sd.query_devices()
    except sd.PortAudioError as error:
        raise SourceError(f"PortAudio fails: {error}") from error
    try:
        default = sd.query_devices(kind="input")["index"]
    except (sd.PortAudioError, ValueError):
        default = None
    inputs = [
        DeviceInfo(
            index=device["index"],
            name=device["name"],
            host=hosts[device["hostapi"]],
            channels=device["max_input_channels"],
            rate=int(device["default_samplerate"]),
            default=device["index"] == default,
            id=device["name"],
        )
        for device in found
        if device["max_input_channels"] > 0
    ]
    if not inputs:
        linux = sys.platform.startswith("linux")
        hint = (
            "; see that PulseAudio or PipeWire runs, and: apt install libasound2-plugins"
            if linux
            else ""
        )
        raise SourceError(f"there is no microphone on this machine{hint}")
    return inputs


def _library() -> Any:
    try:
        import sounddevice
    except OSError:
        raise SourceError(
            "a microphone needs the PortAudio library; on Debian: apt install libportaudio2"
        ) from None
    except Exception as error:
        raise SourceError(f"PortAudio does not start: {error}") from error
    return sounddevice


def _hangs() -> SourceError:
    return SourceError(
        f"the sound system does not answer within {TIMEOUT_S:g} s; restart it, or plug the "
        "device in again"
    )
