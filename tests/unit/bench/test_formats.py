"""The bench of the parsers: its lines are those formats' own, and a parser that is wrong has no speed."""

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.bench import formats
from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.cli import main
from pipeline.errors import FatalError
from pipeline.formats import registry
from pipeline.formats.line import Line
from pipeline.model.source import FAMILIES


@pytest.mark.parametrize("name", MAKERS)
def test_made_lines_are_read_by_their_format(name: str) -> None:
    """Each line is read into an event by the format that it was made for, pinned or sniffed among its family, and no two are alike."""
    lines = lines_of(name, 60)
    assert len(set(lines)) == 60
    assert lines == lines_of(name, 60)
    family = next(sources for sources in FAMILIES.values() if registry.by_name(name).source in sources)
    for payload in lines:
        line = Line(payload=payload)
        format_, events = registry.parse(line, formats.READING, allowed=family)
        assert format_.name == name
        assert events
        assert registry.parse(line, formats.READING, pinned=name)[1] == events


def test_every_core_format_has_lines() -> None:
    """What detectors judge is measured."""
    assert {
        "slurm_jobcomp",
        "slurmctld",
        "sacct",
        "auditd",
        "laurel",
        "auditbeat",
        "sshd",
        "kernel",
        "torchrun",
        "megatron",
        "probe",
    } <= set(MAKERS)
    assert set(MAKERS) <= {format_.name for format_ in registry.PAYLOADS}


def test_measure() -> None:
    """A measurement has a figure for each format, and says which rates are required."""
    said: list[str] = []
    speeds = formats.measure(("sshd", "falco", "nccl"), 500, 3, seed=1, say=said.append)
    assert len(said) == 3
    required = {each.format: each.required for each in speeds.formats}
    assert required == {"sshd": formats.LINE_RATE, "falco": formats.JSON_RATE, "nccl": None}
    for each in speeds.formats:
        assert each.lines == 500
        assert each.pinned_a_second == pytest.approx(1e6 / each.pinned_us)
        assert each.sniffed_us > 0
        assert each.reached == (None if each.required is None else each.pinned_a_second >= each.required)
        assert each.sniffing_reached == (each.sniffing_share < formats.SNIFFED_SHARE)
    table = formats.table(speeds)
    assert table.row_count == 3
    (judged,) = [column for column in table.columns if column.header == "< 5%"]
    assert [*judged.cells] == ["yes" if each.sniffing_reached else "no" for each in speeds.formats]


def test_a_format_that_does_not_read_its_lines_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure behind which nothing was read would be a lie."""
    monkeypatch.setitem(MAKERS, "sshd", lambda draw: f"no line of sshd {draw.n}")
    with pytest.raises(FatalError, match="sshd does not read its own line"):
        formats.measure(("sshd",), 500, 3, seed=1, say=lambda _: None)


def test_command() -> None:
    """`bench formats --json` prints one object; an unknown format is wrong usage."""
    result = CliRunner().invoke(main, ["bench", "formats", "--formats", "slurmstepd,lsf", "--lines", "500", "--rounds", "3", "--json"])
    found = msgspec.json.decode(result.stdout)
    assert [each["format"] for each in found["formats"]] == ["slurmstepd", "lsf"]
    assert result.exit_code == (0 if found["reached"] else 3)
    assert CliRunner().invoke(main, ["bench", "formats", "--formats", "nobody"]).exit_code == 2
