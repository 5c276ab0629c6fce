"""What webhooks are sent: read from the examples of the topics, harmless in chats, signed."""

import hashlib
import hmac
import json

import pytest

from pipeline.errors import DecodeError, SchemaMismatch
from pipeline.runtime.notices import FINDINGS, FORMS, INCIDENTS, UNTOLD, Circumstances, Notice, inert, payload, read, signature, text
from pipeline.settings import schemas_folder

EXAMPLES = schemas_folder() / "examples"


def example(topic: str, number: int = 0) -> bytes:
    """A value as the topic carries it."""
    return sorted((EXAMPLES / topic / "v1").glob("*.json"))[number].read_bytes()


def notice(**changes: object) -> Notice:
    """A finding that is told."""
    fields: dict[str, object] = {
        "kind": "finding", "id": "a" * 32, "revision": 2, "status": "final", "severity": "high", "alert": True, "title": "Job cancelled",
        "summary": "job 48213 was cancelled", "about": "job 48213 (main)", "owner": "u017", "actor": "", "withheld": UNTOLD,
        "cause_time": 1, "effect_time": 2, "detector": "p03_foreign_cancel",
    }  # fmt: skip
    return Notice(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("topic", "content"), [("trainwatch.findings", FINDINGS), ("trainwatch.incidents", INCIDENTS)])
def test_examples_of_the_topics_are_read(topic: str, content: str) -> None:
    """What consumers are promised is what the notifier takes."""
    for path in sorted((EXAMPLES / topic / "v1").glob("*.json")):
        found = read(content, path.read_bytes())
        assert found.id == json.loads(path.read_bytes())["unmapped"]["trainwatch"]["canonical"]["id"]
        assert found.revision >= 1


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"{", DecodeError),
        (b"[]", SchemaMismatch),
        (b"{}", SchemaMismatch),
        (b'{"unmapped": {"trainwatch": {"canonical": {}, "transport": {"revision": 1}}}}', SchemaMismatch),
        (b'{"unmapped": {"trainwatch": {"canonical": {}, "transport": {"revision": "x"}}}}', SchemaMismatch),
    ],
)
def test_a_value_that_is_not_ours_is_refused(value: bytes, error: type[Exception]) -> None:
    """With an error that the notifier counts and passes over."""
    with pytest.raises(error):
        read(FINDINGS, value)


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({"revision": 3}, False),
        ({"summary": "more of the checklist"}, False),
        ({"status": "retracted"}, True),
        ({"severity": "critical"}, True),
        ({"actor": "u042"}, True),  # of an incident
        ({"alert": False}, True),
    ],
)
def test_what_is_worth_telling_again(change: dict[str, object], news: bool) -> None:
    """A revision alone is not."""
    assert (notice(**change).says != notice().says) is news


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_is_json_and_the_same_at_every_try(form: str) -> None:
    """A receiver may compare bytes."""
    one, other = (payload(form, notice(), b"{}", Circumstances()) for _ in range(2))
    assert one == other
    assert "48213" in json.dumps(json.loads(one), ensure_ascii=False)


@pytest.mark.parametrize(
    ("kind", "topic", "number", "same"),
    [("finding", "findings", 0, True), ("finding", "findings", 3, False), ("incident", "incidents", 0, True)],
)
def test_ocsf_is_the_value_of_the_topic_itself(kind: str, topic: str, number: int, same: bool) -> None:
    """Byte for byte, but of a finding without whom its records name."""
    value = example(f"trainwatch.{topic}", number)
    sent = payload("ocsf", notice(kind=kind), value, Circumstances())
    assert (sent == value) is same
    if not same:
        before, after = json.loads(value), json.loads(sent)
        canonical = before["unmapped"]["trainwatch"]["canonical"]
        assert canonical["actor"]
        assert canonical["actor"] not in sent.decode()
        canonical |= {"actor": "", "actor_withheld": UNTOLD}
        before["observables"].pop()
        assert after == before


@pytest.mark.parametrize("number", range(4))
def test_a_finding_names_nobody(number: int) -> None:
    """Its records name an account; whether its holder acted is weighed by the incident, which has notices of its own."""
    found = read(FINDINGS, example("trainwatch.findings", number))
    assert (found.actor, found.withheld) == ("", UNTOLD)


def test_a_chat_gets_no_markup_and_no_call() -> None:
    """File names are written by attackers: <!channel>, @all, links and colours stay words."""
    said = text(notice(summary="<!channel> @all `x` *y* [a](http://b) \x1b[31m\nnext"), Circumstances())
    assert not set("<>@`*[]\x1b") & set(said)
    assert len(said.splitlines()) == len(text(notice(), Circumstances()).splitlines())


def test_names_of_files_stay_readable() -> None:
    """Only what a chat acts upon is replaced."""
    assert inert("/lustre/ckpt/u002/run_2/iter_0001650.pt") == "/lustre/ckpt/u002/run_2/iter_0001650.pt"


def test_a_withheld_name_is_explained_and_escalation_is_said_first() -> None:
    """Whoever is called at night wants to know why."""
    said = text(notice(actor="", withheld="only one independent source"), Circumstances(escalated_minutes=15))
    assert said.startswith("nobody has acknowledged this for 15 minutes")
    assert "name withheld: only one independent source" in said


def test_the_signature_is_what_a_receiver_computes() -> None:
    """As README shows it, and different for every time, key and body."""
    body = b'{"a":1}'
    made = signature(b"key", 1700000000, body)
    assert made == "v1=" + hmac.new(b"key", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert len({made, signature(b"key", 1700000001, body), signature(b"kex", 1700000000, body), signature(b"key", 1700000000, b"{}")}) == 4
