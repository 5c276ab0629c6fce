"""Every case gets its turn once in a span of event time, a few a step."""

from pipeline.model.facts import Fact, host_case
from pipeline.model.source import Source
from pipeline.stream.cases import Cases
from pipeline.stream.sweep import Sweep
from pipeline.stream.watermark import MARKS, Watermarks

HOSTS = [host_case("main", f"gpu-{number:03}") for number in range(5)]


def at(observed: int, advanced: int = 0) -> Watermarks:
    """The marks of one family."""
    return Watermarks({("main", Source.AUDITD): (observed, max(observed, advanced))}, {}, 10)


def test_all_cases_of_the_cluster_get_their_turn_once() -> None:
    """In several steps; marks and other clusters are left out."""
    cases = Cases(Fact(case, "id", b"", b"x") for case in (MARKS, host_case("other", "gpu-001"), *HOSTS))
    sweep = Sweep(100, 2)
    turns = [list(sweep.due(cases, at(150))) for _ in range(4)]
    assert [len(turn) for turn in turns] == [2, 2, 1, 0]
    assert sorted(case for turn in turns for case, floor in turn if floor == 100) == HOSTS


def test_silence_sweeps_nothing() -> None:
    """Only what was observed may forget."""
    sweep = Sweep(100, 2)
    cases = Cases([Fact(HOSTS[0], "id", b"", b"x")])
    assert list(sweep.due(cases, at(50, advanced=1_000))) == []
    assert list(sweep.due(cases, at(100))) == [(HOSTS[0], 100)]
