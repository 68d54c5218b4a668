"""What the machine plays: the other end of a call, a video, a game."""

from __future__ import annotations

import platform
from collections.abc import Callable

from streaming.errors import SourceError

from ._device import Device, DeviceSource
from ._listing import DeviceInfo
from ._pulse import PulseMonitor, list_monitors
from ._wasapi import WasapiLoopback, list_loopbacks

__all__ = ["LoopbackSource", "loopback_devices"]

SYSTEM = platform.system()
NO_LOOPBACK = (
    "this system offers no recording of what it plays; on macOS install a virtual device such as "
    "BlackHole, play into it, and record it like a microphone: --mic --device BlackHole"
)


class LoopbackSource(DeviceSource):
    """Live audio of what an output plays, mixed down and resampled to 16 kHz.

    On Linux the monitor of a PulseAudio or PipeWire sink, recorded by ``parec`` (Debian:
    pulseaudio-utils); on Windows a WASAPI loopback, by the package PyAudioWPatch, which has not
    been run there yet. An output that plays nothing gives silence. For the rest it behaves as
    `MicrophoneSource` does.

    Args:
        device: an index, or a name or part of one, in any case (`loopback_devices` lists them);
            the default output if None.
        chunk_s: length of a chunk in seconds.
        reconnect: False makes an output that is gone a `SourceError`.

    Raises:
        ConfigurationError: an impossible chunk length.
        SourceError: the system offers no such recording; on entering, there is no such output
            or it cannot be recorded; on iterating, it is gone.
    """

    def __init__(
        self, device: int | str | None = None, *, chunk_s: float = 0.1, reconnect: bool = True
    ) -> None:
        _, loopback = _system()
        super().__init__(loopback(device), chunk_s=chunk_s, reconnect=reconnect, may_pause=True)


def loopback_devices() -> list[DeviceInfo]:
    """The outputs that can be recorded now; blocks for some milliseconds.

    Raises:
        SourceError: the system offers no such recording, what it needs is missing or it fails.
    """
    list_outputs, _ = _system()
    return list_outputs()


def _system() -> tuple[Callable[[], list[DeviceInfo]], Callable[[int | str | None], Device]]:
    """What lists the outputs of this system, and what records one of them."""
    if SYSTEM == "Linux":
        return list_monitors, PulseMonitor
    if SYSTEM == "Windows":
        return list_loopbacks, WasapiLoopback
    raise SourceError(NO_LOOPBACK)
