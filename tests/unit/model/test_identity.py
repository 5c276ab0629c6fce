"""The identity map: every kind of name leads to one identity while it is valid, and an unknown name stays what it is."""

import pytest

from pipeline.model.identity import NAME_KINDS, ROOT, Directory, Identity
from pipeline.model.ids import digest
from pipeline.settings import IdentitySettings, Settings

FROM, UNTIL = 1_000, 2_000
ARN = "arn:aws:iam::123456789012:user/u017"
ROLE = "arn:aws:sts::123456789012:assumed-role/trainer"
U017 = Identity(
    id="u017",
    uid=5017,
    login="u017",
    names=(
        ("login", "u017-admin"),
        ("kubernetes", "oidc:u017@corp.example"),
        ("cloud", ARN),
        ("cloud", "AKIDEXAMPLE"),
        ("bastion", "seventeen"),
        ("git", "u017-dev"),
        ("key", "SHA256:abc"),
        ("email", "U017@example.org"),
    ),
    valid_from=FROM,
    valid_to=UNTIL,
)
SERVICE = Identity(id="resharder", names=(("kubernetes", "system:serviceaccount:llm:resharder"), ("cloud", ROLE)), role="service")
LATER = Identity(id="u018", uid=5017, login="u017", valid_from=UNTIL)
DIRECTORY = Directory([U017, SERVICE, LATER])

KNOWN = [
    ("login", "u017", "u017"),
    ("login", "u017-admin", "u017"),
    ("login", "u017@example.org", "u017"),
    ("login", "oidc:u017@example.org", "u017"),
    ("login", "system:serviceaccount:llm:resharder", "resharder"),
    ("kubernetes", "oidc:u017@corp.example", "u017"),
    ("kubernetes", "oidc:u017@example.org", "u017"),
    ("kubernetes", "u017@EXAMPLE.org", "u017"),
    ("kubernetes", "system:serviceaccount:llm:resharder", "resharder"),
    ("cloud", ARN, "u017"),
    ("cloud", "AKIDEXAMPLE", "u017"),
    ("cloud", ROLE, "resharder"),
    ("cloud", f"{ROLE}/night-run", "resharder"),
    ("bastion", "seventeen", "u017"),
    ("bastion", "u017@example.org", "u017"),
    ("git", "u017-dev", "u017"),
    ("key", "SHA256:abc", "u017"),
    ("email", "u017@example.org", "u017"),
]
UNKNOWN = [
    ("login", "u099", "login:u099"),
    ("kubernetes", "u017", "kubernetes:u017"),  # another kind's name
    ("git", "u017", "git:u017"),
    ("cloud", "arn:aws:sts::123456789012:assumed-role/other/u017@example.org", None),  # a session is called as its caller likes
    ("cloud", "AROAEXAMPLE:u017@example.org", None),
    ("cloud", "AWS:AROAEXAMPLE:u017@example.org", None),
    ("cloud", "arn:aws:iam::999999999999:user/u017", None),  # another account's
    ("cloud", f"{ROLE}x/night", None),
    ("key", "SHA256:abcd", "key:SHA256:abcd"),
    ("kubernetes", "system:serviceaccount:other:resharder", None),
    ("email", "u099@example.org", None),
]


@pytest.mark.parametrize(("kind", "name", "identity"), KNOWN)
def test_a_known_name_leads_to_its_identity(kind: str, name: str, identity: str) -> None:
    """Whatever the source calls them."""
    found = DIRECTORY.by_name(kind, name, FROM)
    assert found is not None
    assert found.id == identity
    assert DIRECTORY.known(kind, name, FROM) is found


@pytest.mark.parametrize(("kind", "name", "kept"), UNKNOWN)
def test_an_unknown_name_is_kept_as_itself(kind: str, name: str, kept: str | None) -> None:
    """With its kind, without role or uid: nothing is guessed."""
    found = DIRECTORY.by_name(kind, name, FROM)
    assert found is not None
    assert (found.id, found.uid, found.role) == (kept or f"{kind}:{name}", None, "")
    assert DIRECTORY.known(kind, name, FROM) is None


def test_no_name_is_nobody_and_root_is_root() -> None:
    """In every kind, and for uids."""
    assert all(DIRECTORY.by_name(kind, "", FROM) is None for kind in NAME_KINDS)
    assert DIRECTORY.by_login("root", FROM) is DIRECTORY.by_uid(0, FROM) is ROOT
    assert DIRECTORY.by_name("kubernetes", "root", FROM) != ROOT


@pytest.mark.parametrize(("at", "who"), [(FROM - 1, "?"), (FROM, "u017"), (UNTIL - 1, "u017"), (UNTIL, "u018")])
def test_validity_is_half_open(at: int, who: str) -> None:
    """For names as for uids: one ends in the moment in which the next begins."""
    by_uid, by_login = DIRECTORY.by_uid(5017, at), DIRECTORY.by_login("u017", at)
    assert by_uid is not None
    assert by_login is not None
    assert (by_uid.id, by_login.id) == (("uid:5017", "login:u017") if who == "?" else (who, who))
    git = DIRECTORY.by_name("git", "u017-dev", at)
    assert git is not None
    assert git.id == ("u017" if who == "u017" else "git:u017-dev")


def test_settings_and_lookup_have_the_same_kinds() -> None:
    """A name of each kind can be written in the settings, and is found."""
    entry = IdentitySettings.model_validate({"id": "u017", "names": {kind: [f"name-{kind}"] for kind in NAME_KINDS}})
    directory = Directory([entry.identity()])
    assert {kind for kind in NAME_KINDS if directory.known(kind, f"name-{kind}", 0)} == set(NAME_KINDS)


def test_what_stands_for_a_name_is_under_the_site_s_key() -> None:
    """The same at each replay, another at another site; without a key it is a plain digest, which a list of names undoes."""
    one, other, none = (Directory([U017], key=key) for key in (b"one", b"other", b""))
    assert one.label("by", "u017") == Directory([], key=b"one").label("by", "u017")
    assert len({each.label("by", "u017") for each in (one, other, none)}) == 3
    assert none.label("by", "u017") == digest("by", "u017")
    assert one.label("by", "u017") != one.label("by", "u018")


def test_the_key_of_pseudonyms_is_the_key_of_labels() -> None:
    """Whether names are replaced or not."""
    with_key = Settings.model_validate({"privacy": {"key": "0123456789abcdef"}})
    assert (with_key.directory().key, Settings().directory().key) == (b"0123456789abcdef", b"")


def test_what_was_told_of_a_uid_that_nobody_has_any_more() -> None:
    """Stands under whoever had it: acts after the last day are of the account that he left."""
    known = [Identity(id="u099", uid=5099, valid_to=100), Identity(id="u200", uid=5099, valid_to=300), Identity(id="u050", uid=50)]
    assert [*Directory(known).told_as("uid:5099", 500)] == ["uid:5099", "u099", "u200"]
    assert [*Directory([*known, Identity(id="u300", uid=5099, valid_from=600)]).told_as("uid:5099", 500)] == ["uid:5099", "u099", "u200"]
    assert [*Directory(known).told_as("uid:50")] == ["uid:50", "u050"]
    assert [*Directory(known).told_as("uid:7")] == ["uid:7"]


# --- clusters that number people apart ----------------------------------------------------------------------------------------------

OF_EAST = Identity(
    id="u099", uid=5099, login="u001", names=(("key", "SHA256:u001"), ("kubernetes", "u001"), ("login", "u001-a")), clusters=("east",)
)
OF_WEST = Identity(id="w77", uid=5099, login="u001", names=(("kubernetes", "u001"),), clusters=("west",))
IN_BOTH = [
    Identity(id="u012", uid=5012, login="u012", names=(("email", "u012@example.org"),), clusters=("east", "north")),
    Identity(id="u012", uid=7001, login="u7001", clusters=("west",)),
]
OF_ALL = Identity(id="ops1", uid=4001, login="ops1")
APART = Directory([OF_EAST, OF_WEST, *IN_BOTH, OF_ALL], key=b"one")


@pytest.mark.parametrize("order", [1, -1])
def test_each_cluster_gives_uids_and_logins_to_its_own_people(order: int) -> None:
    """Whatever comes first in the map; who has an account in none of its entries is nobody there."""
    apart = Directory(APART.identities[::order])
    found = {}
    for cluster in ("east", "west", "south"):
        there = apart.of(cluster)
        for uid, name in ((5099, "u001"), (4001, "ops1")):
            asked = there.by_uid(uid, FROM), there.by_login(name, FROM), there.by_name("kubernetes", name, FROM)
            found[cluster, name] = tuple(each.id for each in asked if each is not None)
    assert found == {
        ("east", "u001"): ("u099", "u099", "u099"),
        ("west", "u001"): ("w77", "w77", "w77"),
        ("south", "u001"): ("uid:5099", "login:u001", "kubernetes:u001"),
        **{(cluster, "ops1"): ("ops1", "ops1", "kubernetes:ops1") for cluster in ("east", "west", "south")},
    }


def test_one_person_may_have_other_numbers_elsewhere() -> None:
    """An entry for each cluster; a name that no cluster gives is his in all."""
    ids = {(cluster, uid): (APART.of(cluster).by_uid(uid, FROM) or ROOT).id for cluster in ("east", "west") for uid in (5012, 7001)}
    assert ids == {("east", 5012): "u012", ("east", 7001): "uid:7001", ("west", 5012): "uid:5012", ("west", 7001): "u012"}
    mail = APART.of("west").by_name("bastion", "u012@example.org", FROM)
    key = APART.of("west").held("key", "SHA256:u001", FROM)
    assert (mail and mail.id, key and (key.id, key.uid, key.login)) == ("u012", ("u099", None, ""))
    assert [*APART.of("west").owned("u099", "key")] == [("SHA256:u001", 0, 2**62)]


def test_what_was_told_of_a_uid_was_told_of_its_own_cluster() -> None:
    """Of a uid that a map of before did not know, and of a login."""
    assert [*APART.of("west").told_as("uid:5099")] == ["uid:5099", "w77"]
    assert [*APART.of("west").told_as("u099")] == ["u099"]
    assert [*APART.of("east").told_as("u099")] == ["u099", "login:u001", "u001"]
    assert APART.of("west").former(5012, "u012", UNTIL) is None


def test_where_all_clusters_have_the_same_accounts_there_is_one_map() -> None:
    """And of clusters that no identity names another, the same for all of them."""
    assert DIRECTORY.of("east") is DIRECTORY
    assert APART.of("east") is APART.of("east").of("west")
    assert APART.of("one") is APART.of("another")
    assert APART.of("one").uids == {4001}
    assert APART.of("one").label("by", "u099") == APART.label("by", "u099")
