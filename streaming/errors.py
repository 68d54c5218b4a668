"""Every error this library raises on purpose.

.. code-block:: text

    StreamingError                 exit code
    ├── ConfigurationError         2   an option, name or combination that cannot work
    ├── SourceError                2   audio that cannot be opened or read
    ├── ModelError                 1   a model file that is missing, damaged or unknown
    │   └── UnknownModelError      2   a name the catalogue does not have
    ├── BackendError               1   the native core failed
    ├── SinkError                  1   a destination that cannot be written
    └── OverwrittenError           1   a read of audio that the ring buffer no longer holds

    NobodyReadsError               0   standard output was closed by its reader

The text of an error is one line that says what is wrong and the way out; it is what the
command line prints. Anything else that escapes is a bug.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "ConfigurationError",
    "ModelError",
    "NobodyReadsError",
    "OverwrittenError",
    "SinkError",
    "SourceError",
    "StreamingError",
    "UnknownModelError",
]


class StreamingError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1
    """Exit status of the command line when this error ends it."""


class ConfigurationError(StreamingError):
    """An option, a name or a combination of options that cannot work."""

    exit_code = 2


class SourceError(StreamingError):
    """Audio that cannot be opened, decoded or read."""

    exit_code = 2


class ModelError(StreamingError):
    """A model file that is missing, damaged or not the one that was asked for."""


class UnknownModelError(ModelError):
    """A model name that the catalogue does not have."""

    exit_code = 2


class BackendError(StreamingError):
    """The native core could not be loaded or failed in a pass."""


class SinkError(StreamingError):
    """A destination that cannot be opened or written."""


class NobodyReadsError(BrokenPipeError):
    """Whoever read standard output has seen enough: the end of a run, and no fault of it."""


class OverwrittenError(StreamingError):
    """A read of samples or frames that a bounded buffer no longer (or not yet) holds."""
