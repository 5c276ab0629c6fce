"""An object of the usual types is decoded at once, any other is read field by field: what comes out is the same."""

import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bench.format_lines import lines_of
from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import (
    auditbeat,
    cloudtrail,
    falco,
    git_push,
    kubernetes_audit,
    kubernetes_events,
    minio,
    osquery,
    sacct_json,
    slurm_jobcomp,
    teleport,
    tetragon,
    wazuh,
)
from pipeline.model.events import Parsed

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_600_000_000)
ODD = st.sampled_from([
    None, True, False, 0, 1, -1, 1.0, 2.5, 2**31, 2**63, 2**70, "", "x", "0", "4294967295", "é", "a" * 600, [], ["a"], [1], [["x"]], {},
    {"a": 1}, {"id": 7}, {"name": 5}, {"name": "gpu-002", "os": {"family": "x"}}, {"set": True, "infinite": False, "number": 3},
])  # fmt: skip
NAMES = st.sampled_from(
    [
        "related",
        "tags",
        "source",
        "arn",
        "objects",
        "level",
        "errorCode",
        "readOnly",
        "zz",
        "ppid",
        "opid",
        "hostname",
        "host",
        "args",
        "paths",
        "syscall",
        "stdout",
        "steps",
        "het",
        "array",
        "id",
    ]
)


def changed(draw: st.DrawFn, value: Any) -> Any:
    """The object with something in it that its author chose."""
    if isinstance(value, dict) and value:
        name = draw(st.one_of(st.sampled_from(sorted(value)), NAMES))
        return {**value, name: changed(draw, value[name]) if name in value and draw(st.booleans()) else draw(ODD)}
    return draw(ODD)


@st.composite
def payloads(draw: st.DrawFn, name: str) -> bytes:
    """A line of the bench with up to three changes, and some of its keys perhaps twice."""
    value = json.loads(draw(st.sampled_from(LINES[name])))
    for _ in range(draw(st.integers(0, 3))):
        value = changed(draw, value)
    text = json.dumps(value)
    return (text[:-1] + "," + text[1:] if draw(st.integers(0, 9)) == 0 and len(value) else text).encode()


MODULES = (
    auditbeat,
    cloudtrail,
    falco,
    git_push,
    kubernetes_audit,
    kubernetes_events,
    minio,
    osquery,
    sacct_json,
    slurm_jobcomp,
    teleport,
    tetragon,
    wazuh,
)
LINES = {module.FORMAT.name: lines_of(module.FORMAT.name, 20) for module in MODULES}


def read(name: str, payload: bytes) -> Sequence[Parsed] | None:
    """The events; None: rejected."""
    try:
        return list(registry.by_name(name).parse(Line(payload=payload), READING))
    except RejectedRecord:
        return None


@pytest.mark.parametrize("name", sorted(LINES.keys() - {"sacct_json"}))
@settings(max_examples=300)
@given(data=st.data())
def test_an_object(name: str, data: st.DataObject) -> None:
    """Blanks behind the object make it longer than what is decoded at once."""
    payload = data.draw(payloads(name))
    assert read(name, payload) == read(name, payload + b" " * TEXT_CHARACTERS_MAX)


@settings(max_examples=300)
@given(payload=payloads("sacct_json"))
def test_sacct(payload: bytes) -> None:
    """A job that has jobs, which are none, is not of the usual types."""
    assert read("sacct_json", payload) == read("sacct_json", payload[:-1] + b',"jobs":0}')


@pytest.mark.parametrize("module", MODULES)
def test_the_usual_is_decoded_at_once(module: ModuleType) -> None:
    """Else the other tests would compare something with itself."""
    assert all(module.decode_usual(line) is not None for line in LINES[module.FORMAT.name])
