"""Who is suspected stands in no part of a finding but `actor`, which the gates decide on: not as a word, and not as a hash without a key.

Every firing story of every detector is told again, and what is said is searched for the suspect; one of each, under two sites' keys.
"""

import re

import msgspec
import pytest

from pipeline.model.finding import canonical
from pipeline.model.incident import label_of
from tests import build
from tests.unit.detect.stories import FIRST, STORIES, Story

LOGINS = {each.id: (each.id, str(each.uid)) for each in build.IDENTITIES}
IS_HASH = re.compile("[0-9a-f]{32}")


@pytest.mark.parametrize("story", STORIES)
def test_who_is_suspected_stands_nowhere_but_in_the_name(story: Story) -> None:
    """Login, identity and uid, as whole words."""
    found = story.findings()
    assert found
    for each in found:
        cited = tuple(msgspec.structs.replace(item, event_id="") for item in each.evidence)
        checked = tuple(msgspec.structs.replace(item, by="") for item in each.checklist)
        body = canonical(msgspec.structs.replace(each, actor="", evidence=cited, checklist=checked)).decode()
        words = set(re.findall(r"[A-Za-z0-9]+", body))
        assert not words & set(LOGINS.get(each.suspect, ())), each.suspect


@pytest.mark.parametrize("story", FIRST)
def test_a_hash_in_the_place_of_a_name_is_under_the_site_s_key(story: Story) -> None:
    """At another site it is another one, so a list of names cannot undo it; and the same at each replay."""
    one, again, other = (story.findings(privacy={"key": each * 16}) for each in "aab")
    assert [each.id for each in one] == [each.id for each in again]
    for each, elsewhere in zip(one, other, strict=True):
        if IS_HASH.fullmatch(each.anchor):
            assert each.anchor != elsewhere.anchor
            assert each.id != elsewhere.id


def test_the_label_of_an_incident_is_under_the_key_too() -> None:
    """Whoever has none cannot try names."""
    assert len({label_of(build.CLUSTER, "u099", key) for key in (b"", b"one", b"other")}) == 3
