"""`privacy.*`: where the key lies, what it changes, and what the stages are shown of the identity map."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.settings import ArtefactRootSettings, IdentitySettings, PrivacySettings, Settings
from tests import build

KEY = "a key for tests alone"


def site(**privacy: Any) -> Settings:
    """The site of the tests, with a home folder among its roots."""
    roots = (ArtefactRootSettings(path="/home/u012/env", kind="environment", owner="u012", writers=("u099", "svc")),)
    return build.settings(privacy=privacy, artefact_roots=roots, tickets=(build.ticket(0, 60),))


def key_file(folder: Path, text: str = KEY, mode: int = 0o600) -> Path:
    file = folder / "pseudonyms.key"
    file.write_text(f"{text}\n")
    file.chmod(mode)
    return file


def test_pseudonyms_need_a_key() -> None:
    """A hash without one is undone by trying all logins."""
    with pytest.raises(ValidationError, match="undone by guessing"):
        PrivacySettings(pseudonyms=True)


@pytest.mark.parametrize(
    ("text", "mode", "why"), [(KEY, 0o640, "others may read"), (KEY, 0o604, "others may read"), ("short", 0o600, "5 characters")]
)
def test_a_key_that_others_know_is_refused(tmp_path: Path, text: str, mode: int, why: str) -> None:
    """Readable by group or world, or short enough to be tried; what it is, is never told."""
    file = key_file(tmp_path, text, mode)
    with pytest.raises(ConfigError, match=why) as caught:
        site(pseudonyms=True, key_file=file).veil()
    assert text not in f"{caught.value} {caught.value.advice}"


def test_a_file_and_the_environment_give_the_same(tmp_path: Path) -> None:
    """The first line, without what ends it."""
    by_file = site(pseudonyms=True, key_file=key_file(tmp_path)).veiled()
    assert by_file.identities == site(pseudonyms=True, key=KEY).veiled().identities


def test_the_key_is_not_shown() -> None:
    """Neither by the settings nor by the veil made of them."""
    settings = site(pseudonyms=True, key=KEY)
    assert KEY not in f"{settings!r} {settings.model_dump_json()} {settings.veil()!r} {vars(settings.veil())}"


def test_stages_see_nobody_of_the_map() -> None:
    """Identities, tickets and roots under other names; roles, teams, validity and services as they are; the digest as it was."""
    settings = site(pseudonyms=True, key=KEY)
    seen = settings.veiled()
    text = repr((seen.identities, seen.tickets, seen.artefact_roots))
    assert not [name for name in ("u012", "u099", "adm1", "5012", "5099") if name in text]
    assert [(each.role, each.team) for each in seen.identities] == [(each.role, each.team) for each in settings.identities]
    assert "svc" in {each.id for each in seen.identities}
    owner = seen.identities[0]
    assert seen.artefact_roots[0].owner == owner.id
    assert seen.artefact_roots[0].path == f"/home/{owner.login}/env"
    assert seen.veiled() is seen
    assert seen.digest() == settings.digest()


def test_people_of_two_clusters_with_one_uid_stay_two() -> None:
    """Under other names, too: clusters are nobody's."""
    people = tuple(
        IdentitySettings(id=who, uid=5099, login="u099", clusters=(where,)) for who, where in (("u099", "east"), ("w77", "west"))
    )
    settings = build.settings(privacy={"pseudonyms": True, "key": KEY}, identities=people)
    pseudonyms = settings.veil().pseudonyms
    assert pseudonyms is not None
    uid, login, map_ = pseudonyms.uid(5099), pseudonyms.name("u099"), settings.veiled().directory()
    for who, where in (("u099", "east"), ("w77", "west")):
        for found in (map_.of(where).by_uid(uid, 0), map_.of(where).by_login(login, 0)):
            assert (found and found.id) == pseudonyms.name(who)


def test_a_ticket_named_after_a_person_is_told_under_another_name() -> None:
    """Its number stands in the checklist of every finding that it explains."""
    ticket = build.ticket(0, 60, id="stand-in for u099")
    settings = build.settings(privacy={"pseudonyms": True, "key": KEY}, tickets=(ticket,))
    pseudonyms = settings.veil().pseudonyms
    assert pseudonyms is not None
    assert [each.id for each in settings.veiled().tickets] == [f"stand-in for {pseudonyms.name('u099')}"]


def test_without_pseudonyms_nothing_is_changed() -> None:
    """The same object, the same digest."""
    settings = site()
    assert settings.veiled() is settings
    assert settings.digest() == build.settings(artefact_roots=settings.artefact_roots, tickets=settings.tickets).digest()


def test_the_digest_names_the_key_and_the_mask() -> None:
    """Who turns pseudonyms on, takes another key or masks another field gets other bodies; the key cannot be told from the digest."""
    digests = [
        site().digest(),
        site(pseudonyms=True, key=KEY).digest(),
        site(pseudonyms=True, key="another key for tests").digest(),
        site(mask=("arguments",)).digest(),
        site(mask=("text",)).digest(),
    ]
    assert len(set(digests)) == len(digests)


def test_a_mask_that_masks_nothing_is_refused() -> None:
    """A typo would leave the field open."""
    with pytest.raises(ValidationError, match="mask"):
        PrivacySettings.model_validate({"mask": ["argument"]})
