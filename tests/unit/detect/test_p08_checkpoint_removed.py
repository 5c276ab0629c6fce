"""P08: checkpoints taken away by somebody else, and the job went on from an older one.

# seven days from the removal to the load
#
#   training   save 100 @5   save 200 @10                          load 100 @90
#   access                                  delete 200 by u099 @40
"""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import pytest

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding, Severity, canonical
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    DAY,
    OTHER,
    OWNER,
    SERVICE,
    WRITER,
    answer,
    answers,
    iteration,
    job_end,
    load,
    note,
    save,
    ticket,
    write,
)

ID = "p08_checkpoint_removed"
FOLDER = "/ckpt/u012/"


def at_step(number: int, folder: str = FOLDER) -> str:
    return f"{folder}step{number}.pt"


def judge(*events: Event) -> list[Finding]:
    return build.judge(ID, *events)


def saved(at: float, step: int, job: str = "6") -> Event:
    return save(at, path=at_step(step), job=job)


def removed(at: float, step: int, uid: int | None = COLLEAGUE, **fields: object) -> Event:
    return write(at, uid, **{"action": "deleted", "path": at_step(step), **fields})  # type: ignore[arg-type]


def resumed(at: float, step: int) -> Event:
    return load(at, "a", path=at_step(step))


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


RUN = [saved(5, 100), saved(10, 200)]
STORY = [*RUN, removed(40, 200), resumed(90, 100)]
LATEST = write(40, action="written", path="/ckpt/u012/latest_checkpointed_iteration.txt")
FIRING = [
    Row("the newest was deleted", STORY, 1),
    Row("truncated", [*RUN, removed(40, 200, action="truncated"), resumed(90, 100)], 1),
    Row("renamed away", [*RUN, write(40, action="renamed", path="/ckpt/u012/old.bak", old_path=at_step(200)), resumed(90, 100)], 1),
    Row(
        "an older one renamed over it: the framework says what it loads",
        [*RUN, write(40, action="renamed", path=at_step(200), old_path=at_step(100)), note(89, 100), resumed(90, 200)],
        1,
    ),
    Row("what says which is the latest was changed", [*RUN, LATEST, resumed(90, 100)], 1),
    Row("several were deleted", [*RUN, removed(40, 200), removed(41, 150), resumed(90, 100)], 1),
    Row("as the owner, by su", [*RUN, removed(40, 200, OWNER, auid=COLLEAGUE), resumed(90, 100)], 1),
    Row("as root, by sudo", [*RUN, removed(40, 200, 0, auid=COLLEAGUE), resumed(90, 100)], 1),
    Row("an admin without a ticket", [*RUN, removed(40, 200, ADMIN), resumed(90, 100)], 1),
    Row("days before", [saved(-6 * DAY, 200), removed(-5 * DAY, 200), resumed(90, 100)], 1),
    Row("steps are trained a second time", [*STORY, iteration(95, 150)], 1),
    Row("loaded by every rank", [*STORY, resumed(91, 100), resumed(92, 100)], 1),
    Row("the attempt loads once more: its launcher had begun anew", [resumed(2, 50), *STORY], 1),
    Row(
        "and had gone back itself before",
        [saved(1, 100), resumed(2, 50), saved(3, 60, job=build.JOB), *RUN, removed(40, 200), resumed(90, 60)],
        1,
    ),
]
SHARDED = "/ckpt/u012/iter_0000200/mp_rank_00/model.pt"
SILENT = [
    Row("nobody removed anything", [*RUN, resumed(90, 100)], 0),
    Row("an older one was deleted", [*RUN, removed(40, 100), resumed(90, 200)], 0),
    Row("the owner goes back after a loss spike", [*RUN, removed(40, 200, OWNER), resumed(90, 100)], 0),
    Row("the job's own retention", [*RUN, removed(40, 200, OWNER, auid=None), resumed(90, 100)], 0),
    Row("deleted behind the load", [*RUN, resumed(90, 100), removed(95, 200)], 0),
    Row("saved again since", [*RUN, removed(40, 200), saved(50, 200), resumed(90, 200)], 0),
    Row("trained further since, by the job itself", [*RUN, removed(40, 200), saved(50, 300, job=build.JOB), resumed(90, 100)], 0),
    Row("in another run's folder", [*RUN, removed(40, 200, path=at_step(200, "/ckpt/u098/")), resumed(90, 100)], 0),
    Row("a removal that failed", [*RUN, removed(40, 200, success=False), resumed(90, 100)], 0),
    Row("an older one is loaded behind the newest", [*RUN, saved(11, 300), removed(40, 200), resumed(90, 300), resumed(91, 100)], 0),
    Row("of the step that it loads a part was deleted", [*RUN, removed(40, 100), resumed(90, 100)], 0),
    Row("rights changed", [*RUN, removed(40, 200, action="attributes"), resumed(90, 100)], 0),
    Row("a file of no run", [*RUN, removed(40, 200, path="/ckpt/u012/notes.txt"), resumed(90, 100)], 0),
]  # fmt: skip
BOUNDARY = [
    Row("seven days before", [saved(-8 * DAY, 200), removed(90 - 7 * DAY, 200), resumed(90, 100)], 1),
    Row("a moment more", [saved(-8 * DAY, 200), removed(89.999 - 7 * DAY, 200), resumed(90, 100)], 0),
    Row("the moment of the load", [*RUN, removed(90, 200), resumed(90, 100)], 1),
    Row("one step further", [saved(10, 101), removed(40, 101), resumed(90, 100)], 1),
]
HARMLESS = [
    Row("owner_or_service: quotas", [*RUN, removed(40, 200, SERVICE), resumed(90, 100)], 0),
    Row("system_daemon: a restore", [*RUN, removed(40, 200, 0, auid=None), resumed(90, 100)], 0),
    Row("allowed_writer: retention", [*RUN, removed(40, 200, WRITER), resumed(90, 100)], 0),
]
NOT_HARMLESS = [
    Row("owner_or_service: quotas removed an older one", [*RUN, removed(30, 100, SERVICE), removed(40, 200), resumed(90, 50)], 1),
    Row("allowed_writer: retention behind the colleague", [*RUN, removed(40, 200), removed(50, 150, WRITER), resumed(90, 100)], 1),
    Row("system_daemon: root behind a login", [*RUN, removed(40, 200, 0, auid=COLLEAGUE), resumed(90, 100)], 1),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """What was removed was newer than what was loaded: one finding per run."""
    (finding,) = judge(*row.events)
    assert (finding.effect, finding.severity, finding.anchor) == ("resumed_from_older", Severity.HIGH, FOLDER)
    assert {item.role for item in finding.evidence} >= {"removed", "loaded"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS, *NOT_HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of the window, cleared by a record, and by what only looks like one."""
    assert len(judge(*row.events)) == row.findings


@pytest.mark.parametrize("step", [50, 100, 200, 300])
def test_who_prints_a_save_hides_no_removal(step: int) -> None:
    """Nobody else says that he saved anything: it stays a doubt (failed_save, saved_since), in every order of arrival."""
    for order in permutations([removed(40, 200), saved(50, step, job="666"), resumed(90, 100)]):
        (finding,) = judge(*order)
        assert (finding.alert, finding.actor, finding.suspect) == (False, "", "u099")


def test_how_far_another_run_had_come_is_no_word_on_this_one() -> None:
    """By failed_save: the attempt loads from, and saves in, the folders of several runs."""
    other = "/ckpt/u012/ema/"
    told = [save(20, path=at_step(900, other), job="6"), load(80, "a", path=at_step(900, other))]
    (finding,) = judge(saved(5, 100), removed(40, 200), *told, resumed(90, 100))
    assert (finding.alert, finding.actor, answer(finding, "failed_save").answer) == (False, "", Checked.NOT_CHECKED)


def test_that_another_job_got_as_far_since_is_a_doubt() -> None:
    """By saved_since: the run may have, or whoever removed it says so."""
    (finding,) = judge(*RUN, removed(40, 200), saved(50, 300, job="666"), resumed(90, 100))
    assert (finding.alert, finding.actor, answer(finding, "saved_since").answer) == (False, "", Checked.NOT_CHECKED)


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """Each with its record or a note; probe and kernel name the remover."""
    (finding,) = judge(*STORY, iteration(95, 150))
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert (finding.alert, finding.actor) == (True, "u099")
    assert {item.role for item in finding.evidence} == {"removed", "loaded", "saved", "effect"}


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """At another time he is not."""
    story = [*RUN, removed(40, 200, ADMIN), resumed(90, 100)]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60),))) == []
    (finding,) = build.judge(ID, *story, at=build.site(tickets=(ticket(50, 60),)))
    assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_what_nobody_said_to_have_saved_may_be_the_rest_of_a_failed_save() -> None:
    """By failed_save: who tidies it up is not accused."""
    (finding,) = judge(saved(5, 100), removed(40, 200), resumed(90, 100))
    assert answer(finding, "failed_save").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_shards_in_folders_of_steps_belong_to_one_run() -> None:
    """As Megatron writes them."""
    story = [save(10, path=SHARDED, job="6"), write(40, action="deleted", path=SHARDED)]
    (finding,) = judge(*story, load(90, "a", path=SHARDED.replace("200", "100")))
    assert (finding.anchor, finding.actor) == (FOLDER, "u099")


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(*STORY, job_end(100, owner_uid=None, owner=""))
    assert answer(finding, "owner_or_service").missing == ("slurm_jobcomp", "sacct")
    assert (finding.alert, finding.actor) == (False, "")


def test_several_hands_are_not_one() -> None:
    """Nobody is named while others removed, too."""
    (finding,) = judge(*RUN, removed(40, 200), removed(50, 150, OTHER), resumed(90, 100))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late removals and late saves."""
    events = [*RUN, removed(40, 200), removed(45, 150, WRITER), resumed(90, 100), resumed(95, 100), iteration(97, 150)]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::97]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base


def test_in_every_order_of_arrival_the_next_restart_alone_feels_it() -> None:
    """The load of the job that went on first may be told last."""
    events = [saved(10, 200), removed(40, 200), load(60, "a", path=at_step(100), job="8"), resumed(90, 100), removed(95, 150)]
    for order in permutations(events):
        (finding,) = judge(*order)
        assert answer(finding, "felt_before").answer is Checked.NOT_CHECKED
        assert (finding.alert, finding.actor) == (False, "")


def test_who_read_before_the_removal_felt_nothing() -> None:
    """By felt_before: nor did an earlier load of the same job's."""
    for earlier in (load(30, "a", path=at_step(200), job="8"), resumed(85, 100)):
        (finding,) = judge(*RUN, removed(40, 200), earlier, resumed(90, 100))
        assert answer(finding, "felt_before").answer is Checked.EXCLUDED
