"""P11: a shard of a dataset changed by somebody who did not publish it.

# ninety days; between what others read, or what was published, and what this job reads
#
#   training   read(a) by job 6 @10                       read(b) by job 7 @90
#   access                          write by u099 @40
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any, NamedTuple

import msgspec
import pytest

from pipeline.detect.lineage import SAVES_MAX
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
    job_end,
    load,
    save,
    ticket,
    write,
)

ID = "p11_dataset_tamper"
SHARD, OTHER_SHARD = "/data/web/shard-003.npz", "/data/web/shard-004.npz"
ROOTS: tuple[Any, ...] = ({"path": "/data", "kind": "dataset", "owner": "u070"}, {"path": "/ckpt"})


def judge(*events: Event, **changes: Any) -> list[Finding]:
    return build.judge(ID, *events, at=build.site(**{"artefact_roots": ROOTS, **changes}))


def read(at: float, sha: str = "b", job: str = build.JOB, path: str = SHARD) -> Event:
    return load(at, sha, path=path, job=job)


def published(at: float, sha: str = "a", job: str = "5") -> Event:
    return save(at, sha, path=SHARD, job=job, uid=WRITER)


def changed(at: float, uid: int | None = COLLEAGUE, path: str = SHARD, **fields: object) -> Event:
    return write(at, uid, path=path, **{"file_uid": WRITER, **fields})  # type: ignore[arg-type]


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


BEFORE = read(10, "a", "6")
STORY = [BEFORE, changed(40), read(90)]
FIRING = [
    Row("a colleague wrote", STORY, 1),
    Row("as it was published", [published(5), changed(40), read(90)], 1),
    Row("renamed over it", [BEFORE, changed(40, action="renamed"), read(90)], 1),
    Row("as the publisher, by su", [BEFORE, changed(40, WRITER, auid=COLLEAGUE), read(90)], 1),
    Row("an admin without a ticket", [BEFORE, changed(40, ADMIN), read(90)], 1),
    Row("months later", [read(-60 * DAY, "a", "6"), changed(-20 * DAY), read(90)], 1),
    Row("the publisher had written before", [BEFORE, changed(30, WRITER), changed(40), read(90)], 1),
    Row("a second victim, behind the first", [BEFORE, changed(40), read(60, job="8"), read(90)], 1),
    Row("read by every rank", [*STORY, read(91), read(92)], 1),
    Row("two shards", [*STORY, read(10, "a", "6", OTHER_SHARD), changed(40, path=OTHER_SHARD), read(90, path=OTHER_SHARD)], 2),
]
SILENT = [
    Row("nobody wrote", [BEFORE, read(90)], 0),
    Row("the same bytes", [BEFORE, changed(40), read(90, "a")], 0),
    Row("as it was published, whatever others read", [published(5, "b"), BEFORE, changed(40, file_uid=COLLEAGUE), read(90)], 0),
    Row("the publisher wrote last", [BEFORE, changed(40), changed(50, WRITER), read(90)], 0),
    Row("nobody knows what was there", [changed(40), read(90)], 0),
    Row("written behind the read", [BEFORE, read(90), changed(95)], 0),
    Row("written before others read it", [changed(5), BEFORE, read(90)], 0),
    Row("rights changed", [BEFORE, changed(40, action="attributes"), read(90)], 0),
    Row("a write that failed", [BEFORE, changed(40, success=False), read(90)], 0),
    Row("a checkpoint is no dataset", [load(10, "a", job="6"), write(40), load(90)], 0),
]
BOUNDARY = [
    Row("ninety days behind the other read", [read(90 - 90 * DAY, "a", "6"), changed(40), read(90)], 1),
    Row("a moment more", [read(89.999 - 90 * DAY, "a", "6"), changed(40), read(90)], 0),
    Row("a moment behind the other read", [BEFORE, changed(10.001), read(90)], 1),
    Row("its very moment", [BEFORE, changed(10), read(90)], 0),
]
HARMLESS = [
    Row("owner_or_service: the job's owner", [BEFORE, changed(40, OWNER), read(90)], 0),
    Row("owner_or_service: a service", [BEFORE, changed(40, SERVICE), read(90)], 0),
    Row("system_daemon: a restore", [BEFORE, changed(40, 0, auid=None), read(90)], 0),
    Row("allowed_writer: the publisher tokenises anew", [BEFORE, changed(40, WRITER), read(90)], 0),
]
NOT_HARMLESS = [
    Row("owner_or_service: before the colleague", [BEFORE, changed(30, SERVICE), changed(40), read(90)], 1),
    Row("system_daemon: root behind a login", [BEFORE, changed(40, 0, auid=COLLEAGUE), read(90)], 1),
    Row("allowed_writer: of another root", [BEFORE, changed(40, OTHER), read(90)], 1),
]


@pytest.mark.parametrize("at", [5, 50])
def test_who_prints_that_he_published_it_stays_in_the_case_file(at: float) -> None:
    """Nobody published the shard under the probe, so that he is the first to say so; the kernel says whose it was."""
    story = [BEFORE, published(at, "b", job="666"), changed(40), read(90)]
    for order in permutations(story):
        (finding,) = judge(*order)
        assert (finding.alert, finding.actor, answer(finding, "saved_again").answer) == (False, "", Checked.NOT_CHECKED)


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """Other bytes than before, and a foreign write last: one finding per shard."""
    found = judge(*row.events)
    assert len(found) == row.findings
    for finding in found:
        assert (finding.effect, finding.severity) == ("read_tampered_dataset", Severity.HIGH)
        assert {item.role for item in finding.evidence} == {"before", "written", "loaded"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS, *NOT_HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of the window, cleared by a record, and by what only looks like one."""
    assert len(judge(*row.events)) == row.findings


def test_p06_leaves_datasets_to_this_detector() -> None:
    """One act is not found twice under two names."""
    story = [published(5), changed(40), read(90)]
    assert build.judge("p06_checkpoint_tamper", *story, at=build.site(artefact_roots=ROOTS)) == []


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """Each with its record or a note; probe and kernel name the writer."""
    (finding,) = judge(*STORY)
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert (finding.alert, finding.actor, finding.anchor) == (True, "u099", SHARD)


def test_an_announced_change_is_acquitted() -> None:
    """By admin_ticket: for whom and when it says."""
    asked = {"identities": ("u098",)}
    story = [BEFORE, changed(40, OTHER), read(90)]
    assert judge(*story, tickets=(ticket(0, 60, **asked),)) == []
    (finding,) = judge(*story, tickets=(ticket(50, 60, **asked),))
    assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_who_wrote_only_his_own_files_is_not_accused() -> None:
    """By own_file: a private copy that others read."""
    (finding,) = judge(BEFORE, changed(40, file_uid=COLLEAGUE), read(90))
    assert answer(finding, "own_file").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_a_forged_save_neither_acquits_nor_accuses() -> None:
    """By saved_again: whoever wrote the shard can print that he published it."""
    (finding,) = judge(published(5), changed(40), published(50, "b", job="66"), read(90))
    assert answer(finding, "saved_again").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


PRINTED = read(50, "c", "66")
MANY = [published(50 + at, "b", job=f"{60 + at}") for at in range(SAVES_MAX)]
PRINTS: dict[str, tuple[list[Event], int]] = {
    "that it read still other bytes": ([*STORY, PRINTED], 1),
    "so, of what was published only": ([published(5), changed(40), PRINTED, read(90)], 1),
    "so, and the publisher wrote last": ([*STORY, PRINTED, changed(60, WRITER)], 0),
    "so, and nobody knows what was there": ([changed(40), PRINTED, read(90)], 0),
    "so, and others had written it before": ([published(5), changed(40), changed(45, OWNER), PRINTED, read(90)], 0),
}


@pytest.mark.parametrize(("events", "findings"), PRINTS.values(), ids=PRINTS)
def test_other_bytes_that_a_job_says_it_read_since_lower_the_hit(events: list[Event], findings: int) -> None:
    """By loaded_since: it may be what the writer printed in a job of his own.  In every order of arrival."""
    found = judge(*events)
    assert len(found) == findings
    for finding in found:
        assert (finding.effect, finding.alert, finding.actor) == ("read_tampered_dataset", False, "")
        assert answer(finding, "loaded_since").answer is Checked.NOT_CHECKED
    for order in list(permutations(events))[::5]:
        assert [canonical(each) for each in judge(*order)] == [canonical(each) for each in found]


@pytest.mark.parametrize("many", [MANY, [msgspec.structs.replace(each, event_time=each.event_time - 30_000) for each in MANY]])
def test_many_jobs_that_say_they_published_it_hide_nothing(many: list[Event]) -> None:
    """By saved_again: of more than are told of nobody knows the first, and one needs no more jobs than that to say so."""
    (finding,) = judge(BEFORE, published(5), changed(40, file_uid=COLLEAGUE), *many, read(90))
    assert (finding.alert, answer(finding, "saved_again").answer) == (False, Checked.NOT_CHECKED)


def test_bytes_that_come_again_accuse_nobody() -> None:
    """By known_bytes: a partial copy was made whole."""
    (finding,) = judge(BEFORE, changed(40), read(60, job="8"), changed(70), read(90, "a"))
    assert (finding.effect, finding.severity, finding.alert, finding.actor) == ("read_restored_dataset", Severity.MEDIUM, False, "")


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(*STORY, job_end(100, owner_uid=None, owner=""))
    assert answer(finding, "owner_or_service").missing == ("slurm_jobcomp", "sacct")
    assert (finding.alert, finding.actor) == (False, "")


def test_several_writers_are_not_one() -> None:
    """Nobody is named while others wrote, too."""
    (finding,) = judge(BEFORE, changed(40), changed(50, OTHER), read(90))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


@pytest.mark.parametrize("events", [[read(10, "a", "6"), read(20, "d", "61"), changed(40), read(90)]])
def test_what_an_unrecorded_hand_had_altered_before_names_nobody(events: list[Event]) -> None:
    """By altered_before: above the gate as before, in every order, and both reads are shown; a write on record between accounts for it."""
    for order in permutations(events):
        (finding,) = judge(*order)
        assert (finding.alert, finding.actor, finding.suspect) == (True, "", "u099")
        assert finding.actor_withheld == "the file had been altered before, and no record says by whom"
        assert answer(finding, "altered_before").answer is Checked.NOT_CHECKED
        assert {"former", "altered"} < {item.role for item in finding.evidence}
    (finding,) = judge(*events, changed(15, WRITER))
    assert (finding.actor, answer(finding, "altered_before").answer) == ("u099", Checked.EXCLUDED)


def test_other_bytes_that_a_watcher_hashed_behind_the_write_are_a_doubt() -> None:
    """By loaded_since: between them and those that were read lies a hand of which no record tells; an older hash says nothing."""
    for at, sha, alert in ((41, "c", False), (41, "b", True), (30, "c", True)):
        (finding,) = judge(BEFORE, changed(40), changed(at, sha256=sha * 64), read(90))
        assert (finding.alert, finding.actor) == (alert, "u099" if alert else "")
        assert (answer(finding, "loaded_since").answer is Checked.EXCLUDED) is alert


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late writes and late reads."""
    events = [published(5), BEFORE, changed(40), read(60, job="8"), changed(70, WRITER), changed(80), read(90, "c")]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::97]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base
