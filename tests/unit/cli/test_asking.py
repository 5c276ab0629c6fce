"""What commands ask alike."""

import os

import click
import pytest

from pipeline.cli import asking
from pipeline.errors import ConfigError


def test_a_detector_is_known_by_its_number() -> None:
    """As an operator says it; twice is once."""
    assert asking.detector_ids(["p03", "p03_foreign_cancel"]) == {"p03_foreign_cancel"}
    assert asking.detector_ids([]) == frozenset()


@pytest.mark.parametrize(
    ("name", "advice"), [("p03_foreign_cancl", "p03_foreign_cancel"), ("zzz", "trainwatch rules"), ("", "trainwatch rules")]
)
def test_what_is_no_detector_is_refused(name: str, advice: str) -> None:
    """With the likely one."""
    with pytest.raises(ConfigError) as refused:
        asking.detector_ids([name])
    assert advice in refused.value.advice


def test_the_one_id_that_begins_so(capsys: pytest.CaptureFixture[str]) -> None:
    """None ends with 4 and what to type, several are wrong usage with the first of them."""
    assert asking.the_one(["abc"], "a", "none") == "abc"
    with pytest.raises(SystemExit) as ended:
        asking.the_one([], "a", "there is none")
    assert ended.value.code == asking.NOT_FOUND
    assert capsys.readouterr().err == "there is none\n"
    with pytest.raises(click.UsageError, match="2 ids or more: abc, abd"):
        asking.the_one(["abc", "abd"], "ab", "none")


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a uid may have none: the entry is written all the same."""
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    assert asking.account().startswith("uid-987654321@")


def test_nobody_chooses_his_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever is named would label as somebody else, and be acquitted."""
    own = asking.account()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "u101")
    assert asking.account() == own
