"""The form in which a finding cites its records."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.detector import once
from pipeline.model.finding import Evidence

RECORDS = [
    Evidence(role, f"e{number}", "", "auditd", 40, f"text {number % 2}", host)
    for role in ("cause", "written")
    for number in range(3)
    for host in ("", "gpu-012")
]


@given(st.lists(st.sampled_from(RECORDS)), st.randoms(use_true_random=False))
def test_each_record_is_cited_once_in_one_order(cited: list[Evidence], dice: random.Random) -> None:
    """Whatever the order in which it was come upon; the one that says its host stands for the one from before hosts were told."""
    found = once(cited)
    assert once(dice.sample(cited, len(cited))) == found
    assert {msgspec.structs.replace(item, host="") for item in cited} == {msgspec.structs.replace(item, host="") for item in found}
    assert len(found) == len({(item.role, item.event_id) for item in cited})
    assert all(item.host for item in found if msgspec.structs.replace(item, host="gpu-012") in cited)
