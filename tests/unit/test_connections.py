"""How settings say who we are to Kafka and ClickHouse: what they make of it, and what contradicts itself."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import ConfigError
from pipeline.settings import Settings, load

SECRET = "correct-horse"  # noqa: S105  of nobody
PEM = "/etc/ssl/kafka.pem"


def written(content: dict[str, Any], folder: Path) -> Settings:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        pytest.param({}, "plaintext", id="nothing"),
        pytest.param({"ca_file": PEM}, "ssl", id="an authority"),
        pytest.param({"certificate_file": PEM, "key_file": PEM}, "ssl", id="a certificate"),
        pytest.param({"user": "worker"}, "sasl_ssl", id="a user"),
        pytest.param({"user": "worker", "ca_file": PEM}, "sasl_ssl", id="a user and an authority"),
        pytest.param({"security_protocol": "ssl"}, "ssl", id="ssl, by the system's authorities"),
        pytest.param(
            {"security_protocol": "sasl_plaintext", "user": "w", "bootstrap_servers": "localhost:1,127.0.0.2:1,[::1]:1"},
            "sasl_plaintext",
            id="a password in clear on this machine",
        ),
        pytest.param(
            {"security_protocol": "sasl_plaintext", "user": "w", "bootstrap_servers": "broker-1:1", "password_in_clear": True},
            "sasl_plaintext",
            id="a password in clear, allowed",
        ),
    ],
)
def test_the_protocol_follows_from_what_is_there(fields: dict[str, Any], protocol: str) -> None:
    """A password never travels in clear unless somebody has said so."""
    assert load(overrides={"kafka": fields}).kafka.protocol == protocol


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a password without a user": ({"kafka": {"password": SECRET}}, "a password without a user: set user"),
    "a password file without a user": ({"kafka": {"password_file": "/p"}}, "a password without a user"),
    "two passwords": ({"kafka": {"user": "w", "password": SECRET, "password_file": "/p"}}, "password and password_file both hold it"),
    "a certificate without its key": ({"kafka": {"certificate_file": PEM}}, "certificate_file and key_file go together"),
    "a key without its certificate": ({"kafka": {"key_file": PEM}}, "certificate_file and key_file go together"),
    "a key password without a key": ({"kafka": {"key_password": SECRET}}, "a key_password without key_file"),
    "SASL without a user": ({"kafka": {"security_protocol": "sasl_ssl"}}, "sasl_ssl needs a user"),
    "a user without SASL": ({"kafka": {"security_protocol": "ssl", "user": "w"}}, "names nobody: use sasl_ssl"),
    "an authority without TLS": ({"kafka": {"security_protocol": "plaintext", "ca_file": PEM}}, "is without TLS: use ssl"),
    "a password in clear": (
        {"kafka": {"security_protocol": "sasl_plaintext", "user": "w", "bootstrap_servers": "127.0.0.1:1,broker-1:1"}},
        "use sasl_ssl, or allow it with password_in_clear",
    ),
    "an unknown mechanism": ({"kafka": {"sasl_mechanism": "GSSAPI"}}, "kafka.sasl_mechanism"),
    "two passwords of ClickHouse": ({"clickhouse": {"password": SECRET, "password_file": "/p"}}, "password and password_file both hold it"),
    "an authority without TLS to ClickHouse": ({"clickhouse": {"ca_file": PEM}}, "would vouch for nobody"),
    "an authority that nobody asks": ({"clickhouse": {"ca_file": PEM, "secure": True, "verify": False}}, "would vouch for nobody"),
}


@pytest.mark.parametrize(("content", "named"), WRONG.values(), ids=WRONG)
def test_what_contradicts_itself_is_refused(content: dict[str, Any], named: str, tmp_path: Path) -> None:
    """At once, since a client would say minutes later that nobody answers; and without the secret."""
    with pytest.raises(ConfigError, match=r"site\.yaml") as caught:
        written(content, tmp_path)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    """Its first line, read anew: a site changes it under a running process."""
    file = tmp_path / "password"
    settings = load(overrides={"clickhouse": {"password_file": str(file)}}).clickhouse
    for line in ("first", "second "):
        file.write_text(f"{line}\nsomething else\n")
        assert settings.secret() == line
    assert load(overrides={"clickhouse": {"password": SECRET}}).clickhouse.secret() == SECRET


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "it is not text")], ids=str
)
def test_a_file_without_a_secret_is_named(content: bytes | None, why: str, tmp_path: Path) -> None:
    """The setting, the file, and what is wrong with it; not what is in it."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as caught:
        load(overrides={"clickhouse": {"password_file": str(file)}}).clickhouse.secret()
    assert str(file) in str(caught.value)
    assert "clickhouse.password_file" in str(caught.value)
    assert caught.value.advice


def test_secrets_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every form in which settings are shown."""
    monkeypatch.setenv("TRAINWATCH_KAFKA__PASSWORD", SECRET)
    monkeypatch.setenv("TRAINWATCH_CLICKHOUSE__PASSWORD", SECRET)
    settings = load(overrides={"kafka": {"user": "w", "certificate_file": PEM, "key_file": PEM, "key_password": SECRET}})
    assert settings.kafka.password.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings.kafka), settings.model_dump_json(), settings.digest()):
        assert SECRET not in shown
