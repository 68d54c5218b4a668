"""What inputs a machine has, and which of them a person means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.errors import SourceError

__all__ = ["DeviceInfo", "find_device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """One input of this machine."""

    index: int
    """What names it shortly; it may change when devices come and go."""
    name: str
    host: str
    """Interface it is reached by: "ALSA", "Core Audio", "Windows WASAPI", "PulseAudio", ..."""
    channels: int
    """Most that it records."""
    rate: int
    """Its own, in hertz."""
    default: bool
    """The one that is taken where none is named."""
    id: str
    """Name that its host knows it by."""


def find_device(
    devices: Sequence[DeviceInfo], wanted: int | str | None, what: str = "microphone"
) -> DeviceInfo:
    """The device that is meant.

    Args:
        devices: what there is.
        wanted: an index, also as digits; a name or any part of one, in any case; None for the
            default. Where several names fit, the one that is exactly so wins, and then the
            one of the default device's host: Windows shows each device once for each host.
        what: they are called in errors.

    Raises:
        SourceError: there is none, or several fit; the text lists what there is.
    """
    if not devices:
        raise SourceError(f"there is no {what} on this machine")
    if wanted is None:
        fits = [d for d in devices if d.default]
        if not fits:
            raise SourceError(f"there is no default {what}; choose one of {_listed(devices)}")
        return fits[0]
    if isinstance(wanted, int) or wanted.strip().isdecimal():
        fits = [d for d in devices if d.index == int(wanted)]
    else:
        part = wanted.strip().casefold()
        fits = [d for d in devices if part in d.name.casefold() or part in d.id.casefold()]
        exact = [d for d in fits if part in (d.name.casefold(), d.id.casefold())]
        fits = exact or fits
    hosts = {d.host for d in devices if d.default}
    if len(fits) > 1:
        fits = [d for d in fits if d.host in hosts] or fits
    if len(fits) == 1:
        return fits[0]
    problem = f"several are called like {wanted!r}" if fits else f"no {what} is called {wanted!r}"
    raise SourceError(f"{problem}; choose one of {_listed(fits or devices)}")


def _listed(devices: Sequence[DeviceInfo]) -> str:
    return ", ".join(f'{d.index} "{d.name}"' for d in devices)
