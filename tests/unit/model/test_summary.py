"""Summaries of attempts: as arrays they say the same in a fraction of the bytes, and what older releases kept is read."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.finding import Evidence
from pipeline.model.ids import digest
from pipeline.model.summary import (
    NEWEST_MAX,
    OLDER_MAX,
    Brief,
    Exposure,
    JobSummary,
    Pace,
    Step,
    brief_of,
    compared,
    decode_in_cohort,
    encode_summary,
)
from pipeline.model.told import Attempt, Emitted, Tombstone

AT = 1_772_409_600_000
JOB = "48213"
HOSTS = {"training": "gpu-001", "probe": "gpu-001", "auditd": "gpu-012"}
OLDER = msgspec.msgpack.Encoder().encode  # how releases before kept it: a map with every name

words = st.text(max_size=40)
hashes = words | st.binary(min_size=32, max_size=32).map(bytes.hex) | st.binary(min_size=16, max_size=16).map(bytes.hex)
cites = st.builds(Evidence, words, hashes, hashes, words, st.integers(0, 2**45), words, words)
steps = st.builds(
    Step, st.integers(1, 99), st.floats(allow_nan=False), st.none() | st.floats(0, 1), cites, st.none() | st.floats(0, 1e9) | st.just(7.0)
)
exposures = st.builds(Exposure, words, words, st.integers(0, 2**45), cites, cites, hashes, st.booleans(), st.booleans())
summaries = st.builds(
    JobSummary,
    attempt=st.builds(Attempt, words, words, st.integers(0, 2**45), st.integers(-1, 2**45)),
    owner=words,
    configuration=words,
    gpus=st.none() | st.integers(0, 10_000),
    nodes=st.lists(words, max_size=3).map(tuple),
    end=st.none() | st.integers(0, 2**45),
    state=words,
    verdict=words,
    cause=words,
    seen=st.integers(0, 2**45),
    record=st.none() | cites,
    pace=st.none() | st.builds(Pace, st.integers(0, 9), st.floats(0, 9), st.floats(0, 9), cites, cites),
    steps=st.lists(steps, max_size=4).map(tuple),
    exposures=st.lists(exposures, max_size=3).map(tuple),
    arguments=st.lists(st.tuples(words, words, cites), max_size=2).map(tuple),
)


def cite(role: str, name: str, source: str, said: str) -> Evidence:
    """A record with hashes as they are."""
    return Evidence(role, digest(role, name), digest(name) + digest(name, 2), source, AT, said, HOSTS.get(source, ""))


def step(iteration: int) -> Step:
    """As training logs it."""
    loss = round(9 / iteration, 6)
    return Step(
        iteration, loss, 3e-4 / iteration, cite("step", f"{iteration}", "training", f"step {iteration}: loss {loss:g}"), float(iteration)
    )


def usual(steps: int = 0, exposures: int = 0) -> JobSummary:
    """An attempt as sites have them: eight nodes, three arguments."""
    paths = [f"/lustre/shared/envs/train-{number}/lib/python3.11/site-packages/fused/ops.py" for number in range(exposures)]
    return JobSummary(
        attempt=Attempt("main", JOB, AT, AT + 60_000),
        owner="u017",
        configuration=digest("configuration"),
        gpus=64,
        nodes=tuple(f"gpu-{number:03d}" for number in range(8)),
        end=AT + 7_200_000,
        state="COMPLETED",
        verdict="benign",
        cause="completed",
        seen=AT + 7_200_000,
        record=cite("run", "1", "slurm_jobcomp", f"job {JOB} of u017: COMPLETED"),
        pace=Pace(
            5000, 1020.123, 1019.5, cite("step", "first", "training", "a step took 1020 ms"), cite("step", "last", "training", "a step")
        ),
        steps=tuple(step(number * 10 if number <= 9 else (number - 9) * 100) for number in range(1, steps + 1)),
        exposures=tuple(
            Exposure(path, "u099", AT, cite("written", path, "auditd", f"{path}: written"), _load(path), digest(path) * 2) for path in paths
        ),
        arguments=tuple((name, "7", cite("argument", name, "training", f"runs with {name} 7")) for name in ("lr", "optimizer", "seed")),
    )


def _load(path: str) -> Evidence:
    return cite("loaded", f"{path}/{JOB}", "probe", f"job {JOB} loaded {path}")


@given(summaries)
def test_what_is_kept_says_the_same(value: JobSummary) -> None:
    """Whatever the ids look like, and whatever records say of themselves."""
    assert decode_in_cohort(encode_summary(value)) == value
    assert brief_of(encode_summary(value)) == Brief(value.attempt, value.seen, value.exposed, value.owner)


def test_what_an_older_release_kept_is_read() -> None:
    """A map, with all its steps; other facts of a cohort are as they were."""
    value = usual(steps=100, exposures=2)
    assert decode_in_cohort(OLDER(value)) == value
    assert brief_of(OLDER(value)) == brief_of(encode_summary(value))
    said, stone = Emitted("f", 1, "d", b"body"), Tombstone((), ())
    assert (decode_in_cohort(OLDER(said)), brief_of(OLDER(said))) == (said, said)
    assert (decode_in_cohort(OLDER(stone)), brief_of(OLDER(stone))) == (stone, None)


def test_whose_log_it_is_stands_behind_all_else() -> None:
    """What the release before kept has no hosts, and it reads what has: words stay pairs, and what is behind its last field it skips."""
    value = usual(steps=2, exposures=1)
    kept = msgspec.msgpack.decode(encode_summary(value))
    assert all(len(pair) == 2 for pair in kept[3])
    assert kept.pop() == [HOSTS.get(source, "") for _, source in kept[3]]
    older = decode_in_cohort(msgspec.msgpack.encode(kept))
    assert isinstance(older, JobSummary)
    hostless = msgspec.structs.replace(value.exposures[0].write, host="")
    assert (older.owner, older.exposures[0].write, older.exposures[0].load.host) == (value.owner, hostless, "")


@pytest.mark.parametrize(("steps", "exposures", "before", "now"), [(0, 0, 1450, 720), (100, 0, 23_000, 3450), (100, 3, 25_000, 4500)])
def test_an_attempt_costs_a_fraction(steps: int, exposures: int, before: int, now: int) -> None:
    """Bytes as told and kept: a site has thousands in every cohort."""
    value = usual(steps, exposures)
    assert len(OLDER(value)) > before
    assert len(encode_summary(value)) < now


def test_the_norm_of_the_gradient_costs_eight_bytes_a_step() -> None:
    """Nothing but a byte where nobody tells it."""
    value = usual(100)
    told = msgspec.structs.replace(value, steps=tuple(msgspec.structs.replace(each, gradient_norm=1.2) for each in value.steps))
    assert len(encode_summary(told)) - len(encode_summary(value)) == 8 * (NEWEST_MAX + OLDER_MAX)


def test_siblings_share_steps_however_far_they_came() -> None:
    """The newest steps, and of those before every half: one that went on ten times longer still has three of the other's newest twelve."""
    short = compared([step(number) for number in range(10, 100)])
    far = compared([step(number) for number in [*range(10, 100), *range(100, 1000, 10)]])
    assert [each.iteration for each in short] == [*range(10, 88, 5), *range(88, 100)]
    assert len(far) <= NEWEST_MAX + OLDER_MAX
    assert len({each.iteration for each in far} & {each.iteration for each in short}) >= 3
