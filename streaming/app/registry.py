"""Parts by name: the built-in ones in plain dicts, third parties' through entry points.

A name may carry parameters, ``name:key=value,key=value``; they become keyword arguments of
the class.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from policies.local_agreement import LocalAgreement

from ..errors import ConfigurationError
from ..protocols import VoiceActivityDetector

__all__ = ["POLICIES", "VADS", "build", "names"]


def _silero() -> VoiceActivityDetector:
    from ..vad.silero import SileroVad

    return SileroVad()


def _webrtc(aggressiveness: int = 2) -> VoiceActivityDetector:
    from ..vad.webrtc import WebRtcVad

    return WebRtcVad(aggressiveness)


def _energy() -> VoiceActivityDetector:
    from ..vad.energy import EnergyVad

    return EnergyVad()


def _none() -> VoiceActivityDetector:
    from ..vad.none import NoVad

    return NoVad()


VADS: Mapping[str, Callable[..., Any]] = {
    "silero": _silero,
    "webrtc": _webrtc,
    "energy": _energy,
    "none": _none,
}
POLICIES: Mapping[str, Callable[..., Any]] = {"local-agreement": LocalAgreement}


def names(group: str, built_in: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Names that `build` accepts for an entry point group such as ``streaming.policies``."""
    return [*built_in, *sorted({e.name for e in entry_points(group=group)} - set(built_in))]


def build(spec: str, group: str, built_in: Mapping[str, Callable[..., Any]]) -> Any:
    """Make the part that ``name`` or ``name:key=value,...`` asks for.

    Raises:
        ConfigurationError: an unknown name or parameter, or a value that cannot work.
    """
    kind = group.rpartition(".")[2]
    name, _, rest = spec.partition(":")
    factory = built_in.get(name)
    if factory is None:
        for entry in entry_points(group=group, name=name):
            factory = entry.load()
    if factory is None:
        known = ", ".join(names(group, built_in))
        raise ConfigurationError(f"unknown name {name!r} among {kind}; known: {known}")
    arguments = dict(_argument(item, name) for item in rest.split(",") if item)
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError:
        known = ", ".join(inspect.signature(factory).parameters) or "none"
        raise ConfigurationError(f"{name} takes the parameters: {known}; not {rest!r}") from None
    return factory(**arguments)


def _argument(item: str, name: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigurationError(f"{name}: expected key=value, not {item!r}")
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return key.strip(), value.strip()
