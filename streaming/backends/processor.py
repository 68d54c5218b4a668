"""Whether this processor has the instructions that the native wheels are built with.

A wheel built for AVX2 dies on an older processor with an illegal instruction, which no
``except`` can catch: so this is asked before anything native is imported. Wheels for arm64
need nothing beyond its base instructions.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from ..errors import BackendError

__all__ = ["missing_features", "processor_name", "require_processor"]

_REQUIRED = ("avx", "avx2", "fma", "f16c", "bmi2")
"""What ggml's x86-64 build uses, under the kernel's names."""
_X86_64 = {"x86_64", "amd64"}
_CPUINFO = Path("/proc/cpuinfo")


def missing_features(cpuinfo: str | None = None) -> tuple[str, ...]:
    """Instruction sets that are needed and not there, e.g. ``("avx2", "fma")``.

    Args:
        cpuinfo: text in the format of Linux' ``/proc/cpuinfo`` to ask instead of this
            machine. Without a line of x86 flags nothing is known to be missing.
    """
    if cpuinfo is not None:
        return _missing_in_cpuinfo(cpuinfo)
    if platform.machine().lower() not in _X86_64:
        return ()
    return _missing_here()


def processor_name() -> str:
    """What the processor calls itself, or at least its architecture."""
    return _name_here() or platform.processor() or platform.machine()


def require_processor() -> None:
    """Refuse a processor on which the native core would crash.

    Raises:
        BackendError: it lacks instructions.
    """
    missing = missing_features()
    if missing:
        raise BackendError(
            f"{processor_name()} lacks {', '.join(missing).upper()}, which the whisper.cpp "
            "wheel needs; build it for this processor with "
            "'pip install --force-reinstall --no-binary pywhispercpp pywhispercpp'"
        )


def _missing_in_cpuinfo(cpuinfo: str) -> tuple[str, ...]:
    flags = _cpuinfo_field(cpuinfo, "flags").split()
    return tuple(name for name in _REQUIRED if name not in flags) if flags else ()


def _cpuinfo_field(cpuinfo: str, field: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


if sys.platform == "win32":
    import ctypes
    import winreg

    _PF_AVX2_INSTRUCTIONS_AVAILABLE = 40

    def _missing_here() -> tuple[str, ...]:
        # Windows has no number for FMA, F16C and BMI2. Processors with AVX2 from Intel
        # (since Haswell) and AMD (since Excavator) have all three, so AVX2 stands for them.
        available = ctypes.windll.kernel32.IsProcessorFeaturePresent(
            _PF_AVX2_INSTRUCTIONS_AVAILABLE
        )
        return () if available else ("avx2",)

    def _name_here() -> str:
        try:
            key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, "ProcessorNameString")[0]).strip()
        except OSError:
            return ""

elif sys.platform == "darwin":
    import ctypes

    _SYSCTL = {
        "avx": "hw.optional.avx1_0",
        "avx2": "hw.optional.avx2_0",
        "fma": "hw.optional.fma",
        "f16c": "hw.optional.f16c",
        "bmi2": "hw.optional.bmi2",
    }

    def _sysctl(name: str) -> bytes | None:
        """Value of a system variable, at most 256 bytes; None where there is none."""
        value = ctypes.create_string_buffer(256)
        size = ctypes.c_size_t(len(value))
        failed = ctypes.CDLL(None).sysctlbyname(
            name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return None if failed else value.raw[: size.value]

    def _missing_here() -> tuple[str, ...]:
        # Under Rosetta the variables tell what the translation offers.
        return tuple(name for name in _REQUIRED if not any(_sysctl(_SYSCTL[name]) or b""))

    def _name_here() -> str:
        return (_sysctl("machdep.cpu.brand_string") or b"").rstrip(b"\0").decode(errors="replace")

else:

    def _missing_here() -> tuple[str, ...]:
        return _missing_in_cpuinfo(_read_cpuinfo())

    def _name_here() -> str:
        return _cpuinfo_field(_read_cpuinfo(), "model name")

    def _read_cpuinfo() -> str:
        try:
            return _CPUINFO.read_text("utf-8", errors="replace")
        except OSError:
            return ""
