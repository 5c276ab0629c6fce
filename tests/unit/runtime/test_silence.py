"""Silences of families, with a clock moved by hand, and what they do to marks."""

import pytest

from pipeline.model.outcome import Observed
from pipeline.model.source import Source as Family
from pipeline.runtime.channel import PROGRESS, quantised, silence
from pipeline.runtime.silence import Silence
from pipeline.stream.watermark import SEPARATOR
from tests.unit.runtime.build import SOURCE, partition, stage

AUDITD, SSHD = f"main{SEPARATOR}auditd", f"main{SEPARATOR}sshd"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_family_is_silent_for_itself() -> None:
    """A family that is read does not end the silence of another; the partition's progress moves with all."""
    clock = Clock()
    silent = Silence(20, clock)
    silent.moved(SOURCE, [AUDITD])
    clock.now = 115.0
    silent.moved(SOURCE, [SSHD])
    assert silent.since(SOURCE, [AUDITD, SSHD], 121.0) == {AUDITD: 21_000}
    assert silent.since(SOURCE, [AUDITD, SSHD], 140.0) == {AUDITD: 40_000, SSHD: 25_000, PROGRESS: 25_000}


def test_a_take_over_starts_silences_anew() -> None:
    """What happened before is not known."""
    clock = Clock()
    silent = Silence(20, clock)
    silent.moved(SOURCE, [AUDITD])
    clock.now = 130.0
    silent.begin()
    assert silent.since(SOURCE, [AUDITD], 149.0) == {}
    assert silent.since(SOURCE, [AUDITD], 151.0) == {AUDITD: 21_000, PROGRESS: 21_000}


def test_silence_adds_to_what_was_observed() -> None:
    """Never the clock's now: a replay of old logs does not jump to today.  A family never read has nothing to add to."""
    part = partition(stage(tells=("jobs",)))
    part.marks.observe(Observed("main", Family.AUDITD, 900_000, ()), bound_ms=60_000)
    part.marks.progress(950_000)
    advanced = silence(part.marks, {AUDITD: 1_999, SSHD: 50_000, PROGRESS: 1_000})
    assert advanced == {AUDITD: 840_000 + quantised(1_999), PROGRESS: 951_000}


@pytest.mark.parametrize(("duration", "step"), [(0, 0), (999, 0), (1000, 1000), (1249, 1000), (1250, 1250), (86_400_000, 71_054_273)])
def test_silences_grow_in_steps(duration: int, step: int) -> None:
    """A long silence costs few vectors; a step is never longer than the silence."""
    assert quantised(duration) == pytest.approx(step, rel=0.2)
    assert quantised(duration) <= duration
