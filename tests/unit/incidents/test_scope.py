"""What a campaign touched: artefacts traced forward to whatever was derived from them, and who is called unaffected."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.scope import derive, scope_of, trace
from pipeline.model.finding import Finding, Subject
from pipeline.model.incident import Examined, Mark, Unjudged
from pipeline.model.summary import Exposure
from tests.unit.incidents.campaign import CLUSTER, DAY, T0, attempt_of, examined, finding, kill, record, removal, tamper

LIBRARY = "/shared/env/train/loss.py"
WRITE = record("written", "w1", T0)
HOUR = 3_600_000


def exposed(job: str, day: float, path: str = LIBRARY, writer: str = "u099", **changes: Any) -> Examined:
    """It loaded what a foreign hand had written, when it began."""
    start = attempt_of(job, day).start
    exposure = Exposure(path, writer, T0, WRITE, record("loaded", f"{job}{path}", start + 60_000, "probe"), "b")
    return examined(job, day, **{"exposures": (exposure,), **changes})


def saving(each: Examined, *, before_the_end: int = HOUR // 2, path: str = "") -> Examined:
    """It saved a checkpoint so long before its end."""
    time = (each.end or 0) - before_the_end
    return msgspec.structs.replace(each, saved=Mark(time, f"save-{each.attempt.job}", path))


def went_on(each: Examined, from_: Examined) -> Examined:
    """What it loaded first was the other's last checkpoint."""
    assert from_.saved is not None
    return msgspec.structs.replace(each, resumed=(from_.attempt.job, from_.saved))


def cohort_finding(suspect: str = "u099") -> Finding:
    """Says of attempts that loaded a write that they are slow; it names no artefact."""
    value = finding("p09_injected_delay", 5, "0", suspect, evidence=(WRITE,))
    return msgspec.structs.replace(value, attempt=None, subject=Subject("cohort", CLUSTER, "configuration/c"))


def held(attempts: Sequence[Examined]) -> Attempts:
    return Attempts({each.attempt.name: each for each in attempts})


@pytest.mark.parametrize("seed", range(5))
def test_what_a_finding_on_a_cohort_cites_is_traced_whatever_the_order(seed: int) -> None:
    """It names no artefact, its writes do; another file of the same write is suspect too, and who loaded that as well."""
    attempts = [exposed(str(number), number) for number in range(1, 5)] + [exposed("9", 6, "/shared/env/train/data.py")]
    random.Random(seed).shuffle(attempts)
    found = trace([cohort_finding()], held(attempts))
    assert [(each.path, each.loads) for each in found] == [("/shared/env/train/data.py", 1), (LIBRARY, 4)]


def test_checkpoints_are_traced_on_to_what_went_on_from_them() -> None:
    """1 loaded what was altered and saved; 2 went on from that and saved; 3 went on from 2; 4 from another's save, 5 from one before."""
    first = saving(exposed("1", 1))
    second = saving(went_on(examined("2", 2), first))
    third = went_on(examined("3", 3), second)
    other = went_on(examined("4", 3), saving(examined("7", 1)))
    early = msgspec.structs.replace(examined("5", 3), resumed=("1", Mark(first.attempt.start - HOUR, "save-of-another-run")))
    attempts = held([first, second, third, other, early])
    found = derive(trace([cohort_finding()], attempts), attempts)
    assert [(each.attempt, each.after, each.loaded_by) for each in found] == [
        (first.attempt.name, LIBRARY, (second.attempt.name,)),
        (second.attempt.name, first.attempt.name, (third.attempt.name,)),
    ]
    assert [each.event_id for each in found] == ["save-1", "save-2"]


def test_a_checkpoint_is_one_line_whoever_saved_there() -> None:
    """Two attempts that loaded the altered bytes saved to one path one after the other; a third goes on from an older file of the first."""
    last, old = "/ckpt/run/last.pt", "/ckpt/run/step-100.pt"
    one, two = (saving(exposed(job, day), path=last) for job, day in (("1", 1), ("2", 2)))
    third = msgspec.structs.replace(examined("3", 3), resumed=("1", Mark((one.end or 0) - HOUR * 3 // 4, "s100", old)))
    attempts = held([one, two, third, went_on(examined("4", 3), two)])
    found = derive(trace([cohort_finding()], attempts), attempts)
    assert [(each.path, each.saved_by, each.loaded_by, each.event_id) for each in found] == [
        (old, (one.attempt.name,), (third.attempt.name,), "s100"),
        (last, (one.attempt.name, two.attempt.name), (attempt_of("4", 3).name,), "save-2"),
    ]


def test_a_path_that_says_not_where_it_begins_is_one_for_each_attempt() -> None:
    """Frameworks print it as their users typed it: `out/last.pt` of two attempts may be two files, and is not called one."""
    one, two = (saving(exposed(job, day), path="out/last.pt") for job, day in (("1", 1), ("2", 2)))
    attempts = held([one, two])
    found = derive(trace([cohort_finding()], attempts), attempts)
    assert [(each.path, each.saved_by) for each in found] == [("out/last.pt", (each.attempt.name,)) for each in (one, two)]


def test_what_went_on_from_doubtful_work_is_not_called_unaffected() -> None:
    """It ended well and loaded nothing suspect; what it went on from had."""
    first = saving(exposed("1", 1))
    second = went_on(examined("2", 2, project="speech", owner="u060"), first)
    clean = examined("3", 2.5, project="audio", owner="u061")
    attempts = held([first, second, clean])
    traced = trace([cohort_finding()], attempts)
    scope = scope_of([cohort_finding()], attempts, traced, derive(traced, attempts), (T0, T0 + 9 * DAY), {}, 8)
    assert (scope.examined, scope.exposed, scope.derived, scope.unaffected) == (3, 1, 1, 1)
    assert (scope.unaffected_projects, scope.unaffected_users) == (("audio",), ("u061",))
    assert (scope.fine_projects, scope.fine_users) == (1, 1)


@pytest.mark.parametrize("member", [cohort_finding(), removal(1, "8", "u099", "/ckpt/run/")], ids=["code", "no artefact"])
def test_who_does_not_tell_what_it_loads_is_not_called_unaffected(member: Finding) -> None:
    """Without a probe nobody knows whether it loaded what is suspect, nor whether what it loaded should be."""
    silent = examined("2", 2, owner="u060", project="speech", loads_told=False)
    clean = examined("3", 2.5, owner="u061", project="audio")
    attempts = held([silent, clean])
    scope = scope_of([member], attempts, trace([member], attempts), (), (T0, T0 + 9 * DAY), {}, 8)
    assert (scope.examined, scope.unaffected, scope.unaffected_users, scope.unaffected_projects) == (2, 1, ("u061",), ("audio",))
    assert scope.unjudged == (Unjudged("probe", "attempts", 1, (silent.attempt.name,)),)


def test_of_whom_nothing_came_is_not_affected() -> None:
    """Former bytes that were put back, and a cancel that was refused, are findings and no harm."""
    clean = examined("1", 2, owner="u061")
    refused = msgspec.structs.replace(kill(1, "1", "u099"), effect="cancel_refused", attempt=clean.attempt, owner="u061")
    scope = scope_of([refused], held([clean]), (), (), (T0, T0 + 9 * DAY), {}, 8)
    assert (scope.affected, scope.affected_users, scope.unaffected, scope.unaffected_users) == (0, 0, 1, ("u061",))
    assert scope.spared == 1


def test_whom_a_slowed_node_cost_hours_is_affected() -> None:
    """The finding is about the node; its jobs are the victims."""
    slow = examined("1", 2, owner="u061", nodes=("n1",), gpus=8)
    scope = scope_of([], held([slow]), (), (), (T0, T0 + 9 * DAY), {}, 8, {slow.attempt.name})
    assert (scope.affected, scope.users, scope.gpus, scope.unaffected) == (1, ("u061",), 8, 0)


def test_gpus_are_told_node_by_node() -> None:
    """Held twice they are the same ones; of a node with an end that is not benign, or of which a finding tells, none is called fine."""
    hurt = exposed("1", 1, nodes=("n1", "n2"), gpus=16)
    again = exposed("2", 2, nodes=("n2", "n3"), gpus=8)
    fine = [examined(str(number), 3, nodes=(f"n{number}",), gpus=8) for number in (3, 4, 5, 6, 7, 8)]
    others = [
        examined(f"9{node}", 3, nodes=(node,), gpus=4, verdict=said) for node, said in (("n5", "unexplained"), ("n6", "interference"))
    ]
    of_host = msgspec.structs.replace(cohort_finding(), subject=Subject("host", CLUSTER, "n7"))
    attempts = held([hurt, again, *fine, *others])
    traced = trace([cohort_finding()], attempts)
    scope = scope_of([cohort_finding(), of_host], attempts, traced, (), (T0, T0 + 9 * DAY), {}, 8)
    assert (scope.gpus_max, scope.gpus, scope.fine_gpus) == (16, 8 + 8 + 4, 8 + 8)  # n1 n2 n3, and n4 n8


@pytest.mark.parametrize(("each", "room", "most"), [(4, 8, 8), (2, 8, 6), (4, 4, 4), (8, 4, 8)])
def test_attempts_that_share_a_node_may_have_held_different_gpus(each: int, room: int, most: int) -> None:
    """Three of them: together they held as many as they had, or as the node has; which of them, no record tells."""
    attempts = held([exposed(str(number), 1, nodes=("n1",), gpus=each) for number in (1, 2, 3)])
    scope = scope_of([cohort_finding()], attempts, trace([cohort_finding()], attempts), (), (T0, T0 + 9 * DAY), {}, room)
    assert scope.gpus == most


def test_runs_that_take_up_one_another_in_a_circle_end() -> None:
    """Raw ids wrap: a job may seem to have gone on from itself."""
    first = saving(exposed("1", 1))
    again = went_on(first, first)
    attempts = held([again])
    assert [each.loads for each in derive(trace([cohort_finding()], attempts), attempts)] == [0]


def test_a_write_by_another_hand_is_another_matter() -> None:
    """Who loaded a file that somebody else wrote has loaded nothing of this campaign."""
    other = msgspec.structs.replace(exposed("8", 3).exposures[0], writer="u050", write=record("written", "w2", T0 + DAY), written=T0 + DAY)
    attempts = held([exposed("1", 1, "/ckpt/a.pt"), examined("8", 3, exposures=(msgspec.structs.replace(other, path="/ckpt/a.pt"),))])
    (found,) = trace([tamper(0.1, "1", "u099", "/ckpt/a.pt")], attempts)
    assert attempt_of("8", 3).name not in found.loaded_by


def test_a_removal_makes_nothing_suspect_of_what_was_left() -> None:
    """Job 8 loaded an older file that nobody had touched: neither it nor what was saved since is suspect; 8 itself has a finding."""
    went_back = saving(examined("8", 1, owner="u012"), path="/ckpt/run/200.pt")
    later = went_on(examined("9", 2), went_back)
    found = removal(1, "8", "u099", "/ckpt/run/")
    attempts = held([went_back, later])
    traced = trace([found], attempts)
    assert traced == ()
    scope = scope_of([found], attempts, traced, derive(traced, attempts), (T0, T0 + 9 * DAY), {}, 8)
    assert (scope.affected, scope.exposed, scope.derived, scope.unaffected) == (1, 0, 0, 1)


def test_a_file_in_a_folder_from_which_somebody_removed_others_is_traced_as_before() -> None:
    """The same hand altered what it left: who loaded that is told, whatever was removed beside it."""
    found = [removal(1, "8", "u099", "/ckpt/run/"), tamper(2, "9", "u099", "/ckpt/run/100.pt")]
    assert [(each.path, each.loads) for each in trace(found, held([]))] == [("/ckpt/run/100.pt", 1)]


def test_who_loaded_former_bytes_loaded_nothing_suspect() -> None:
    """A file was put back as it had been: results hold, as the ledger has it, and no checkpoint that was saved since is in doubt."""
    back = record("written", "w9", T0 + DAY)
    exposure = Exposure(LIBRARY, "u099", T0 + DAY, back, record("loaded", "l5", T0 + 5 * DAY, "probe"), "a", restored=True)
    altered, restored = exposed("1", 0.5), saving(examined("5", 5, exposures=(exposure,)))
    undone = tamper(5, "5", "u099", LIBRARY, written="w9", effect="imported_restored_module")
    attempts = held([altered, restored])
    (traced,) = trace([tamper(0.5, "1", "u099", LIBRARY, cause_time=T0), undone], attempts)
    assert (traced.path, traced.since, traced.loaded_by) == (LIBRARY, T0, (altered.attempt.name,))
    assert derive([traced], attempts) == ()
