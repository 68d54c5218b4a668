from __future__ import annotations

import platform
from pathlib import Path

import pytest

from streaming.backends import processor
from streaming.backends.processor import missing_features, processor_name, require_processor
from streaming.errors import BackendError

HASWELL = """\
processor\t: 0
model name\t: Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz
flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 fma f16c avx avx2 bmi1 bmi2 popcnt
processor\t: 1
"""
IVY_BRIDGE = HASWELL.replace("i5-4590", "i5-3570").replace(" fma", "").replace(" avx2", "")
IVY_BRIDGE = IVY_BRIDGE.replace(" bmi1 bmi2", "")
RASPBERRY_PI = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 cpuid\n"


def test_a_processor_with_everything_lacks_nothing() -> None:
    assert missing_features(HASWELL) == ()


def test_an_older_processor_lacks_what_is_newer() -> None:
    assert missing_features(IVY_BRIDGE) == ("avx2", "fma", "bmi2")


def test_avx512_does_not_stand_for_avx2() -> None:
    assert missing_features("flags : avx avx512f avx512vl fma f16c bmi2") == ("avx2",)


@pytest.mark.parametrize("cpuinfo", [RASPBERRY_PI, "", "flags\t\t:\n"])
def test_where_there_are_no_x86_flags_nothing_is_known_to_be_missing(cpuinfo: str) -> None:
    assert missing_features(cpuinfo) == ()


def test_arm_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(processor, "_missing_here", lambda: ("avx2",))
    assert missing_features() == ()


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_an_unsuitable_machine_is_refused_by_name_in_one_line(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(IVY_BRIDGE)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(processor, "_CPUINFO", cpuinfo)
    with pytest.raises(BackendError) as caught:
        require_processor()
    assert "i5-3570 CPU @ 3.30GHz lacks AVX2, FMA, BMI2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
def test_without_proc_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    require_processor()
    assert processor_name()


def test_a_machine_that_runs_the_native_core_is_accepted() -> None:
    import _pywhispercpp

    assert "CPU" in _pywhispercpp.whisper_print_system_info()
    require_processor()


def test_every_processor_has_a_name() -> None:
    assert processor_name()
