"""Quality and delay of a run, measured from its event log.

Nothing here runs a model. `measure` takes the events of one run at pace simulated or
realtime, the words of one offline pass over the whole file (the independent reading of
when each word ended) and, where there is one, the reference text. `evaluate` pools the
measurements of one or more clips into an `Evaluation`, which has a JSON form and a table.

`check_events` lists every broken promise of an event log; `machine` and `versions` say
what a measurement was made on; `load_manifest` reads a set of clips, `read_log` an event log.

The text measures need ``pip install "stream-transcribe[evaluate]"``; the imports happen on
use.
"""

from __future__ import annotations

from .environment import machine, versions
from .event_log import is_log, read_log
from .invariants import check_events
from .manifest import Clip, load_manifest
from .measure import Measurement, measure
from .report import Evaluation, evaluate
from .table import format_table

__all__ = [
    "Clip",
    "Evaluation",
    "Measurement",
    "check_events",
    "evaluate",
    "format_table",
    "is_log",
    "load_manifest",
    "machine",
    "measure",
    "read_log",
    "versions",
]
