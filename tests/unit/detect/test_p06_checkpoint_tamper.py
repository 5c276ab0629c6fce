"""P06: a checkpoint changed by somebody else between save and load.

# no clock limit: save, write and load may be days apart
#
#   training   save(a)@10                         load(b)@90
#   access                   write by u099 @40
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.detect.lineage import SAVES_MAX
from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding, Severity
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    DAY,
    OTHER,
    OWNER,
    PATH,
    SERVICE,
    WRITER,
    answer,
    answers,
    job_end,
    load,
    save,
    ticket,
    write,
)

ID = "p06_checkpoint_tamper"


def judge(*events: Event) -> list[Finding]:
    return build.judge(ID, *events)


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


FIRING = [
    Row("a colleague wrote", [save(10), write(40), load(90)], 1),
    Row("days later", [save(-20 * DAY), write(-15 * DAY), load(90)], 1),
    Row("renamed over it", [save(10), write(40, action="renamed"), load(90)], 1),
    Row("truncated", [save(10), write(40, action="truncated"), load(90)], 1),
    Row("with the owner's uid, by su", [save(10), write(40, OWNER, auid=COLLEAGUE), load(90)], 1),
    Row("an admin without a ticket", [save(10), write(40, ADMIN), load(90)], 1),
    Row("the owner wrote before the colleague", [save(10), write(30, OWNER), write(40), load(90)], 1),
    Row("loaded twice is one finding", [save(10), write(40), load(90), load(95)], 1),
    Row("the first load was fine", [save(10), load(20, "a"), write(40), load(90)], 1),
    Row("two files are two findings", [save(10), write(40), load(90), *(each for each in (
        save(10, path="/ckpt/x"), write(40, path="/ckpt/x"), load(90, path="/ckpt/x")))], 2),
]  # fmt: skip
SILENT = [
    Row("nobody wrote", [save(10), load(90)], 0),
    Row("same bytes", [save(10, "a"), write(40), load(90, "a")], 0),
    Row("the owner wrote", [save(10), write(40, OWNER), load(90)], 0),
    Row("the owner wrote last: the bytes are the owner's", [save(10), write(40), write(50, OWNER), load(90)], 0),
    Row("saved again since", [save(10), write(40), save(50, "b"), load(90)], 0),
    Row("written before the save", [write(5), save(10), load(90)], 0),
    Row("written after the load", [save(10), load(90), write(95)], 0),
    Row("never saved under a probe", [write(40), load(90)], 0),
    Row("a failed write", [save(10), write(40, success=False), load(90)], 0),
    Row("rights changed, not bytes", [save(10), write(40, action="attributes"), load(90)], 0),
    Row("deleted: there is nothing to load", [save(10), write(40, action="deleted"), load(90)], 0),
    Row("another file", [save(10), write(40, path="/ckpt/u012/step200.pt"), load(90)], 0),
]
BOUNDARY = [
    Row("a moment behind the save", [save(10), write(10.001), load(90)], 1),
    Row("the moment of the save is the saver's own write", [save(10), write(10), load(90)], 0),
    Row("the moment of the load is still before it", [save(10), write(90), load(90)], 1),
]
HARMLESS = [
    Row("owner_or_service", [save(10), write(40, SERVICE), load(90)], 0),
    Row("system_daemon: storage restore by a daemon", [save(10), write(40, 0, auid=None), load(90)], 0),
    Row(
        "saver: a colleague's base model, repaired by that colleague", [save(10, uid=COLLEAGUE), write(40, file_uid=COLLEAGUE), load(90)], 0
    ),
    Row("allowed_writer: resharding", [save(10), write(40, WRITER), load(90)], 0),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """Other bytes than were saved, and a foreign write last: one finding per file."""
    found = judge(*row.events)
    assert len(found) == row.findings
    for finding in found:
        assert (finding.effect, finding.severity) == ("loaded_tampered_checkpoint", Severity.CRITICAL)
        assert {item.role for item in finding.evidence} == {"saved", "written", "loaded"}


@pytest.mark.parametrize("row", SILENT, ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """Same bytes, own bytes, or no write in between: nothing to say."""
    assert judge(*row.events) == []


@pytest.mark.parametrize("row", BOUNDARY, ids=lambda row: row.name)
def test_boundary(row: Row) -> None:
    """Behind the save, up to the load."""
    assert len(judge(*row.events)) == row.findings


@pytest.mark.parametrize("row", HARMLESS, ids=lambda row: row.name)
def test_a_confirmed_explanation_ends_the_suspicion(row: Row) -> None:
    """What a record proves to be harmless is no finding."""
    assert judge(*row.events) == []


STORY = [save(10), write(40), load(90)]
SAVED_AGAIN = {
    "with the loaded bytes, behind the write": [save(50, "b", job="66")],
    "with the loaded bytes, before the write": [save(30, "b", job="66")],
    "with other bytes, behind the write": [save(50, "c", job="66")],
    "by two jobs": [save(50, "b", job="66"), save(60, "c", job="67")],
    "under the writer's uid": [save(39, "c", job="66", uid=COLLEAGUE), save(50, "b", job="67", uid=COLLEAGUE)],
}


@pytest.mark.parametrize("forged", SAVED_AGAIN.values(), ids=SAVED_AGAIN)
def test_saved_again_by_another_job_lowers_the_hit_and_does_not_end_it(forged: list[Event]) -> None:
    """It may be what the writer printed in a job of his own: below the gate, without a name."""
    (finding,) = judge(*STORY, *forged)
    assert (finding.effect, finding.severity) == ("loaded_resaved_checkpoint", Severity.MEDIUM)
    assert (finding.alert, finding.actor) == (False, "")
    assert answer(finding, "saved_again").answer is Checked.NOT_CHECKED
    assert {item.role for item in finding.evidence} == {"saved", "saved again", "written", "loaded"}


MANY: dict[str, list[Event]] = {
    "with the loaded bytes, behind the write": [save(50 + at, "b", job=f"{60 + at}") for at in range(SAVES_MAX)],
    "with any bytes, behind the write": [save(50 + at, "cdef"[at % 4], job=f"{60 + at}") for at in range(SAVES_MAX)],
    "with the loaded bytes, before the write": [save(20 + at, "b", job=f"{60 + at}") for at in range(SAVES_MAX)],
    "under the writer's uid": [save(20 + 3 * at, "b", job=f"{60 + at}", uid=COLLEAGUE) for at in range(3 * SAVES_MAX)],
}


@pytest.mark.parametrize("forged", MANY.values(), ids=MANY)
def test_many_jobs_that_say_they_saved_it_hide_nothing(forged: list[Event]) -> None:
    """Of more than are told of nobody knows the first, and one needs no more jobs than that to print so."""
    for job, known in (("6", set()), (build.JOB, {"saved"})):  # what the loading job saved itself nobody pushes out
        (finding,) = judge(save(10, job=job), write(40, file_uid=None), load(90), *forged)
        assert (finding.effect, finding.alert, finding.actor) == ("loaded_resaved_checkpoint", False, "")
        assert {item.role for item in finding.evidence} == {"saved again", "written", "loaded"} | known
        assert answer(finding, "saver").answer is not Checked.CONFIRMED


def test_other_bytes_that_a_job_says_it_loaded_since_lower_the_hit() -> None:
    """By loaded_since: then somebody else made these, or so the writer printed; the same bytes doubt nothing."""
    (finding,) = judge(*STORY, load(50, "c", job="66"))
    assert (finding.alert, finding.actor, finding.suspect) == (False, "", "u099")
    assert answer(finding, "loaded_since").answer is Checked.NOT_CHECKED
    for told in (load(50, job="66"), load(30, "c", job="66")):
        (finding,) = judge(*STORY, told)
        assert answer(finding, "loaded_since").answer is Checked.EXCLUDED


def test_many_jobs_that_saved_it_accuse_nobody() -> None:
    """Whoever wrote last may write there, or nobody wrote; what the loading job saved itself is believed."""
    many = [save(20 + at, "b", job=f"{60 + at}") for at in range(SAVES_MAX)]
    assert (
        judge(*many, load(90))
        == judge(*many, write(40), write(50, OWNER), load(90))
        == judge(*many, write(10), write(85, WRITER), load(90))
        == []
    )
    assert judge(*many, write(40), save(80, "b"), load(90)) == []


def test_saved_again_by_the_loading_job_is_believed() -> None:
    """Nobody else prints its output."""
    assert judge(save(10, job="6"), write(40), save(50, "b"), load(90)) == []


def test_a_forged_save_neither_acquits_nor_accuses_the_saver() -> None:
    """Who printed that he saved it is no saver where others saved it too; and no print makes the maker of a file a stranger to it."""
    (finding,) = judge(save(10), save(30, "c", uid=COLLEAGUE, job="66"), write(40), load(90))
    assert (answer(finding, "saver").answer, finding.alert, finding.actor) == (Checked.NOT_CHECKED, False, "")
    (finding,) = judge(save(10, uid=COLLEAGUE, job="5"), save(30, uid=OTHER, job="66"), write(40), load(90))
    assert (answer(finding, "saver").answer, finding.alert, finding.actor) == (Checked.NOT_CHECKED, False, "")


def test_a_forged_save_does_not_make_another_s_file_one_s_own() -> None:
    """A job of the writer's prints that he saved it; the kernel says whose file he wrote."""
    (finding,) = judge(save(10, uid=COLLEAGUE), write(40, file_uid=OWNER), load(90))
    assert (answer(finding, "saver").answer, finding.alert, finding.actor) == (Checked.NOT_CHECKED, False, "")


def test_without_the_savers_uid_nobody_is_accused() -> None:
    """An older probe does not say who saved: the writer may be the saver, so the finding raises no alert and names nobody."""
    (finding,) = judge(save(10, uid=None), write(40), load(90))
    found = answer(finding, "saver")
    assert (found.answer, found.missing) == (Checked.NOT_CHECKED, ("probe",))
    assert (finding.alert, finding.actor) == (False, "")


def test_who_wrote_only_his_own_files_is_not_accused() -> None:
    """Anybody can print that he saved a file for somebody else; the kernel says whose it was."""
    (finding,) = judge(save(10), write(40, file_uid=COLLEAGUE), load(90))
    assert answer(finding, "own_file").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_who_replaced_somebody_elses_file_does_not_get_off_by_writing_it_again() -> None:
    """By then the file is his own: what he replaced counts."""
    (finding,) = judge(save(10), write(40, action="renamed"), write(50, file_uid=COLLEAGUE), load(90))
    assert answer(finding, "own_file").answer is Checked.EXCLUDED
    assert finding.actor == "u099"


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """Also on a login node, where the write happened."""
    story = [save(10), write(40, ADMIN), load(90)]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60, hosts=("login-001",)),))) == []
    (finding,) = build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60, hosts=("gpu-001",)),)))
    assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_the_owner_of_the_artefacts_root_may_write_there() -> None:
    """A folder of base models belongs to whom the settings say, not to whoever loads from it."""
    root = {"path": "/ckpt", "owner": "u099"}
    assert build.judge(ID, *STORY, at=build.site(artefact_roots=(root,))) == []


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """The checklist names each explanation with the record, or the settings, that rule it out."""
    (finding,) = judge(*STORY)
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert finding.alert


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(*STORY, job_end(100, owner_uid=None, owner=""))
    said = answer(finding, "owner_or_service")
    assert (said.answer, said.missing) == (Checked.NOT_CHECKED, ("slurm_jobcomp", "sacct"))
    assert (finding.alert, finding.actor) == (False, "")


@pytest.mark.parametrize("explanation", ["owner_or_service", "system_daemon", "allowed_writer", "admin_ticket"])
def test_without_the_record_of_who_wrote_an_explanation_is_not_checked(explanation: str) -> None:
    """The audit record is what would acquit the writer: without its identity nothing is excluded."""
    (before,) = judge(*STORY)
    (finding,) = judge(save(10), write(40, None, auid=None), load(90))
    assert answer(before, explanation).answer is Checked.EXCLUDED
    assert answer(finding, explanation).answer is Checked.NOT_CHECKED
    assert answer(finding, explanation).note


def test_what_was_put_back_accuses_nobody() -> None:
    """Resharded by the service, altered by a colleague, put back as the service had left it: whoever loads it since loads what it was."""
    service = [save(10), write(20, WRITER), load(30, "b", job="6")]
    altered = [write(40), load(50, "c", job="8")]
    for before in ([], [write(15, action="attributes")]):  # who sets a file's times has not written its bytes
        (finding,) = judge(*service, *before, *altered, write(60), load(90, "b"))
        assert (finding.alert, finding.actor, finding.gate) == (False, "", "not checked: known_bytes")
    (first,) = judge(*service, write(40), load(90, "c"))
    assert (first.alert, answer(first, "known_bytes").answer) == (True, Checked.EXCLUDED)


@pytest.mark.parametrize("jobs", [0, 1, SAVES_MAX - 1, SAVES_MAX, 100])
def test_what_was_written_before_the_job_saved_it_itself_accuses_nobody(jobs: int) -> None:
    """Whatever others say that they saved: else they would hold it against whoever wrote there before."""
    told = [save(1, "c", job="6"), write(5), save(20, "b"), *(save(80 + each / 100, "c", job=f"{60 + each}") for each in range(jobs))]
    assert judge(*told, load(90)) == []
    assert [each.suspect for each in judge(*told, write(30), load(90, "d"))] == ["u099"]


def test_what_was_undone_before_anybody_loaded_it_accuses_nobody() -> None:
    """By known_bytes, also where still other bytes were loaded before: these had come otherwise, and the same did again."""
    story = [save(1, "c", job="6"), load(5, "c", job="8"), write(8, WRITER), load(10, "a", job="8")]
    (finding,) = judge(*story, write(20), write(30), load(90, "a"))
    assert (finding.alert, finding.actor, finding.gate) == (False, "", "not checked: known_bytes")
    (finding,) = judge(*story, write(20), load(25, "b", job="9"), write(30), load(90, "b"))
    assert (finding.alert, finding.actor) == (True, "u099")


def test_probe_and_kernel_audit_name_the_writer() -> None:
    """Two sources on different hosts."""
    (finding,) = judge(*STORY)
    assert (finding.actor, finding.actor_withheld, finding.anchor) == ("u099", "", PATH)


def test_several_writers_are_not_one() -> None:
    """The last write made the bytes, but nobody is named while others wrote too."""
    (finding,) = judge(save(10), write(40), write(50, OTHER), load(90))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")
    assert finding.cause_time == build.ms(50)


def test_an_explained_write_among_foreign_ones_lowers_the_confidence() -> None:
    """The colleague wrote last, a service before."""
    (alone,) = judge(*STORY)
    (shared,) = judge(save(10), write(30, SERVICE), write(40), load(90))
    assert shared.confidence.score < alone.confidence.score


def test_the_last_save_before_the_load_counts() -> None:
    """Saved, loaded well, saved anew, changed."""
    (finding,) = judge(save(10, "a"), save(30, "c"), write(40), load(90, "b"))
    (saved,) = [item for item in finding.evidence if item.role == "saved"]
    assert saved.event_time == build.ms(30)


def test_the_id_does_not_depend_on_the_writers() -> None:
    """Subject, kind and file name the finding."""
    (one,) = judge(*STORY)
    (two,) = judge(save(10), write(20, OTHER), write(40), load(90))
    assert one.id == two.id
