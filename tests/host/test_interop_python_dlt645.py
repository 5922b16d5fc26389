"""Goal: PyPI `python-dlt645` 0.1.4 reads our simulated meters, except where it cannot read any
meter; each such difference is listed with its bytes (see docs/INTEROP.md).

Method: its functions, in a virtual environment of their own, ask meters with addresses that lead
to the bytes it cannot read. The tests assert what must work and also its errors.
"""

from pathlib import Path
from typing import Any

import pytest

from host.frames import dlt645
from tests.host.interop import library, run
from tests.sim.serving import served
from tools.libraries import PYTHON_DLT645

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interop")]

PLAIN = "000000000017"
ENERGY = bytes(4) + bytes.fromhex("23010000")


def address_of(checksum: int) -> str:
    """Return an address: its reply has this checksum, and neither 16 nor FE anywhere else."""
    for number in range(10**6):
        reply = dlt645.build(f"{number:012d}", 0x91, ENERGY, 0)
        if reply[-2] == checksum and not {0x16, 0xFE} & set(reply[:-2]):
            return f"{number:012d}"
    raise AssertionError("there is none")


END_IN_CHECKSUM, WAKE_UP_IN_CHECKSUM = address_of(0x16), address_of(0xFE)
END_IN_ADDRESS = "000000160001"
ADDRESSES = (PLAIN, END_IN_CHECKSUM, WAKE_UP_IN_CHECKSUM, END_IN_ADDRESS)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plan = tmp_path_factory.mktemp("interop") / "meters.yaml"
    meters = "".join(
        f'  - {{address: "{address}", load: {{percent: 0}}, start_wh: [1230, 0, 0, 0]}}\n'
        for address in ADDRESSES
    )
    Path(plan).write_text(f"meters:\n{meters}", "utf-8")
    with served("--file", str(plan), "--tcp", "127.0.0.1:0") as (name, _):
        port = name.rpartition(":")[2]
        python = library(PYTHON_DLT645)
        return run(python, "python_dlt645_client.py", "127.0.0.1", port, *ADDRESSES)


def reply_of(told: dict[str, Any], step: str) -> dlt645.Frame:
    """Return the one frame that was sent to it, whether it read it or not."""
    (frame,) = dlt645.Reader().feed(bytes.fromhex(told[step]["heard"]))
    return frame


def test_it_reads_the_energy_of_a_plain_reply(told: dict[str, Any]) -> None:
    step = f"energy {PLAIN}"
    assert told[step]["value"] == "1.23"
    assert told[step]["sent"] == dlt645.build(PLAIN, 0x11, bytes(4)).hex().upper()


@pytest.mark.parametrize("address", [END_IN_CHECKSUM, END_IN_ADDRESS])
def test_it_takes_the_first_16_for_the_end(told: dict[str, Any], address: str) -> None:
    step = f"energy {address}"
    assert reply_of(told, step).data == ENERGY
    assert told[step]["value"].startswith(("FrameChecksumError", "IndexError", "FrameFormatError"))


def test_it_drops_fe_anywhere(told: dict[str, Any]) -> None:
    step = f"energy {WAKE_UP_IN_CHECKSUM}"
    assert reply_of(told, step).data == ENERGY
    assert told[step]["value"].startswith("FrameChecksumError")


def test_it_gives_a_refusal_as_data(told: dict[str, Any]) -> None:
    assert reply_of(told, "no data").control == 0xD1
    assert told["no data"]["value"] == "02"


def test_it_can_neither_ask_nor_hear_what_needs_a_carry(told: dict[str, Any]) -> None:
    """33H is added and subtracted modulo 256; it does neither, so it has no FF and no block."""
    assert reply_of(told, "phase B").data == bytes.fromhex("00020102FFFF")
    assert told["phase B"]["value"].startswith("ValueError")
    assert told["block"]["value"].startswith("ValueError")
    assert told["block"]["sent"] == ""


def test_it_gets_nothing_readable_from_several_meters_at_once(told: dict[str, Any]) -> None:
    assert dlt645.Reader().feed(bytes.fromhex(told["all meters"]["heard"])) == []
    assert "Error" in told["all meters"]["value"] or told["all meters"]["value"] == "None"
