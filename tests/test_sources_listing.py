from __future__ import annotations

import pytest

from sources._listing import DeviceInfo, find_device
from streaming.errors import SourceError


def device(index: int, name: str, host: str = "ALSA", default: bool = False) -> DeviceInfo:
    return DeviceInfo(
        index=index,
        name=name,
        host=host,
        channels=2,
        rate=48_000,
        default=default,
        id=f"{host}.{index}",
    )


LINUX = [
    device(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)"),
    device(4, "USB Audio: Headset (hw:1,0)"),
    device(7, "USB Audio: Camera (hw:2,0)"),
    device(9, "default", default=True),
]
WINDOWS = [
    device(1, "Headset", "MME", default=True),
    device(2, "Line", "MME"),
    device(5, "Headset", "Windows WASAPI"),
    device(6, "Camera", "Windows WASAPI"),
    device(8, "Camera", "Windows WDM-KS"),
]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (None, 9),
        (4, 4),
        ("4", 4),
        (" 7 ", 7),
        ("headset", 4),
        ("CAMERA", 7),
        ("hw:0,0", 0),
        ("Default", 9),
        ("alsa.7", 7),
    ],
)
def test_a_device_is_named_by_index_or_any_part_of_its_name(
    wanted: int | str | None, index: int
) -> None:
    assert find_device(LINUX, wanted).index == index


def test_a_name_that_several_hosts_show_is_the_one_of_the_default_host() -> None:
    assert find_device(WINDOWS, "headset").index == 1


def test_a_whole_name_wins_over_a_part_of_another() -> None:
    devices = [device(0, "Mic"), device(1, "Mic 2"), device(2, "Other", default=True)]
    assert find_device(devices, "mic").index == 0


@pytest.mark.parametrize("wanted", ["usb", "camera"])
def test_an_ambiguous_name_lists_what_it_fits(wanted: str) -> None:
    devices = LINUX if wanted == "usb" else WINDOWS
    with pytest.raises(SourceError) as raised:
        find_device(devices, wanted)
    text = str(raised.value)
    assert "several" in text
    assert ("Camera" in text, "HDA" in text, "Line" in text) == (True, False, False)
    assert "\n" not in text


@pytest.mark.parametrize("wanted", ["webcam", 3, "3"])
def test_an_unknown_one_lists_what_there_is(wanted: int | str) -> None:
    with pytest.raises(SourceError, match="no microphone is called") as raised:
        find_device(LINUX, wanted)
    assert '4 "USB Audio: Headset (hw:1,0)"' in str(raised.value)
    assert '9 "default"' in str(raised.value)


def test_no_default_asks_for_a_choice() -> None:
    with pytest.raises(SourceError, match='no default output; choose one of 0 "Mic"'):
        find_device([device(0, "Mic")], None, "output")


def test_no_device_at_all_is_said() -> None:
    with pytest.raises(SourceError, match="no output on this machine"):
        find_device([], None, "output")
