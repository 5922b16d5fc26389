"""Goal: docs/SIMULATOR.md names every key, profile and fault, and its example is a good file.

Method: the document is read, and its YAML is loaded after its omitted lists are filled in.
"""

import re
from pathlib import Path

from host.sim.plan import FAULT_NAMES, LoadPlan, MeterPlan, Plan, build_meters, load_plan
from host.sim.profile import PROFILES

DOC = Path(__file__).resolve().parents[2] / "docs" / "SIMULATOR.md"


def example(tmp_path: Path) -> Plan:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(text.replace("[...]", str([1] * 24)), "utf-8")
    return load_plan(path)


def test_the_example_is_taken(tmp_path: Path) -> None:
    assert len(build_meters(example(tmp_path), 820_000_000)) == 4


def test_the_example_has_every_key(tmp_path: Path) -> None:
    plan = example(tmp_path)
    (meter,) = plan.meters
    assert plan.model_fields_set == set(Plan.model_fields)
    assert meter.model_fields_set == set(MeterPlan.model_fields)
    assert meter.load.model_fields_set == set(LoadPlan.model_fields)


def test_every_profile_and_fault_is_told() -> None:
    text = DOC.read_text("utf-8")
    assert [name for name in (*PROFILES, *FAULT_NAMES) if f"`{name}`" not in text] == []
