"""`label`: what it refuses before anything is asked, and how sure a precision is."""

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.detect.chance import wilson
from pipeline.sink.labels import Labelled, Quality, Said, Word, custody_of, explanations, person, refusal
from tests import build


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("label",), "say which finding"),
        (("label", "0123456789"), "say which finding"),
        (("label", "0123456789", "maybe"), "'true', 'false', 'benign'"),
        (("label", "0123456789", "benign"), "Write --because NAME"),
        (("label", "0123456789", "true", "--because", "admin_ticket"), "benign needs an explanation, the others none.\n"),
        (("label", "0123456789", "benign", "--because", "luck"), "admin_ticket"),
        (("label", "0123456789", "true", "--note", "x" * 2001), "a note takes 2000 characters, a name 100.\n"),
        (("label", "--summary", "--list"), "stand alone"),
        (("label", "0123456789", "true", "--list"), "--list takes FINDING"),
    ],
)
def test_a_label_that_says_nothing_is_wrong_usage(words: tuple[str, ...], told: str) -> None:
    """Exit 2 with what to type, before a server is asked."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_explanations_are_those_of_the_detectors() -> None:
    """So that a label and a checklist speak of the same thing."""
    assert {"admin_ticket", "owner_or_service", "system_daemon"} <= set(explanations())


def test_a_finding_is_benign_by_what_its_own_detector_knows() -> None:
    """Whoever names another one is told those; of a detector that this release does not have, any may be right."""
    said = Said(finding="0123456789", label=Word.BENIGN, account="u101", because="saver")
    assert refusal(said) == refusal(said, "p06_checkpoint_tamper") == refusal(said, "p99_of_a_later_release") == ""
    told = refusal(said, "p03_foreign_cancel")
    assert told.startswith("'saver' is no explanation that p03_foreign_cancel knows; known are admin_ticket, controller_of_cluster, ")
    assert set(explanations("p03_foreign_cancel")) < set(explanations())
    assert all(name in told for name in explanations("p03_foreign_cancel"))


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (0, 0, 0.0, 1.0),  # nothing is known
        (3, 3, 0.4385, 1.0),  # three of three is not certainty
        (0, 3, 0.0, 0.5615),
        (90, 100, 0.8256, 0.9448),  # values of the Wilson score interval, Newcombe 1998
    ],
)
def test_a_precision_has_bounds(right: int, of: int, low: float, high: float) -> None:
    """Of 95 %, within 0 and 1."""
    assert wilson(right, of) == pytest.approx((low, high), abs=1e-4)


def test_precision_counts_what_was_labelled() -> None:
    """Findings that nobody looked at say nothing; a benign one was not interference."""
    assert Quality("p01_foreign_kill", 50, 40, 4, 3, 0, 1).precision == 0.75
    assert Quality("p01_foreign_kill", 50, 40, 0, 0, 0, 0).precision is None


@pytest.mark.parametrize(
    ("account", "on_behalf_of", "whose"),
    [("u099@ops-1", "u098", "u099"), ("root@ops-1", "u099", "u099"), ("root@ops-1", "night shift", ""), ("root@ops-1", "", "")],
)
def test_a_label_is_the_accounts_and_else_his_for_whom_it_speaks(account: str, on_behalf_of: str, whose: str) -> None:
    """Whoever is a candidate cannot hand his word to another; nor is it another's where he uses an account that nobody has."""
    said = Said(finding="0123456789", label=Word.FALSE, account=account, on_behalf_of=on_behalf_of)
    labelled = Labelled(finding_id="0123456789", detector="p01_foreign_kill", detector_version=1, revision=1)
    assert person(build.settings(), said, custody_of(said, labelled, account, build.T0)) == whose
