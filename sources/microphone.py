"""A microphone, or any other input that the sound system has."""

from __future__ import annotations

from ._device import DeviceSource
from ._listing import DeviceInfo
from ._portaudio import Microphone, list_inputs

__all__ = ["MicrophoneSource", "input_devices"]


class MicrophoneSource(DeviceSource):
    """Live audio of an input, at its own rate and mixed down, resampled to 16 kHz.

    It records from entering on. What came before iteration began is kept, up to ten seconds, and
    the stream starts there. Audio that the sound system or a busy event loop lost is a gap with
    the reason "overflow". A device that stops, or delivers nothing for three seconds, is opened
    again until it is back; what was said before is final at once, and the break is a gap with
    the reason "reconnect". Nothing but exact zeros for three seconds is worth a notice.

    Notices: ``no_audio``, ``silent_input`` and ``sound_back``, ``reconnecting`` and
    ``reconnected``.

    Args:
        device: an index, or a name or part of one, in any case (`input_devices` lists them); the
            default input if None.
        chunk_s: length of a chunk in seconds.
        reconnect: False makes a device that is gone a `SourceError`.

    Raises:
        ConfigurationError: an impossible chunk length.
        SourceError: on entering, there is no such device, it is busy, or the package
            ``sounddevice`` or its library is missing; on iterating, the device is gone.
    """

    def __init__(
        self, device: int | str | None = None, *, chunk_s: float = 0.1, reconnect: bool = True
    ) -> None:
        super().__init__(Microphone(device), chunk_s=chunk_s, reconnect=reconnect)


def input_devices() -> list[DeviceInfo]:
    """The inputs there are now; blocks for some milliseconds.

    Raises:
        SourceError: there are none, or the package ``sounddevice`` or its library is missing or
            does not answer.
    """
    return list_inputs()
