"""The formats of the access family against one another, and against real lines of others."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.source import FAMILIES
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
OLDER = frozenset({"auditd", "sshd", "kernel"})
ACCESS = [format_ for format_ in registry.PAYLOADS if format_.source in FAMILIES["access"]]
NEWER = [format_ for format_ in ACCESS if format_.name not in OLDER]
ROWS = [(name, text) for name, text in LINES if name in {format_.name for format_ in ACCESS}]


@pytest.mark.parametrize(("name", "text"), ROWS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(ROWS)])
def test_an_access_topic_finds_the_format(name: str, text: str) -> None:
    """Among the formats that an access topic may carry, each line has one reader."""
    format_, _ = registry.parse(Line(payload=text.encode()), READING, allowed=FAMILIES["access"])
    assert format_.name == name


@pytest.mark.parametrize("text", [text for name, text in ROWS if name not in OLDER and text.startswith("{")])
def test_another_program_is_not_believed(text: str) -> None:
    """Any user can send an object to syslog; its tag tells that no daemon of the format wrote it."""
    for line in (Line(payload=text.encode(), program="u017"), Line(payload=f"Mar  2 19:40:41 gpu-001 u017[9]: {text}".encode())):
        with pytest.raises(RejectedRecord) as caught:
            registry.parse(line, READING, allowed=FAMILIES["access"])
        assert caught.value.format == ""


@pytest.mark.parametrize("text", [text for name, text in ROWS if name not in OLDER and text.startswith("{")])
def test_no_wrapper_opens_an_event(text: str) -> None:
    """An object that is the event goes on whole; the same object as the text of a wrapper says the same."""
    payload = text.encode()
    assert [line.payload for line in registry.unwrap(payload, [])] == [payload]
    wrapped = text.replace("\\", "\\\\").replace('"', '\\"')
    (line,) = registry.unwrap(f'{{"@timestamp":"2026-03-02T19:40:42Z","message":"{wrapped}"}}'.encode(), [])
    assert line.payload == payload


@pytest.mark.shared_data
def test_real_lines_of_others(shared_data: Path) -> None:
    """No line of sshd, sudo, auditd or a training job is claimed; and whatever is offered, only a RejectedRecord is raised."""
    claimed = set()
    for path in sorted(shared_data.glob("access/**/*")) + sorted(shared_data.glob("training/**/*")):
        if not path.is_file() or path.suffix not in {".log", ".out", ".json", ""}:
            continue
        for payload in path.read_bytes().split(b"\n"):
            for format_ in NEWER:
                if format_.claims(payload):
                    claimed.add((path.parent.name, format_.name))
                    try:
                        format_.parse(Line(payload=payload), READING)
                    except RejectedRecord:
                        continue
    assert claimed == {("hdfs", "hdfs_audit"), ("k8s_audit", "kubernetes_audit"), ("tetragon", "tetragon")}
