"""Settings to options of clients, and their errors to words, without a broker."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors as aio
from kafka import errors as sync

from pipeline.errors import BrokerUnavailable, ConfigError
from pipeline.runtime.access import absent, answering, reaching, told
from pipeline.runtime.app import explain
from pipeline.settings import KafkaSettings
from tests.integration.secured import Authority

SECRET = "correct-horse"  # noqa: S105  of nobody
KAFKA = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1,127.0.0.1:2", "user": "worker", "password": SECRET})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of one authority; `closed` has a key with a password."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    authority.issue("worker")
    authority.issue("closed", key_password=SECRET)
    (folder / "text.pem").write_text("no certificate\n")
    return folder


def settings(folder: Path, **fields: Any) -> KafkaSettings:
    """Files are those of the folder."""
    named = {name: folder / value if name.endswith("_file") else value for name, value in fields.items()}
    return KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1", **named})


def test_plain_text_needs_nothing() -> None:
    """Nothing but addresses."""
    kafka = KafkaSettings(bootstrap_servers="a:1,b:2")
    assert reaching(kafka) == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}


def test_an_account() -> None:
    """Under the names that both families of clients take; TLS that believes whom the system does."""
    options = reaching(KAFKA)
    assert options.pop("ssl_context").verify_mode is ssl.CERT_REQUIRED
    assert options == {
        "bootstrap_servers": ["127.0.0.1:1", "127.0.0.1:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "worker",
        "sasl_plain_password": SECRET,
    }


@pytest.mark.parametrize("name", ["worker", "closed"])
def test_a_certificate(files: Path, name: str) -> None:
    """Ours, with its key, and the site's own authority alone; host names are always compared."""
    password = {"key_password": SECRET} if name == "closed" else {}
    kafka = settings(files, ca_file="authority.pem", certificate_file=f"{name}.crt", key_file=f"{name}.key", **password)
    context: ssl.SSLContext = reaching(kafka)["ssl_context"]
    (authority,) = context.get_ca_certs()
    assert authority["subject"] == ((("commonName", "authority"),),)
    assert context.check_hostname


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no authority": ({"ca_file": "nowhere.pem"}, "kafka.ca_file: cannot read .*nowhere.pem: No such file"),
    "no certificate": ({"ca_file": "text.pem"}, "kafka.ca_file: .*text.pem holds no certificate"),
    "no own certificate": (
        {"certificate_file": "nowhere.crt", "key_file": "worker.key"},
        "kafka.certificate_file: cannot read .*nowhere.crt",
    ),
    "no key": ({"certificate_file": "worker.crt", "key_file": "nowhere.key"}, "kafka.key_file: cannot read .*nowhere.key"),
    "the key of another": ({"certificate_file": "worker.crt", "key_file": "closed.key", "key_password": SECRET}, "do not go together"),
    "a closed key": ({"certificate_file": "closed.crt", "key_file": "closed.key"}, "do not go together"),
    "a closed key, another password": (
        {"certificate_file": "closed.crt", "key_file": "closed.key", "key_password": "battery"},
        "do not go together",
    ),
    "no password": ({"user": "worker"}, "kafka.user is worker, and there is no password"),
    "no password file": ({"user": "worker", "password_file": "nowhere"}, "kafka.password_file: cannot read .*nowhere"),
}


@pytest.mark.parametrize(("fields", "why"), WRONG.values(), ids=WRONG)
def test_a_file_that_does_not_fit_is_named(files: Path, fields: dict[str, Any], why: str) -> None:
    """OpenSSL says neither which file it could not read, nor which setting names it; nor may it ask the terminal for a password."""
    with pytest.raises(ConfigError, match=why) as caught:
        reaching(settings(files, **fields))
    assert caught.value.advice
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        pytest.param(sync.SaslAuthenticationFailedError("no"), ConfigError, "refuses the user worker by SCRAM-SHA-512: no", id="account"),
        pytest.param(aio.SaslAuthenticationFailed("no"), ConfigError, "refuses the user worker", id="account, aiokafka"),
        pytest.param(sync.TopicAuthorizationFailedError("t"), ConfigError, "does not let worker do it", id="rights"),
        pytest.param(aio.GroupAuthorizationFailedError("g"), ConfigError, "does not let worker do it", id="rights, aiokafka"),
        pytest.param(sync.KafkaError("in: ClusterAuthorizationFailedError"), ConfigError, "does not let worker do it", id="rights, hidden"),
        pytest.param(sync.KafkaTimeoutError("late"), BrokerUnavailable, "cannot look", id="silence"),
        pytest.param(aio.KafkaConnectionError("gone"), BrokerUnavailable, "cannot look", id="silence, aiokafka"),
    ],
)
def test_what_an_error_means(error: Exception, kind: type[Exception], said: str) -> None:
    """What an operator has to do differs; what the clients raise hardly does."""
    with pytest.raises(kind, match=said) as caught, answering(KAFKA, "cannot look"):
        raise error
    assert caught.value is not error
    assert told(KAFKA, error, "cannot look").advice
    assert SECRET not in str(caught.value)


def test_a_topic_that_is_not_shown_may_be_hidden() -> None:
    """Kafka hides what an account may not see."""
    assert "topics acl" in absent(KAFKA, "t").advice
    assert "topics acl" not in absent(KafkaSettings(bootstrap_servers="b:1"), "t").advice


def test_a_worker_without_a_right_says_which_and_how_to_get_it() -> None:
    """Starting it again, which is the advice for any other end, would not help."""
    told_of = explain(aio.GroupAuthorizationFailedError("trainwatch"))
    assert isinstance(told_of, ConfigError)
    assert "trainwatch" in str(told_of)
    assert "topics acl" in told_of.advice
