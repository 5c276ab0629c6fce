"""What a finding says of the harmless explanations: all of its detector's, each with the record or the silence that answered.

The nine of patterns 2.3 and where they are asked:

    1 owner, service   2 preemption   3 memory   4 hardware   5 time limit   6 ticket   7 siblings   8 the owner's own change   9 lemon node
"""

import pytest

from pipeline.detect.detector import registry
from tests.unit.detect.stories import STORIES, Story

OF_PATTERNS = {
    "owner_or_service": ("p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p11", "p12"),  # of a write: the owner's own change
    "preempted": ("p01", "p03"),
    "out_of_memory": ("p01", "p02", "p03"),
    "hardware_fault": ("p01", "p02", "p03"),
    "time_limit": ("p01", "p03"),
    "admin_ticket": ("p01", "p02", "p03", "p04", "p05", "p06", "p07", "p08", "p11", "p12"),
    "launcher_cleanup": ("p01",),
    "sibling_first": ("p02",),
    "lemon_node": ("p14",),
}
# Some findings of a detector have another act behind them than the others, and not all that is asked is to the point.
ASIDE = {"cancel_refused", "access_after_end", "entered_by_other", "opened_with_foreign_key", "two_places"}


@pytest.mark.parametrize(("name", "asked_by"), OF_PATTERNS.items(), ids=OF_PATTERNS)
def test_each_explanation_of_the_patterns_is_asked(name: str, asked_by: tuple[str, ...]) -> None:
    """By the detectors of the acts that it may explain."""
    found = {each.meta.id[:3] for each in registry() if name in {explain.__name__ for explain in each.meta.benign}}
    assert found == set(asked_by)


@pytest.mark.parametrize("story", STORIES)
def test_a_finding_lists_what_was_asked_and_what_answered(story: Story) -> None:
    """Excluded by a record or a note, or not checked and why; a confirmed one would have ended it."""
    asked = [explain.__name__ for explain in story.detector.meta.benign]
    for finding in story.findings():
        listed = [item.name for item in finding.checklist]
        assert listed == [name for name in asked if name in listed]
        assert finding.effect in ASIDE or listed == asked
        assert set(story.detector.meta.required) <= set(listed) or finding.effect in ASIDE
        assert all(item.answer != "confirmed" and (item.by or item.note or item.missing) for item in finding.checklist)
