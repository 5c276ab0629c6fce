"""Pseudonyms: who has no key learns nothing, two people never share a number, and what is judged by names goes on working."""

import re
import typing

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.model.events import (
    AccessLine,
    AnyBody,
    AuditRecord,
    Body,
    JobRecord,
    KubernetesRequest,
    Login,
    ObjectAccess,
    PrivilegeUsed,
    ProcessRun,
    SessionChanged,
)
from pipeline.model.ids import UNSET_UID
from pipeline.model.privacy import MASKABLE, MASKED, NAMES, PLAIN, UIDS, Pseudonyms, Veil
from tests.property.profile import examples

PEOPLE = ("u017", "u017-dev", "u099", "u017@example.org", "SHA256:m2Tq")
PSEUDONYM = "p-[0-9a-f]{10}"


def pseudonyms(key: bytes = b"a key for tests alone") -> Pseudonyms:
    return Pseudonyms(key, PEOPLE, ("svc",))


NAMED = [
    ("u017", PSEUDONYM),
    ("nobody-knows-me", PSEUDONYM),
    ("oidc:u017@example.org", f"oidc:{PSEUDONYM}@masked"),
    ("ldap:u017", f"ldap:{PSEUDONYM}"),
    ("arn:aws:iam::123456789012:user/u017", f"arn:aws:iam::123456789012:user/{PSEUDONYM}"),
    ("arn:aws:sts::123456789012:assumed-role/train/u017", f"arn:aws:sts::123456789012:assumed-role/{PSEUDONYM}/{PSEUDONYM}"),
    ("ED25519 SHA256:m2Tq", f"ED25519 SHA256:{PSEUDONYM}"),
    ("RSA-CERT SHA256:m2Tq ID u017 (serial 3) CA RSA SHA256:zz", f"RSA-CERT SHA256:{PSEUDONYM} ID {PSEUDONYM} .*CA RSA SHA256:{PSEUDONYM}"),
    ("u017(uid=5017)", rf"{PSEUDONYM}\(uid=[0-9]{{4,10}}\)"),
    ("5017", "[0-9]{4,10}"),
    ("uid:5017", "uid:[0-9]{4,10}"),
    ("u017:hunter2", f"{PSEUDONYM}:{PSEUDONYM}"),
    ("u017@example.org:x", f"{PSEUDONYM}:{PSEUDONYM}"),
    ("u017:", f"{PSEUDONYM}:"),
]


@pytest.mark.parametrize(("name", "pattern"), NAMED, ids=lambda value: str(value)[:30])
def test_a_name_is_a_keyed_hash(name: str, pattern: str) -> None:
    """Of fixed length, known to the map or not; what kind of name it is can still be seen; another key gives another one."""
    found = pseudonyms().name(name)
    assert re.fullmatch(pattern, found)
    assert found == pseudonyms().name(name) != pseudonyms(b"another key of a site").name(name)
    assert not re.search("u017|5017|m2Tq|example|nobody-knows", found)


def test_what_the_map_has_before_names_is_kept() -> None:
    """A site's own word for where its names come from is nobody's name."""
    assert re.fullmatch(f"corp:{PSEUDONYM}", Pseudonyms(b"a key for tests alone", ("corp:u017",), ()).name("corp:u099"))


def test_an_endless_name_is_not_remembered() -> None:
    """Whoever writes a line writes its names: they must not fill the memory of a worker."""
    told = pseudonyms()
    told.name("a" * 1_000_000)
    assert told._remembered.cache_info().currsize == 0


def test_an_endless_name_is_not_looked_for() -> None:
    """With a pattern as long as the text the search would cost the square; nobody is called so."""
    assert pseudonyms().text("a " * 400, ("a " * 200,)) == "a " * 400


@pytest.mark.parametrize("name", ["", "root", "svc", "system:serviceaccount:llm:resharder", "990", "4294967295", "?"])
def test_what_is_no_person_keeps_its_name(name: str) -> None:
    """Root, services, what Kubernetes itself is called, the system's own numbers."""
    assert pseudonyms().name(name) == name


TEXTS = [
    "/home/u345/run", "~u345/run", "u017-dev/x", "a_u017_b", "rm /scratch/u017/x", "CANCELLED by uid 5017", "auid=5017", "UID:5017 pages",
    '"uid": 5017', "user 5017", "mail stranger.one@example.org", "key SHA256:abc/def+1", "user=u345 rhost", '"userName":"u345"',
    "/users/u345/run", "/homes/u345", "/user/u017/x", 'AUID="u345"', "uid=5017(u345)", "/home/g/u017",
    "logname=u345", "UserId=u345(5017) GroupId=llm", "owner u017(5017)", "CANCELLED by 5017", "scp u345@gpu-012:/tmp/x .",
    "groups=5017(u017)", "groups=100(users),5017(u017),27(sudo)",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_searched_for_names(text: str) -> None:
    """Known names as words, and whatever stands where names stand."""
    found = pseudonyms().text(text)
    assert not re.search("u017|u345|5017|stranger|example|abc", found), found
    assert found != text


@pytest.mark.parametrize("text", ["u0171", "xu017", "pid 5017", "port=5017", "uid=0", "JobId=5017", "owner: foreign", "/ckpt/step_5017.pt"])
def test_text_without_names_is_left_alone(text: str) -> None:
    """Part of a longer word, numbers that are no uid."""
    assert pseudonyms().text(text) == text


@given(st.lists(st.sampled_from([*PEOPLE, "svc", "step", "7", "/", " ", "_", ".", "-", ":", "=", "@x.yz", "~", "é"]), max_size=12))
@examples(300)
def test_no_known_name_stands_in_a_text(parts: list[str]) -> None:
    """Whatever stands beside it, as long as it is a word of its own."""
    left = re.findall(r"[A-Za-z0-9]+", pseudonyms().text("".join(parts)))
    assert not {"u017", "u099"} & set(left)


CALLED = ("u017", "ab", "data", "train", "home", "model-7", "user", "run")
ROOTS = ("/home/", "/homes/", "/users/", "/Users/", "/u/", "/user/", "/home/d/", "/nfs/home/", "/gpfs/users/", "~")
PLACES = [*ROOTS, "uid=5017(", "gid=5017(", "groups=100(users),5017(", 'AUID="', "auid=", "user=", "acct="]


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(CALLED), st.sampled_from(["", "/run", "/data/train", ") ", '" ']))))
@examples(300)
def test_no_known_name_stands_where_names_do(places: list[tuple[str, str, str]]) -> None:
    """Whatever it is: as short as it may be, and as common a word.  Nor does a number, and what is no name stays."""
    told = Pseudonyms(b"a key for tests alone", CALLED, ())
    text = told.text(" ".join(f"{place}{name}{behind} uid=5017 auid=5099" for place, name, behind in places))
    known = "|".join(map(re.escape, CALLED))
    assert not re.search(rf"(?:{'|'.join(map(re.escape, PLACES))})(?:{known})\b", text), text
    assert not re.search(r"uid=(?:5017|5099)\b", text)
    assert text.count("/data/train") == sum(behind == "/data/train" for _, _, behind in places)


@pytest.mark.parametrize(
    "text",
    ["session opened for user data(uid=5017) by (uid=0)", "data(uid=5017)", "owner ab(uid=5017)", "uid=0(root) groups=0(root),5017(data)"],
)
def test_a_name_beside_its_number_is_one(text: str) -> None:
    """As PAM and `id` write it: beside the number in clear text he would be known by the other one, too."""
    assert not re.search(r"\b(?:data|ab|5017)\b", Pseudonyms(b"a key for tests alone", CALLED, ()).text(text))


@given(st.lists(st.sampled_from(["data", "train", "home", "run", "user", "/", "/", " ", "-", "_", ".", "7"]), max_size=12))
@examples(300)
def test_ordinary_words_are_left_alone(parts: list[str]) -> None:
    """Somebody is called so: his name must not take paths apart, nor what the same event says of him."""
    text = "/lustre/" + "".join(parts).replace("/home/", "/").replace("/user/", "/")
    assume(not re.search("/(?:home|user)/", text))
    assert Pseudonyms(b"a key for tests alone", CALLED, ()).text(text, ("data", "train")) == text


@given(st.integers(0, UNSET_UID))
@examples(500)
def test_numeric_ids_are_permuted(uid: int) -> None:
    """There is an inverse, so no two people share a number; a person's stays a person's, and the system's own stay as they are."""
    said = pseudonyms().uid(uid)
    assert pseudonyms().uid_behind(said) == uid
    assert (said == uid) == (uid < 1000 or uid in (65_534, UNSET_UID)) or 1000 <= said < UNSET_UID


BODIES: list[Body] = [
    Login(user="u345", outcome="accepted", method="publickey", address="10.0.0.9", fingerprint="RSA SHA256:abc"),
    SessionChanged(user="u345", change="opened", service="sshd", by="u346(uid=5346)"),
    PrivilegeUsed(user="u345", run_as="u346", command="/usr/bin/ls /home/u347 u345.txt", working_directory="/home/u345"),
    AccessLine(what="preauth", text="Connection closed by invalid user u345 10.0.0.9"),
    JobRecord(job="7", phase="end", owner="u345", owner_uid=5345, cancelled_by_uid=5346, name="u345-train", work_dir="/home/u345/run"),
    KubernetesRequest(user="oidc:u345@example.org", verb="delete", name="u345-0", impersonated="u346@example.org", groups=("u345",)),
    ObjectAccess(action="written", operation="PUT", path="s3://b/u345/x", user="arn:aws:iam::1:user/u345"),
    ProcessRun(serial=1, arguments=("scp", "u345@gpu-012:/tmp/x"), success=True, uid=5345, auid=5345, exe="/home/u345/bin/scp"),
    AuditRecord(
        record_type="USER_CMD",
        serial=1,
        fields={"acct": "u345", "auid": "5345", "AUID": "u345", "gid": "5345", "cmd": "id u345", "id": "5345"},
    ),
    AuditRecord(record_type="SYSCALL", serial=2, fields={"syscall_name": "chown", "a1": "14e1", "uid": "5345"}),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_a_body_names_nobody(body: Body) -> None:
    """Strangers of whom no map knows, in fields of their own and wherever else the same event repeats them."""
    said = msgspec.json.encode(Veil(pseudonyms()).body(body)).decode()
    assert not re.search("u34[5-7]|534[5-7]|14e1|example|SHA256:abc", said), said
    assert '"outcome":"accepted"' in said or not isinstance(body, Login), "words of closed sets stay"


def test_every_field_is_of_one_kind() -> None:
    """A new field with a uid is a uid, and one that holds a name is no closed word: whoever adds one decides here."""
    fields = {field.name: field.type for kind in typing.get_args(AnyBody) for field in msgspec.structs.fields(kind)}
    assert {name for name in fields if name.endswith("uid") and "int" in str(fields[name])} == UIDS
    assert not NAMES & PLAIN
    assert fields.keys() >= NAMES | PLAIN | (MASKABLE - {"address"})


def test_a_masked_field_is_told_to_nobody() -> None:
    """Also without pseudonyms; of audit records the arguments are masked wherever they stand; other fields stay as they are."""
    veil = Veil(None, ("arguments", "address"))
    run = ProcessRun(serial=1, arguments=("scancel", "7"), success=True, uid=5017)
    assert veil.body(run) == msgspec.structs.replace(run, arguments=(MASKED,))
    audit = {"proctitle": "scancel 7", "a0": "scancel", "argc": "2", "addr": "10.0.0.9"}
    told = veil.body(AuditRecord(record_type="EXECVE", serial=1, fields=audit)).fields
    assert told == {"proctitle": MASKED, "a0": MASKED, "argc": "2", "addr": MASKED}
    assert veil.unmapped({"address": "10.0.0.9", "x": "1"}) == {"address": MASKED, "x": "1"}


def test_what_nobody_knows_is_not_told() -> None:
    """With pseudonyms, keys that no format takes are left to the raw line."""
    assert Veil(pseudonyms()).unmapped({"nickname": "u345"}) == {"nickname": MASKED}
