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
from pipeline.detect.site import require_known_detectors
from pipeline.errors import ConfigError
from pipeline.model.finding import Finding, canonical
from pipeline.model.ids import digest
from pipeline.runtime.local import LocalRuntime
from tests import build
from tests.build import COLLEAGUE, HOOK, MODULE, hook, imported, ms, write

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


@pytest.mark.parametrize(("until", "findings"), [(90.001, 0), (90, 1)])
def test_an_entry_of_an_allow_list_may_end(until: float, findings: int) -> None:
    """By the moment of what it is asked about."""
    entry = {"value": "b" * 64, "because": "the profiler's shim", "until": at(until)}
    story = write(40, COLLEAGUE, path=HOOK), hook(90)
    assert len(build.judge("p05_startup_hook", *story, at=build.site(detect={"hooks_allowed": (entry,)}))) == findings
