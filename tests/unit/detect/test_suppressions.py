"""Suppressions and allow-lists with an end: what they hold back, of what, until when, and that it stays a finding.

# P04; the effect is the import @90
#
#   from             until              suppressed
#   .                [90.001            yes
#   .                [90                no: the end is exclusive
#   [90              [100               yes
#   [90.001          [100               no
"""

from typing import Any

import pytest

from pipeline.detect import gates
from pipeline.detect.cohort import Cohort
from pipeline.detect.detector import registry
from pipeline.detect.site import require_known_detectors
from pipeline.errors import ConfigError
from pipeline.model.finding import Checked, Finding, canonical
from pipeline.model.ids import digest
from pipeline.runtime.local import LocalRuntime
from tests import build
from tests.build import COLLEAGUE, HOOK, MODULE, PATH, hook, imported, job_end, load, ms, rank_failed, requested, save, write
from tests.unit.detect.cohorts import FILE, exposure, paced

ID = "p04_environment_tamper"
STORY = imported(10, "a", job="6"), write(40, COLLEAGUE, path=MODULE), imported(90)
WHY = "torch is rolled out by hand"


def at(seconds: float) -> float:
    return ms(seconds) / 1000


def suppression(until: float = 100, **fields: Any) -> dict[str, Any]:
    where = fields if fields.keys() & {"subject", "path", "owner"} else {**fields, "path": MODULE}
    return {"detector": ID, "because": WHY, "until": at(until), **where}


def judge(*suppressions: dict[str, Any]) -> Finding:
    (finding,) = build.judge(ID, *STORY, at=build.site(detect={"suppressions": suppressions}))
    return finding


def test_a_suppressed_hit_is_a_finding_that_alerts_and_names_nobody() -> None:
    """It says until when and why; all else is as it would be, under the same id."""
    heard, held = judge(), judge(suppression())
    assert (heard.alert, heard.actor) == (True, "u099")
    assert (held.alert, held.actor) == (False, "")
    assert held.gate.startswith(gates.SUPPRESSED)
    assert held.gate.endswith(f"Z: {WHY}")
    assert held.actor_withheld == f"below the gate: {held.gate}"
    assert (held.id, held.suspect, held.checklist, held.evidence) == (heard.id, heard.suspect, heard.checklist, heard.evidence)
    assert digest(canonical(held)) != digest(canonical(heard))


HOLDS_BACK = [
    (suppression(path="/ckpt/env"), True),
    (suppression(path="/ckpt/env/"), True),
    (suppression(path="/ckpt/en"), False),
    (suppression(path="/data"), False),
    (suppression(subject=build.JOB), True),
    (suppression(subject="6"), False),
    (suppression(subject=build.JOB, cluster=build.CLUSTER), True),
    (suppression(subject=build.JOB, cluster="west"), False),  # which has a job of that number, too
    (suppression(path="/ckpt/env", cluster="west"), False),
    (suppression(owner="u012"), True),
    (suppression(owner="u099"), False),  # who is suspected is not who is asked for
    (suppression(owner="u012", path="/data"), False),
    (suppression(detector="p05_startup_hook"), False),
    (suppression(90.001), True),
    (suppression(90), False),
    (suppression(**{"from": at(90)}), True),
    (suppression(**{"from": at(90.001)}), False),
]


@pytest.mark.parametrize(("one", "holds"), HOLDS_BACK)
def test_a_suppression_holds_back_what_it_names_while_it_lasts(one: dict[str, Any], holds: bool) -> None:
    """By detector, file or folder, subject and owner, all that are given; by the moment of the effect."""
    assert judge(one).alert is not holds


def test_an_end_from_inside_is_held_back_by_the_file_that_was_loaded() -> None:
    """The finding is about the attempt; the file is what it leads to."""
    for path, alert in ((PATH, False), ("/ckpt", False), ("/data", True)):
        one = suppression(detector="p02_kill_from_inside", path=path)
        site = build.site(detect={"suppressions": [one]})
        (finding,) = build.judge("p02_kill_from_inside", save(10), write(40), load(90), requested(97), rank_failed(98), job_end(), at=site)
        assert finding.alert is alert


@pytest.mark.parametrize(("path", "alert"), [(FILE, True), ("/shared", False), ("/shared/env", True), ("/data", True)])
def test_a_cohort_is_held_back_by_all_the_files_that_its_members_loaded(path: str, alert: bool) -> None:
    """One that the site does not put up with is enough for an alert."""
    files = (exposure("6"), exposure("6", path="/shared/b.py"))
    members = [paced(number, 1000 + number) for number in range(8)] + [paced(number, 1400, exposed=files) for number in range(10, 15)]
    one = suppression(detector="p09_injected_delay", path=path, until=1e7)
    (detector,) = [each for each in registry("cohort") if each.meta.id == "p09_injected_delay"]
    site = build.site(detect={"suppressions": [one]})
    (finding,) = detector.judge(Cohort(site, "main", "configuration/x", members), build.now())
    assert finding.alert is alert


@pytest.mark.parametrize(("path", "alert"), [("/home/u012/chaos", False), ("/home/u012/chao", True)])
def test_what_is_about_no_file_is_held_back_by_the_folder_in_which_the_job_ran(path: str, alert: bool) -> None:
    """Its owner chose it, and wants to be tried there."""
    started = build.allocation(work_dir="/home/u012/chaos/7")
    site = build.site(detect={"suppressions": [suppression(1000, detector="p03_foreign_cancel", path=path)]})
    (finding,) = build.judge("p03_foreign_cancel", started, build.cancel_request(98), job_end(state="CANCELLED"), at=site)
    assert finding.alert is alert


def test_of_several_suppressions_the_first_that_holds_is_told() -> None:
    """An expired one hides nothing behind it."""
    assert judge(suppression(50), suppression(owner="u012", because="a round of tests")).gate.endswith(": a round of tests")


def test_what_is_below_the_gate_anyhow_says_what_it_lacks() -> None:
    """So the suppressed ones are the alerts that suppression cost."""
    own = STORY[0], write(40, COLLEAGUE, path=MODULE, file_uid=COLLEAGUE), STORY[2]
    (finding,) = build.judge(ID, *own, at=build.site(detect={"suppressions": [suppression()]}))
    assert finding.gate.startswith("not checked: ")


def test_an_unknown_detector_is_refused_before_anything_runs() -> None:
    """A typo would hold nothing back, and nobody would notice."""
    settings = build.settings(detect={"suppressions": [suppression(detector="p04")]})
    with pytest.raises(ConfigError, match=r"no detector p04$") as caught:
        LocalRuntime(settings, 1)
    assert caught.value.advice
    require_known_detectors(build.settings(detect={"suppressions": [suppression()]}))


def test_a_suppression_speaks_of_people_by_the_names_that_are_told() -> None:
    """Under pseudonyms it holds back the same, and its reason tells no name."""
    privacy = {"pseudonyms": True, "key": "a key for tests alone"}
    given = suppression(owner="u012", because="agreed with u099")
    settings = build.settings(detect={"suppressions": [given]}, privacy=privacy)
    (veiled,) = settings.veiled().detect.suppressions
    pseudonyms = settings.veil().pseudonyms
    assert pseudonyms is not None
    assert veiled.owner == pseudonyms.name("u012")
    assert veiled.because == f"agreed with {pseudonyms.name('u099')}"
    assert settings.veiled().digest() == settings.digest()


@pytest.mark.parametrize(("until", "answer"), [(90.001, Checked.NOT_CHECKED), (90, Checked.EXCLUDED)])
def test_a_name_that_ordinary_hooks_have_may_end(until: float, answer: Checked) -> None:
    """A pattern is an entry like others."""
    entry = {"value": "sitecustom*", "because": "the new profiler is called so", "until": at(until)}
    story = write(40, COLLEAGUE, path=HOOK), hook(90)
    (finding,) = build.judge("p05_startup_hook", *story, at=build.site(detect={"hook_names_known": (entry,)}))
    assert build.answer(finding, "known_hook").answer is answer


@pytest.mark.parametrize(("until", "findings"), [(90.001, 0), (90, 1)])
def test_an_entry_of_an_allow_list_may_end(until: float, findings: int) -> None:
    """By the moment of what it is asked about."""
    entry = {"value": "b" * 64, "because": "the profiler's shim", "until": at(until)}
    story = write(40, COLLEAGUE, path=HOOK), hook(90)
    assert len(build.judge("p05_startup_hook", *story, at=build.site(detect={"hooks_allowed": (entry,)}))) == findings
