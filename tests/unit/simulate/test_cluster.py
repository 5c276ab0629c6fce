"""The simulated cluster as a whole: reproducible, streamed, thinned as it says, with innocent failures in published proportions."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli.simulate import simulate as command
from pipeline.errors import ConfigError
from pipeline.model.events import KillRequest
from pipeline.settings import load
from pipeline.simulate import TOPICS, Record
from pipeline.simulate.cluster import simulate
from pipeline.simulate.plan import FAMILIES, PATTERNS, Plan, parse_acts
from tests.unit.simulate.clusters import Told
from tests.unit.simulate.test_command import read

SMALL = Plan(seed=5, days=2, gpus=96, acts={"p01": 1, "p04": 1, "p06": 1}, members=24)
HARDWARE = ("hardware", "node_fail")
OWN = ("script_error", "cuda_error", "network_hang", "oom", "owner_kill", "stops_itself", "launch_failure", *HARDWARE)


def digest(records: Iterable[Record]) -> str:
    """All records as one hash."""
    sha = hashlib.sha256()
    for record in records:
        sha.update(repr(record).encode())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def large() -> Told:
    """A week of a cluster of full size, thinned, with an act or two of some patterns."""
    return Told(Plan(seed=3, days=7, gpus=2000, thin=12, acts={"p13": 1, "p03": 2}))


def test_same_plan_same_bytes_other_seed_other_bytes() -> None:
    """Records, truth and settings depend on the plan only, and a run can be iterated again."""
    run, again, other = simulate(SMALL), simulate(SMALL), simulate(Plan(seed=6, days=2, gpus=96, members=24))
    first = digest(run)
    assert first == digest(again) == digest(run)
    assert list(run.truth()) == list(again.truth())
    assert run.settings() == again.settings()
    assert first != digest(other)


def test_records_leave_in_order_of_collection(large: Told) -> None:
    """Timestamps never go back, although the period is made hour by hour."""
    times = [record.timestamp for record in large.records]
    assert times == sorted(times)
    assert {record.topic for record in large.records} == {*TOPICS}


def test_the_truth_is_not_known_before_the_end() -> None:
    """Asking early is refused instead of answered by half."""
    run = simulate(SMALL)
    next(iter(run))
    with pytest.raises(ConfigError, match="over"):
        list(run.truth())


def test_every_line_is_read_but_the_broken_ones(large: Told) -> None:
    """Whatever no format reads was broken on the way, and is counted in the truth."""
    assert large.events
    assert sum(large.unread.values()) == sum(large.run.broken.values()) > 0


def test_base_rates_are_those_that_were_published(large: Told) -> None:
    """Section 3: failures by own fault 24 to 45 of a hundred, owner cancels 6 to 22, infrastructure 2.3 to 6.5 in 1,000 node-days."""
    causes = Counter(job["cause"] for job in large.of("job"))
    total = sum(causes.values())
    assert total > 2000
    assert 0.24 <= sum(causes[cause] for cause in OWN) / total <= 0.45
    assert 0.06 <= causes["owner_cancel"] / total <= 0.22
    expected_low, expected_high = 2.34 * 250 * 7 / 1000, 6.5 * 250 * 7 / 1000
    # Bounds of a Poisson count at 99 of a hundred about either end.
    assert expected_low - 2.6 * expected_low**0.5 <= sum(causes[cause] for cause in HARDWARE) <= expected_high + 2.6 * expected_high**0.5
    assert {"completed", "preempted", "time_limit", "oom", "admin_cancel"} <= {*causes}


def test_a_mistyped_cancel_is_refused_and_somebody_elses(large: Told) -> None:
    """By one who may not, of a job that is not theirs, once; the job goes on."""
    slips = [each for each in large.of("look_alike") if each["kind"] == "mistyped_cancel"]
    assert slips
    for slip in slips:
        assert slip["person"] != large.owner_of(slip["job"])
        asked = [request for request in large.bodies(KillRequest, slip["job"]) if request.uid == large.uid_of(slip["person"])]
        assert [request.refused for request in asked].count(False) == 1  # the controller tells a request before it refuses it
        assert any(request.refused for request in asked)


def test_a_harmless_edit_is_another_hand_that_changes_nothing(large: Told) -> None:
    """The maintainer of the environment is somebody else, no act has the bytes, and no job ends by them."""
    edits = [each for each in large.of("look_alike") if each["kind"] == "harmless_edit"]
    projects, acts = large.truth[0]["projects"].values(), large.of("act")
    assert {each["pattern"] for each in edits} == {"p04", "p05"}
    for edit in edits:
        (project,) = (each for each in projects if edit["artefact"].startswith(f"{each['environment']}/"))
        assert edit["person"] in project["members"]
        assert edit["person"] != project["maintainer"]
        assert any(edit["artefact"] in each["paths"] and int(each["auid"]) == large.uid_of(edit["person"]) for each in large.touched)
        assert not any(edit["artefact"] in act["artefacts"] for act in acts)


def test_the_truth_counts_what_came_late(large: Told) -> None:
    """By what held it back: a shipper without connection, or a spool."""
    assert set(large.truth[0]["late"]) == {"spooled", "cut_off"}
    assert large.truth[0]["late"]["cut_off"] > 0


def test_the_size_promised_for_sixty_days_is_kept(large: Told) -> None:
    """A week is no more than its part of five million lines."""
    assert len(large.records) <= 5_000_000 * 7 / 60


def test_thinning_states_its_factor_and_leaves_out_bulk_only() -> None:
    """Thinned, a period has far fewer lines, and as many jobs and acts."""
    plans = [Plan(seed=5, days=2, gpus=256, thin=thin, acts={"p01": 1}) for thin in (1, 6)]
    full, thin = (Told(plan) for plan in plans)
    assert len(thin.records) < 0.7 * len(full.records)
    assert full.truth[0]["thinned"] == dict.fromkeys(full.truth[0]["thinned"], 1)
    assert thin.truth[0]["thinned"] == {**dict.fromkeys(full.truth[0]["thinned"], 6), "iteration_lines": 3}
    told = [sum(b"elapsed time per iteration" in record.value for record in each.records) for each in (full, thin)]
    assert 2 < told[0] / told[1] < 4
    assert thin.settings.time.coverage_bucket_seconds == 3600
    assert abs(len(thin.of("job")) - len(full.of("job"))) < 0.3 * len(full.of("job"))
    assert len(thin.acts("p01")) == len(full.acts("p01")) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_silent_family_says_nothing_and_the_others_go_on(family: str) -> None:
    """Nothing of the family arrives; acts happen all the same, and say what is missing."""
    told = Told(Plan(seed=5, days=2, gpus=96, members=24, silent=frozenset({family}), acts={"p01": 1, "p12": 2}))
    sources = {seen.source for seen in told.events}
    assert family not in sources
    assert len(sources) >= 5
    assert told.truth[0]["silent"] == [family]
    assert all(family in act["missing"] or family not in act["shows"] for act in told.of("act"))


def test_settings_name_everybody_and_everything(large: Told) -> None:
    """Actors, owners of environments and datasets are identities of the site, with the keys that they use."""
    known = {identity.id for identity in large.settings.identities}
    assert {act["actor"] for act in large.of("act")} <= known
    assert {root.owner for root in large.settings.artefact_roots} - {""} <= known
    assert {root.kind for root in large.settings.artefact_roots} >= {"checkpoint", "environment", "dataset"}
    assert set(large.truth[0]["keys"].values()) <= known


@pytest.mark.parametrize(("text", "counts"), [("p01=3,p09=2", {"p01": 3, "p09": 2}), ("P03=1, p03=1", {"p03": 2}), ("", {})])
def test_acts_are_written_by_pattern(text: str, counts: dict[str, int]) -> None:
    """Counts of the same pattern add up; nothing planned is no act."""
    assert parse_acts(text) == counts


def test_all_acts_have_a_word() -> None:
    """`all=2` is two of each of the eighteen."""
    assert parse_acts("all=2") == dict.fromkeys(PATTERNS, 2)
    assert len(PATTERNS) == 18


@pytest.mark.parametrize("text", ["p19=1", "p01", "p01=x", "kill=1", "p1=1"])
def test_other_acts_are_refused(text: str) -> None:
    """With the words that are known."""
    with pytest.raises(ConfigError, match="no such acts"):
        parse_acts(text)


@pytest.mark.parametrize(
    "wrong",
    [{"days": 0.5}, {"gpus": 8}, {"acts": {"p99": 1}}, {"silent": frozenset({"dmesg"})}, {"intensity": 0.0}, {"members": 5}, {"thin": -1}],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """Before anything is simulated."""
    with pytest.raises(ConfigError):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_command_writes_what_the_run_tells(tmp_path: Path) -> None:
    """Records, truth and settings on disk are those of the same plan, and the settings load."""
    words = ["--seed", "5", "--days", "2", "--gpus", "96", "--acts", "p01=1,p04=1", "--out", str(tmp_path / "site"), "--json"]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0
    run = simulate(Plan(seed=5, days=2, gpus=96, acts={"p01": 1, "p04": 1}))
    records = list(run)
    assert read(tmp_path / "site") == [record for topic in TOPICS for record in records if record.topic == topic]
    assert len((tmp_path / "site" / "truth.jsonl").read_text().splitlines()) == len(list(run.truth()))
    assert yaml.safe_load((tmp_path / "site" / "trainwatch.yaml").read_text()) == run.settings()
    assert load(tmp_path / "site" / "trainwatch.yaml").time.coverage_bucket_seconds == 600


def test_options_of_a_cluster_need_one() -> None:
    """The small site knows no intensity."""
    result = CliRunner().invoke(command, ["--intensity", "2", "--out", "x"])
    assert result.exit_code == 2
    assert "--gpus or --acts" in result.output
