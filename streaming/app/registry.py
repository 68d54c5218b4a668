"""Parts by name: the built-in ones in plain dicts, third parties' through entry points.

A name may carry parameters, ``name:key=value,key=value``; they become keyword arguments of
the class or function that the name stands for.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from policies.agreement_hold_back import AgreementHoldBack
from policies.endpoint_only import EndpointOnly
from policies.hold_back import HoldBack
from policies.local_agreement import LocalAgreement

from ..errors import ConfigurationError
from ..protocols import VoiceActivityDetector

__all__ = ["POLICIES", "VADS", "build", "maker", "names"]


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
POLICIES: Mapping[str, Callable[..., Any]] = {
    "local-agreement": LocalAgreement,
    "hold-back": HoldBack,
    "agreement-hold-back": AgreementHoldBack,
    "endpoint": EndpointOnly,
}

_KINDS = {
    "streaming.backends": "backend",
    "streaming.policies": "policy",
    "streaming.sinks": "sink",
    "streaming.sources": "source",
    "streaming.vads": "speech detector",
}


def names(group: str, built_in: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Names that `build` accepts for an entry point group such as ``streaming.policies``."""
    return [*built_in, *sorted({e.name for e in entry_points(group=group)} - set(built_in))]


def build(
    spec: str, group: str, built_in: Mapping[str, Callable[..., Any]], *given: Any, **also: Any
) -> Any:
    """Make the part that ``name`` or ``name:key=value,...`` asks for; arguments as `maker`'s.

    Raises:
        ConfigurationError: an unknown name or parameter, or a value that cannot work.
    """
    return maker(spec, group, built_in, *given, **also)()


def maker(
    spec: str, group: str, built_in: Mapping[str, Callable[..., Any]], *given: Any, **also: Any
) -> Callable[[], Any]:
    """Find what makes the part that ``name`` or ``name:key=value,...`` asks for.

    Args:
        spec: what the user wrote.
        group: of entry points, such as ``streaming.policies``.
        built_in: names that no entry point can take.
        given: positional arguments that every part of this kind gets.
        also: keyword arguments likewise.

    Returns:
        Makes the part. A `TypeError` or `ValueError` from the part itself becomes a
        `ConfigurationError`.

    Raises:
        ConfigurationError: an unknown name or parameter.
    """
    name, _, rest = spec.partition(":")
    factory = _factory(name, group, built_in)
    chosen = dict(_argument(item, name) for item in rest.split(",") if item)
    takes = _parameters(factory, len(given), also)
    if takes is not None and not chosen.keys() <= takes:
        known = ", ".join(sorted(takes)) or "none"
        raise ConfigurationError(f"{name} takes the parameters: {known}; not {rest!r}")

    def make() -> Any:
        try:
            return factory(*given, **also, **chosen)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{spec}: {error}") from error

    return make


def _factory(
    name: str, group: str, built_in: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    if name in built_in:
        return built_in[name]
    kind = _KINDS[group]
    for entry in entry_points(group=group, name=name):
        try:
            factory: Callable[..., Any] = entry.load()
        except Exception as error:
            package = entry.dist.name if entry.dist else entry.value
            raise ConfigurationError(
                f"the {kind} {name!r} of the package {package} cannot be loaded: {error}"
            ) from error
        return factory
    known = ", ".join(names(group, built_in)) or "none is installed"
    raise ConfigurationError(f"unknown {kind} {name!r}; known: {known}")


def _parameters(
    factory: Callable[..., Any], n_given: int, also: Mapping[str, Any]
) -> set[str] | None:
    """Names of the parameters that the user may choose; None if any will do."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())[n_given:]
    except ValueError:  # some native classes do not tell
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL} - also.keys()


def _argument(item: str, name: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigurationError(f"{name}: expected key=value, not {item!r}")
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return key.strip(), value.strip()
