"""Settings: one frozen tree from file and environment; a typo is an error that names the field, never a silent default."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.loss.prices import prices_of
from pipeline.settings import DetectSettings, RetentionSettings, Settings, load, table
from pipeline.settings.tree import REMEMBERED
from tests.build import OWNER, ms


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file and no variable of the machine the test runs on."""
    for name in list(os.environ):
        if name.startswith("TRAINWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(content: dict[str, Any] | str) -> Path:
    path = Path("site.yaml")
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


# --- where values come from ---------------------------------------------------------------------------------------------------------


def test_without_anything_there_are_defaults() -> None:
    """Embedded servers, a grace of two minutes, a window that covers NCCL's half hour."""
    settings = load()
    assert (settings.kafka.bootstrap_servers, settings.clickhouse.host) == ("", "")
    assert settings.time.grace_seconds == 120
    assert settings.detect.kill_window_seconds >= 1800 + 300


def test_overrides_win_over_the_file_and_the_environment_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each replaces the field it names and leaves its neighbours."""
    path = written({"time": {"grace_seconds": 10, "idle_seconds": 11, "out_of_order_seconds": 12}})
    monkeypatch.setenv("TRAINWATCH_TIME__OUT_OF_ORDER_SECONDS", "22")
    settings = load(path, {"time": {"idle_seconds": 21}})
    assert (settings.time.grace_seconds, settings.time.idle_seconds, settings.time.out_of_order_seconds) == (10, 21, 22)


def test_the_file_is_named_found_or_given_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument, else TRAINWATCH_SETTINGS, else trainwatch.yaml beside us."""
    Path("trainwatch.yaml").write_text("time: {grace_seconds: 1}", encoding="utf-8")
    assert load().time.grace_seconds == 1
    monkeypatch.setenv("TRAINWATCH_SETTINGS", str(written({"time": {"grace_seconds": 2}})))
    assert load().time.grace_seconds == 2
    Path("third.yaml").write_text("time: {grace_seconds: 3}", encoding="utf-8")
    assert load(Path("third.yaml")).time.grace_seconds == 3


def test_the_tree_is_frozen() -> None:
    """Settings are fixed while a worker lives."""
    with pytest.raises(ValidationError):
        load().time.grace_seconds = 1  # type: ignore[misc]


# --- what is wrong ------------------------------------------------------------------------------------------------------------------

IDENTITY = {"id": "u017", "uid": 5017}
WINDOW = {"id": "CHG1", "start": "2026-03-02T00:00:00Z", "end": "2026-03-02T01:00:00Z"}


def excuse(**changes: str) -> dict[str, str]:
    return {"detector": "p04", "path": "/env", "because": "torch is rolled out", "until": "2026-06-01T00:00:00Z", **changes}


def excused(**changes: str) -> dict[str, Any]:
    return {"detect": {"suppressions": [excuse(**changes)]}}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown branch": ({"tmie": {}}, "tmie"),
    "unknown field": ({"time": {"grace": 1}}, "time.grace"),
    "wrong type": ({"time": {"grace_seconds": "soon"}}, "time.grace_seconds"),
    "below its bound": ({"kafka": {"partitions": 0}}, "kafka.partitions"),
    "above its bound": ({"retention": {"job_days": 100_000}}, "retention.job_days"),
    "unknown zone": ({"sources": [{"name": "s", "zone": "Mars/Base"}]}, "Mars/Base"),
    "no expression": ({"sources": [{"name": "s", "file": "("}]}, "sources.0.file"),
    "validity without offset": ({"identities": [{**IDENTITY, "valid_from": "2026-03-02T00:00:00"}]}, "u017"),
    "ticket without offset": ({"tickets": [{**WINDOW, "start": "2026-03-02T00:00:00"}]}, "CHG1"),
    "ticket that ends before it starts": ({"tickets": [{**WINDOW, "end": "2026-03-01T00:00:00Z"}]}, "CHG1"),
    "relative artefact root": ({"artefact_roots": [{"path": "ckpt"}]}, "artefact_roots.0.path"),
    "unknown role": ({"identities": [{**IDENTITY, "role": "boss"}]}, "identities.0.role"),
    "broker without a port": ({"kafka": {"bootstrap_servers": "broker-1"}}, "'broker-1' is not host:port"),
    "second broker without a port": ({"kafka": {"bootstrap_servers": "broker-1:9092,broker-2"}}, "'broker-2' is not host:port"),
    "broker with an empty label": ({"kafka": {"bootstrap_servers": "broker..example:9092"}}, "'broker..example' is not a host name"),
    "database with an empty label": ({"clickhouse": {"host": "db..example"}}, "'db..example' is not a host name"),
    "port without a broker": ({"kafka": {"bootstrap_servers": ":9092"}}, "':9092' is not host:port"),
    "port that is none": ({"kafka": {"bootstrap_servers": "broker-1:70000"}}, "kafka.bootstrap_servers"),
    "address without brackets": ({"kafka": {"bootstrap_servers": "::1:9092"}}, "kafka.bootstrap_servers"),
    "empty part": ({"kafka": {"bootstrap_servers": "broker-1:9092,"}}, "'' is not host:port"),
    "broker as a URL": ({"kafka": {"bootstrap_servers": "kafka://broker-1:9092"}}, "is a URL"),
    "a validity that ends before it starts": (
        {"identities": [{**IDENTITY, "valid_from": "2026-03-02T00:00:00Z", "valid_to": "2026-03-02T00:00:00Z"}]},
        "u017: valid_to",
    ),
    "a kind of name that there is not": ({"identities": [{**IDENTITY, "names": {"badge": ["7"]}}]}, "identities.0.names.badge"),
    "suppression without a reason": (excused(because=""), "detect.suppressions.0.because"),
    "suppression without an end": ({"detect": {"suppressions": [{"detector": "p04", "path": "/env", "because": "x"}]}}, "0.until"),
    "suppression whose reason would move the cursor": (excused(because="a\x1b[2J"), "detect.suppressions.0.because"),
    "suppression that ends at no moment": (excused(until="2026-03-02T00:00:00"), "offset"),
    "suppression of a whole detector": (excused(path=""), "name subject, path or owner"),
    "suppression of everything": (excused(path="/"), "detect.suppressions.0.path"),
    "suppression that begins at its end": (excused(**{"from": "2026-06-01T00:00:00Z"}), "until must be later"),
    "two suppressions of one thing": (
        {"detect": {"suppressions": [excuse(), excuse(**{"from": "2026-05-31T00:00:00Z", "until": "2026-07-01T00:00:00Z"})]}},
        "two suppressions of p04 path=/env",
    ),
    "two suppressions of one thing, one of them on every cluster": (
        {"detect": {"suppressions": [excuse(cluster="west"), excuse(cluster="")]}},
        "two suppressions of p04 path=/env",
    ),
    "suppression of a whole cluster": (excused(path="", cluster="west"), "name subject, path or owner"),
    "the beginning of an address": ({"detect": {"roaming_networks": ["10.1"]}}, "'10.1' is no network: write 10.1.0.0/16"),
    "an address with a length": ({"detect": {"roaming_networks": ["10.1.2.3/16"]}}, "write 10.1.0.0/16"),
    "a name of a gateway": (
        {"detect": {"roaming_networks": [{"value": "vpn-1", "because": "x", "until": "2026-06-01T00:00:00Z"}]}},
        "'vpn-1' is no network",
    ),
    "allowed for a while without a reason": ({"detect": {"hooks_allowed": [{"value": "a", "until": "2026-06-01T00:00:00Z"}]}}, "because"),
    "the unset uid": ({"identities": [{**IDENTITY, "uid": 0xFFFFFFFF}]}, "identities.0.uid"),
}


@pytest.mark.parametrize(("content", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_named(content: dict[str, Any], named: str) -> None:
    """With file and field, and advice."""
    with pytest.raises(ConfigError) as caught:
        load(written(content))
    assert named in str(caught.value)
    assert "site.yaml" in str(caught.value)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"clickhouse": {"passwrd": "hunter2"}}, "clickhouse.passwrd: no such setting, did you mean password?"),
        ({"clickhous": {"host": "ch1"}}, "clickhous: no such setting, did you mean clickhouse?"),
        ({"sources": [{"name": "audit", "progam": "auditd"}]}, "sources.0.progam (line"),
        ({"sources": [{"name": "audit", "progam": "auditd"}]}, "no such setting, did you mean program?"),
        ({"identities": [{"id": "u017", "valid_form": "2026-01-01T00:00:00Z"}]}, "no such setting, did you mean valid_from?"),
        ({"kafka": {"xyzzy": 1}}, "kafka.xyzzy: no such setting"),
    ],
)
def test_a_misspelt_name_is_told_what_was_meant(content: dict[str, Any], said: str) -> None:
    """A person who mistypes at night need not look through a table; and the value is not repeated."""
    with pytest.raises(ConfigError) as caught:
        load(written(content))
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "just words"], ids=["list", "broken", "text"])
def test_a_file_that_is_no_mapping_is_refused(content: str) -> None:
    """It says which file, and what was expected or what is broken."""
    with pytest.raises(ConfigError, match=r"site\.yaml"):
        load(written(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kafka:\n  group: a\n  user: {b: 1\n", "site.yaml, line 4: while parsing a flow mapping that begins in line 3: expected"),
        ("kafka:\n  group: a\n\tuser: b\n", "site.yaml, line 3: "),
        (
            "kafka: {password: hunter2",
            "site.yaml, line 1: while parsing a flow mapping that begins in line 1: expected ',' or '}', but got '<stream end>'",
        ),
        ("kafka:\n  password: *hunter2\n", "site.yaml, line 2: found undefined alias"),
        ("kafka:\n  password: !hunter2 x\n", "site.yaml, line 2: could not determine a constructor for the tag"),
        ("kafka:\n  password: !it'shunter2 x\n", "site.yaml, line 2: could not determine a constructor for the tag"),
        ("kafka: {password: &hunter2 a, group: &hunter2 a}", "site.yaml, line 1: found duplicate anchor"),
    ],
)
def test_broken_yaml_is_told_with_its_line(content: str, said: str) -> None:
    """In few words, the line first: `check` shows the beginning alone.  Nothing of what stands there."""
    with pytest.raises(ConfigError) as caught:
        load(written(content))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "field"), [("CLICKHOUSE", "clickhouse"), ("ARTEFACT_ROOTS", "artefact_roots"), ("NOTIFY__TARGETS", "notify")]
)
def test_a_variable_that_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, field: str) -> None:
    """By the field's name, without the value, which may hold a password."""
    monkeypatch.setenv(f"TRAINWATCH_{name}", '{"password": "s3cret"')
    with pytest.raises(ConfigError, match=rf'environment: .*"{field}".*: .*line 1') as caught:
        load()
    assert "JSON" in caught.value.advice
    assert "s3cret" not in str(caught.value)


def test_a_text_that_no_path_can_hold_is_refused() -> None:
    """Whatever opens it would raise what nobody expects."""
    with pytest.raises(ConfigError, match=r"site\.yaml, line 2: a text with \\0 in it"):
        load(written('evidence:\n  key_file: "a\\0b"\n'))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        pytest.param("time: {grace_seconds: 1}\nkafka: {}\ntime: {idle_seconds: 9}\n", (3, 1), id="section"),
        pytest.param("time:\n  grace_seconds: 1\n  'grace_seconds': 2\n", (3, 2), id="field, once in quotes"),
        pytest.param("time: {grace_seconds: 1, grace_seconds: 1}\n", (1, 1), id="in one line, the same value"),
        pytest.param("identities:\n- id: u017\n  uid: 5017\n  id: u018\n", (4, 2), id="in a list"),
    ],
)
def test_a_key_that_stands_twice_is_refused(content: str, lines: tuple[int, int]) -> None:
    """YAML readers keep the last: a whole section would be lost in silence.  Both lines are told."""
    with pytest.raises(ConfigError, match=rf"site\.yaml, line {lines[0]}: .* stands in line {lines[1]} already") as caught:
        load(written(content))
    assert caught.value.advice


@pytest.mark.parametrize("value", ["2026-02-30", "!!int hunter2"])
def test_a_date_that_there_is_not_is_told_so(value: str) -> None:
    """PyYAML raises what its parts raise."""
    with pytest.raises(ConfigError, match="a date or a number that does not exist"):
        load(written(f"kafka:\n  group: {value}\n"))


def test_sections_may_share_their_fields() -> None:
    """A merge (`<<`) that is overridden is no key that stands twice, and different sections have the same keys."""
    content = """
identities:
- &one {id: u017, uid: 5017, team: vision}
- {<<: *one, id: u018, uid: 5018}
- {<<: *one, id: u019, uid: 5019}
"""
    assert [(each.id, each.team) for each in load(written(content)).identities] == [(name, "vision") for name in ("u017", "u018", "u019")]


def test_yaml_makes_no_objects() -> None:
    """The file may come from elsewhere: a tag that would run code is an error."""
    with pytest.raises(ConfigError, match="line 1: could not determine a constructor for the tag"):
        load(written("kafka: !!python/object/apply:os.getcwd []\n"))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("broker-1:9092", "broker-1:9092"),
        (" broker-1:9092, broker_2.example:9093 ", "broker-1:9092,broker_2.example:9093"),
        ("127.0.0.1:9092,[::1]:9092", "127.0.0.1:9092,[::1]:9092"),
        ("  ", ""),
    ],
)
def test_brokers_are_host_and_port(given: str, taken: str) -> None:
    """Several with commas; spaces do not matter."""
    assert load(overrides={"kafka": {"bootstrap_servers": given}}).kafka.bootstrap_servers == taken


def test_a_missing_file_is_refused() -> None:
    """A name given must exist."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load(Path("nowhere.yaml"))


def test_an_empty_file_is_all_defaults() -> None:
    """Or one with comments only."""
    assert load(written("# nothing yet\n")) == load()


@pytest.mark.parametrize(
    "name", ["TRAINWATCH_TMIE__GRACE_SECONDS", "TRAINWATCH_GRACE", "TRAINWATCH_TIME__GRACE_SECNODS", "TRAINWATCH_TIME__GRACE_SECONDS"]
)
def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A typo in the environment would be a silent default otherwise; it is not said of the file, where nobody finds it."""
    monkeypatch.setenv(name, "soon")
    with pytest.raises(ConfigError, match=name):
        load()


# --- what is made of them -----------------------------------------------------------------------------------------------------------


def test_the_digest_names_what_judging_depends_on() -> None:
    """Addresses and secrets may change without another judgement; windows and identities may not."""
    base = load().digest()
    assert load(overrides={"kafka": {"bootstrap_servers": "b:9092"}, "clickhouse": {"password": "p"}}).digest() == base
    for changed in ({"time": {"grace_seconds": 1}}, {"identities": [IDENTITY]}, {"detect": {"kill_window_seconds": 1}}, excused()):
        assert load(overrides=changed).digest() != base
    assert load(overrides=excused()).digest() != load(overrides=excused(until="2026-06-02T00:00:00Z")).digest()


def test_a_suppression_may_begin_when_another_ends() -> None:
    """The next round of the same work, with its own reason."""
    excuses = [excuse(), excuse(**{"from": "2026-06-01T00:00:00Z", "until": "2026-07-01T00:00:00Z"}), excuse(path="/env/a")]
    assert len(load(written({"detect": {"suppressions": excuses}})).detect.suppressions) == 3


def test_what_is_put_up_with_on_two_clusters_is_two_things() -> None:
    """Each with its own reason."""
    excuses = [excuse(cluster="west"), excuse(cluster="east")]
    found = load(written({"detect": {"suppressions": excuses}})).detect.suppressions
    assert [each.about for each in found] == ["p04 cluster=west path=/env", "p04 cluster=east path=/env"]


def test_identities_hold_from_and_to() -> None:
    """Half open: at the end of validity the uid is nobody's."""
    directory = load(
        overrides={"identities": [{"id": "u012", "uid": OWNER, "valid_from": "2026-03-02T00:00:00Z", "valid_to": "2026-03-02T00:01:00Z"}]}
    ).directory()
    found = [directory.by_uid(OWNER, ms(at)) for at in (-0.001, 0, 59.999, 60)]
    assert [each.id if each else "" for each in found] == [f"uid:{OWNER}", "u012", "u012", f"uid:{OWNER}"]


def test_a_ticket_without_identities_covers_admins_only() -> None:
    """Not everybody who happens to act in a maintenance window."""
    identities = [IDENTITY, {"id": "adm1", "uid": 5900, "role": "admin"}]
    directory = load(overrides={"identities": identities, "tickets": [WINDOW]}).directory()
    member, admin = directory.by_uid(5017, ms(10)), directory.by_uid(5900, ms(10))
    assert member is not None
    assert admin is not None
    covered = [bool(directory.ticket_for(who, ms(at), cluster="main")) for who, at in ((member, 10), (admin, 10), (admin, 3600))]
    assert covered == [False, True, False]


@pytest.mark.parametrize(("named", "covered"), [("", {"main", "west"}), ("west", {"west"})])
def test_a_ticket_covers_the_cluster_that_it_names(named: str, covered: set[str]) -> None:
    """Two clusters have jobs of one number; without a name it covers all, as settings from before do."""
    ticket = {**WINDOW, "jobs": ["123"], "hosts": ["gpu-001"], **({"cluster": named} if named else {})}
    directory = load(overrides={"identities": [{"id": "adm1", "uid": 5900, "role": "admin"}], "tickets": [ticket]}).directory()
    admin = directory.by_uid(5900, ms(10))
    assert admin is not None
    assert {each for each in ("main", "west") if directory.ticket_for(admin, ms(10), cluster=each, host="gpu-001", job="123")} == covered


def test_secrets_are_not_shown() -> None:
    """Neither in the table nor in a printed tree."""
    settings = load(overrides={"clickhouse": {"password": "s3cret"}})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()
    assert settings.clickhouse.password.get_secret_value() == "s3cret"


def test_every_setting_is_described() -> None:
    """The table in README is rendered from here."""
    rows = list(table())
    assert len({name for name, _, _ in rows}) == len(rows) > 40
    assert all(description and default for _, default, description in rows)
    assert all(name.partition(".")[0] in Settings.model_fields for name, _, _ in rows)


# --- one identity a name ------------------------------------------------------------------------------------------------------------

TWO = """identities:
- id: u017
  uid: 5017
  login: u017
  names: {{kubernetes: ["oidc:u017@example.org"], key: ["SHA256:abc"]}}
  valid_to: {until}
- id: u018
  {claim}
  valid_from: 2026-03-02T00:00:00Z
"""
CLAIMS = {
    "uid": "uid: 5017",
    "login": "login: u017",
    "kubernetes": "names: {kubernetes: [u018, 'oidc:u017@example.org']}",
    "key": "names: {key: ['SHA256:abc']}",
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_two_identities_that_claim_a_name_at_one_time_are_refused(claim: str) -> None:
    """The message names both, and the lines in which they begin; a name is handed on when the one ends as the other begins."""
    with pytest.raises(ConfigError) as caught:
        load(written(TWO.format(until="2026-03-02T00:00:00.001Z", claim=claim)))
    for part in ("identities.0 (line 2) (u017)", "identities.1 (line 7) (u018)", "both claim"):
        assert part in str(caught.value)
    load(written(TWO.format(until="2026-03-02T00:00:00Z", claim=claim)))


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
@pytest.mark.parametrize(("one", "other"), [("[east]", "[west]"), ("[east]", "[west, east]"), ("[east]", "[]")])
def test_what_a_cluster_gives_two_may_have_in_two_clusters(one: str, other: str, claim: str) -> None:
    """And not in one; a key is a person's in all."""
    text = TWO.format(until="2026-03-03T00:00:00Z", claim=f"{claim}\n  clusters: {other}").replace(
        "  uid: 5017", f"  clusters: {one}\n  uid: 5017", 1
    )
    if other == "[west]" and "key:" not in claim:
        load(written(text))
    else:
        with pytest.raises(ConfigError, match="both claim"):
            load(written(text))


def test_e_mail_addresses_are_compared_without_case() -> None:
    """`U017@Example.org` is `u017@example.org`."""
    names = [{"id": each, "names": {"email": [mail]}} for each, mail in (("u017", "U017@Example.org"), ("u018", "u017@example.org"))]
    with pytest.raises(ConfigError, match="email"):
        load(written({"identities": names}))


def test_an_identity_may_repeat_its_own_names() -> None:
    """Two periods of one person, of which the second says more."""
    load(written({"identities": [IDENTITY, {**IDENTITY, "team": "red"}]}))


# --- what incidents cost ------------------------------------------------------------------------------------------------------------

RENT = {"from": "2026-01-01", "currency": "CNY", "method": "rent", "gpu_hour": [12, 20, 50]}
OWN = {
    "from": "2026-07-01", "currency": "CNY", "method": "own", "depreciation": [6, 8, 10], "kilowatt": [0.97, 1.0, 1.05],
    "pue": [1.1, 1.4, 1.56], "kilowatt_hour": [0.4, 0.6, 0.9], "staff": [0, 0.5, 1],
}  # fmt: skip
STAFF = {"incident": "0" * 32, "what": "search", "hours": [1, 2, 3], "per_hour": [100, 200, 300]}


def test_prices_hold_from_and_on() -> None:
    """A day begins in UTC, a moment has an offset; by rent, then by own cost: 8 + 1.0 kW x 1.4 x 0.6 + 0.5 = 9.34 in the middle."""
    moment = {**OWN, "from": "2026-07-01T00:00:00+08:00"}
    loss = load(written({"loss": {"prices": [RENT, moment], "staff": [STAFF]}})).loss
    prices = prices_of(loss)
    midnight = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    change = 1_782_835_200_000  # 2026-06-30T16:00:00Z
    assert [each.since for each in prices.periods] == [midnight, change]
    found = [prices.at(time) for time in (midnight - 1, midnight, change - 1, change)]
    assert [each.of_hour(1) if each else None for each in found] == pytest.approx([None, 20.0, 20.0, 9.34])
    assert load(written("loss: {prices: [{from: 2026-01-01, currency: CNY, gpu_hour: [1, 1, 1]}]}")).loss.prices[0].since_ms == midnight


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ({"prices": [RENT, {**RENT, "from": "2026-02-01", "currency": "USD"}]}, "prices.0 is in CNY and prices.1 in USD"),
        ({"prices": [RENT, RENT]}, "prices.1 begins when another"),
        ({"prices": [RENT, {**RENT, "from": "2026-02-01", "staff": [1, 1, 1]}]}, "loss.prices.1: Value error, a rent contains"),
        ({"prices": [{**OWN, "gpu_hour": [1, 1, 1]}]}, "loss.prices.0: Value error, a price is by rent or by own cost"),
        ({"prices": [{**RENT, "gpu_hour": [20, 12, 50]}]}, "gpu_hour: 20, 12, 50 are not low, middle, high"),
        ({"prices": [{**RENT, "gpu_hour": [-1, 12, 50]}]}, "loss.prices.0.gpu_hour.0"),
        ({"prices": [{**RENT, "gpu_hour": [12, 20]}]}, "loss.prices.0.gpu_hour"),
        ({"prices": [{"from": "2026-01-01", "currency": "CNY"}]}, "gpu_hour is missing"),
        ({"prices": [{**OWN, "pue": [0.9, 1, 1]}]}, "pue: below 1"),
        ({"prices": [{**RENT, "from": "2026-01-01T00:00:00"}]}, "a moment with offset"),
        ({"prices": [{**RENT, "currency": "yuan"}]}, "loss.prices.0.currency"),
        ({"prices": [{**RENT, "rate": 1}]}, "loss.prices.0.rate"),
        ({"gpus_per_node": 0}, "loss.gpus_per_node"),
        ({"prices": [RENT], "staff": [{**STAFF, "incident": "abc"}]}, "loss.staff.0.incident"),
        ({"prices": [RENT], "staff": [{**STAFF, "hours": [3, 2, 1]}]}, "hours: 3, 2, 1 are not low, middle, high"),
        ({"staff": [STAFF]}, "staff.0 has no currency"),
    ],
)
def test_a_wrong_price_is_named(loss: dict[str, Any], named: str) -> None:
    """With its entry."""
    with pytest.raises(ConfigError) as caught:
        load(written({"loss": loss}))
    assert named in str(caught.value)


LOOKED_BACK = [(kept, window) for kept, windows in REMEMBERED.items() for window in windows]


@pytest.mark.parametrize(("kept", "window"), LOOKED_BACK)
def test_what_a_detector_looks_back_on_is_kept_as_long(kept: str, window: str) -> None:
    """What is forgotten within its window would be missing: the message names both."""
    kept_seconds = getattr(RetentionSettings(), kept) * 86_400
    others = {name: 3650 for name in REMEMBERED if name != kept}
    with pytest.raises(ValidationError, match=rf"retention.{kept} is \d+, shorter than detect.{window}, \d+ days: raise the first"):
        Settings.model_validate({"detect": {window: kept_seconds + 86_400}, "retention": others})
    Settings.model_validate({"detect": {window: kept_seconds}, "retention": others})


def test_every_window_is_held_against_what_is_kept() -> None:
    """A new one cannot be forgotten."""
    assert {window for _, window in LOOKED_BACK} >= {name for name in DetectSettings.model_fields if name.endswith("_window_seconds")}
    assert REMEMBERED.keys() <= RetentionSettings.model_fields.keys()
