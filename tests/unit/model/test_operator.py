"""Whose account stands behind what was noted."""

import pytest

from pipeline.model.identity import Directory, Identity
from pipeline.model.operator import login_of, person_of, spoken_for

MAP = Directory([Identity(id="p-7", login="colleague", valid_to=1000), Identity(id="p-9", login="colleague", valid_from=2000)])


@pytest.mark.parametrize(
    ("operator", "login"),
    [
        ("u101@ops-1", "u101"),
        ("u101 through trainwatch.labels.v1", "u101"),
        ("u101@review through site.labels.v1", "u101"),
        ("root@ops-1 for u101", "root"),
        ("u101", "u101"),
        ("", ""),
    ],
)
def test_the_login_stands_first(operator: str, login: str) -> None:
    """With a host or a topic behind it."""
    assert login_of(operator) == login


def test_who_speaks_for_somebody_says_so_behind_his_account() -> None:
    """On a machine that many share the account alone says little."""
    assert [spoken_for(each) for each in ("root@ops-1 for u101", "u101 through a.b for u102", "u101@ops-1", "")] == ["u101", "u102", "", ""]


def test_a_login_may_pass_on() -> None:
    """Whoever has it, or had it last, counts; the map answers for no login that it does not know."""
    assert [person_of(MAP, "colleague@ops-1", at) for at in (500, 1500, 2500)] == ["p-7", "p-7", "p-9"]
    assert person_of(MAP, "p-7@ops-1", 500) == ""
    assert person_of(MAP, "@ops-1", 500) == ""
