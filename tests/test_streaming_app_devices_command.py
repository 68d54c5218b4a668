from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pulse import PulseServer, needs_pulse
from system_parts import needs

ROOT = Path(__file__).parent.parent


def devices(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streaming", "devices", *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with PulseServer(tmp_path_factory.mktemp("pulse")) as running:
        yield running


@needs_pulse
def test_microphones_and_outputs_are_listed_and_defaults_marked(server: PulseServer) -> None:
    listed = devices(server.environment)
    assert (listed.returncode, listed.stderr) == (0, "")
    microphones, outputs = listed.stdout.split("\n\n")
    assert microphones.splitlines()[0] == "microphones (--mic):"
    (default,) = [line.split() for line in microphones.splitlines() if line.startswith("  *")]
    assert default[2:] == ["default", "ALSA", "32", "44100"]
    assert outputs.splitlines()[0] == "what is played (--loopback):"
    assert outputs.splitlines()[-1].split() == [
        *("*", "0", "Null", "Output", "PulseAudio", "2", "44100")
    ]


@needs_pulse
def test_json_has_both_lists(server: PulseServer) -> None:
    listed = json.loads(devices(server.environment, "--json").stdout)
    assert [d["name"] for d in listed["inputs"] if d["default"]] == ["default"]
    (output,) = listed["loopbacks"]
    assert output["id"] == "speaker.monitor"
    assert (output["channels"], output["rate"], output["default"]) == (2, 44_100, True)


@needs_pulse
def test_json_that_lacks_one_list_says_why_on_stderr(server: PulseServer, tmp_path: Path) -> None:
    (tmp_path / "alsa.conf").write_text("pcm.none { type hw card 99 }")
    listed = devices(
        {**server.environment, "ALSA_CONFIG_PATH": str(tmp_path / "alsa.conf")}, "--json"
    )
    assert listed.returncode == 0
    assert json.loads(listed.stdout)["inputs"] == []
    assert json.loads(listed.stdout)["loopbacks"]
    assert listed.stderr.startswith("there is no microphone on this machine")
    assert listed.stderr.count("\n") == 1


@needs_pulse
def test_doctor_names_the_default_of_each(server: PulseServer) -> None:
    script = (
        "from sources.loopback import loopback_devices as outputs\n"
        "from sources.microphone import input_devices as inputs\n"
        "from streaming.app.doctor_command import _devices\n"
        "print(_devices(inputs)); print(_devices(outputs))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={**server.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    microphone, output = said.stdout.splitlines()
    assert microphone.startswith("default (ALSA)")
    assert output == "Null Output (PulseAudio)"


@needs("portaudio", package="libportaudio2")
def test_without_a_sound_system_the_error_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "alsa.conf").write_text("pcm.none { type hw card 99 }")
    listed = devices(
        {
            **os.environ,
            "PULSE_SERVER": f"unix:{tmp_path}/nothing",
            "ALSA_CONFIG_PATH": str(tmp_path / "alsa.conf"),
        }
    )
    assert (listed.returncode, listed.stdout) == (2, "")
    assert listed.stderr.count("\n") == 1
    assert "there is no microphone on this machine" in listed.stderr
    if sys.platform.startswith("linux"):
        assert "apt install libasound2-plugins" in listed.stderr


def test_an_unknown_option_is_refused() -> None:
    refused = devices(os.environ, "--csv")
    assert refused.returncode == 2
    assert "--csv" in refused.stderr
