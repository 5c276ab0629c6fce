"""The period as a whole: reproducible, of the promised size, with innocent failures in published proportions."""

import hashlib
from collections import Counter

import pytest

from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.simulate import TOPICS, Week, simulate
from tests.unit.simulate.reading import Told, instant


def digest(week: Week) -> str:
    """All records as one hash."""
    sha = hashlib.sha256()
    for record in week.records:
        sha.update(repr(record).encode())
    return sha.hexdigest()


def test_same_seed_same_bytes_other_seed_other_bytes() -> None:
    """Records, settings and truth depend on the seed and on nothing else."""
    first, again, other = simulate(3, 1), simulate(3, 1), simulate(4, 1)
    assert digest(first) == digest(again)
    assert (first.settings, first.truth()) == (again.settings, again.truth())
    assert digest(first) != digest(other)


def test_a_default_week_has_the_promised_volume(told: Told) -> None:
    """Two hundred thousand records, several hundred jobs, two to four acts of each kind."""
    week = told.week
    assert len(week.records) >= 200_000
    assert 700 <= len(week.jobs) <= 1100
    kinds = Counter(act.kind for act in week.acts)
    assert set(kinds) == {"foreign_kill", "foreign_cancel", "refused_cancel", "checkpoint_tamper"}
    assert all(2 <= count <= 4 for count in kinds.values())


def test_counts_are_those_of_the_records(told: Told) -> None:
    """The truth counts records by topic, and every record has a known topic."""
    week = told.week
    assert week.counts == {topic: sum(record.topic == topic for record in week.records) for topic in TOPICS}
    assert sum(week.counts.values()) == len(week.records)


def test_failures_and_cancels_are_ordinary(told: Told) -> None:
    """About two in five jobs fail for innocent reasons, and owners cancel 6 to 22 of a hundred."""
    causes = told.week.causes()
    total = sum(causes.values())
    innocent = ("script_error", "cuda_error", "network_hang", "hardware", "node_fail", "oom", "owner_kill", "launch_failure")
    failed = sum(causes.get(cause, 0) for cause in innocent)
    assert 0.28 <= failed / total <= 0.48
    assert 0.06 <= causes["owner_cancel"] / total <= 0.22
    assert {"completed", "preempted", "time_limit", "oom", "hardware"} <= set(causes)


def test_settings_are_accepted_by_the_pipeline(told: Told) -> None:
    """The fragment is a valid part of trainwatch.yaml, and names every actor."""
    settings = Settings(**told.week.settings)
    known = {identity.id for identity in settings.identities}
    assert {act.actor for act in told.week.acts} <= known
    assert settings.artefact_roots[0].writers == ("ckpt-reshard",)


def test_every_attempt_in_the_truth_has_its_record_of_the_end(told: Told) -> None:
    """Ended attempts and jobcomp's finish events are the same set, with the same states."""
    ended = {(job.job, job.submit_ms // 1000, job.state) for job in told.week.jobs if job.end_ms is not None}
    assert ended == {(str(event["jobid"]), instant(event["@submit"]) // 1000, event["state"]) for event in told.finishes}


def test_too_short_a_period_is_refused() -> None:
    """Acts need time to have their effect."""
    with pytest.raises(ConfigError, match="cannot simulate"):
        simulate(1, 0.2)
