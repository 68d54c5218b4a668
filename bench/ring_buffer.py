"""Ring buffer: cost of writing chunks and reading windows.

    python bench/ring_buffer.py [--json]

The ring holds 30 s and is full, so writes overwrite and wrap; reads copy out what was
written last, and are compared with it.
"""

from __future__ import annotations

import numpy as np
from _report import median_s, report

from streaming.audio import SAMPLE_RATE
from streaming.ring_buffer import RingBuffer

CAPACITY_S = 30


def measure_size(n_samples: int) -> dict[str, str | float]:
    stream = np.random.default_rng(0).standard_normal(SAMPLE_RATE * 47).astype(np.float32)
    ring = RingBuffer(CAPACITY_S * SAMPLE_RATE)
    ring.write(stream)
    start, end = ring.end_sample - n_samples, ring.end_sample
    read_s = median_s(lambda: ring.read(start, end), 500)
    distance = np.abs(ring.read(start, end) - stream[start:end]).max()
    chunk = stream[:n_samples]
    write_s = median_s(lambda: ring.write(chunk), 500)
    return {
        "audio (s)": n_samples / SAMPLE_RATE,
        "write (us)": write_s * 1e6,
        "read (us)": read_s * 1e6,
        "distance from what was written": float(distance),
    }


def measure() -> list[dict[str, str | float]]:
    return [measure_size(n_samples) for n_samples in (512, 8_000, 160_000)]


if __name__ == "__main__":
    report("Ring buffer", measure, ["numpy"])
