"""Settings of Kafka in; what every client needs to reach the broker out, and what it means when the broker refuses.

kafka-python, aiokafka and Faust's driver take the same names, so one mapping serves all.  A client is made with it and nothing else knows
of passwords or certificates.  Files are read each time a client is made: a site renews them under a running process.

An error is told apart by what the operator has to do, since all of these look alike to the clients, which try again until time is up:

    nobody answers           BrokerUnavailable   start it, or name another
    TLS does not come about  ConfigError         CA, certificate or host name
    the account is refused   ConfigError         user, password, mechanism
    the account may not      ConfigError         rights: `trainwatch topics acl`

Holds: no message has a secret in it.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from aiokafka import errors as aio
from aiokafka.conn import AIOKafkaConnection
from kafka import errors as sync

from pipeline.errors import BrokerUnavailable, ConfigError, TrainwatchError
from pipeline.settings import KafkaSettings, readable, secret_of

FIRST_ANSWER_MS = 10_000  # longest wait for a broker to answer at all
GREETING_SECONDS, GOODBYE_SECONDS = 5.0, 0.5
CLIENT = "trainwatch"
TLS_ALERT = b"\x15\x03"
# ApiVersions, version 0: answered before any account is named.
API_VERSIONS = struct.pack(f">ihhih{len(CLIENT)}s", 10 + len(CLIENT), 18, 0, 1, len(CLIENT), CLIENT.encode())
ACCOUNT = (
    sync.SaslAuthenticationFailedError,
    sync.UnsupportedSaslMechanismError,
    sync.IllegalSaslStateError,
    aio.AuthenticationFailedError,
    aio.SaslAuthenticationFailed,
    aio.UnsupportedSaslMechanismError,
    aio.IllegalSaslStateError,
)
RIGHTS = (
    sync.AuthorizationError,
    aio.TopicAuthorizationFailedError,
    aio.GroupAuthorizationFailedError,
    aio.ClusterAuthorizationFailedError,
    aio.TransactionalIdAuthorizationFailed,
)
RIGHTS_ADVICE = "`trainwatch topics acl` prints the rights that each account needs, as commands for Kafka's administrator."


def reaching(settings: KafkaSettings) -> dict[str, Any]:
    """Options of a client, with which it reaches the broker.  Raises ConfigError when a file is missing or does not fit."""
    options: dict[str, Any] = {"bootstrap_servers": settings.bootstrap_servers.split(","), "security_protocol": settings.protocol.upper()}
    if settings.protocol.endswith("ssl"):
        options["ssl_context"] = _tls(settings)
    if settings.protocol.startswith("sasl"):
        password = secret_of("kafka.password_file", settings.password, settings.password_file)
        if not password:
            raise ConfigError(
                f"kafka.user is {settings.user}, and there is no password",
                advice="Set kafka.password_file, or TRAINWATCH_KAFKA__PASSWORD in the environment.",
            )
        options |= {"sasl_mechanism": settings.sasl_mechanism, "sasl_plain_username": settings.user, "sasl_plain_password": password}
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    ca = settings.ca_file and readable("kafka.ca_file", settings.ca_file)
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise ConfigError(f"kafka.ca_file: {ca} holds no certificate", advice="Name a PEM file of the authorities.") from error
    if settings.certificate_file is None or settings.key_file is None:
        return context
    certificate, key = readable("kafka.certificate_file", settings.certificate_file), readable("kafka.key_file", settings.key_file)
    password = secret_of("kafka.key_password_file", settings.key_password, settings.key_password_file)
    try:
        context.load_cert_chain(certificate, key, lambda: password)  # without a function, OpenSSL would ask the terminal
    except ssl.SSLError as error:
        raise ConfigError(
            f"kafka.certificate_file and kafka.key_file: {certificate} and {key} do not go together: {_reason(error)}",
            advice="Both are PEM, the key belongs to the certificate, and kafka.key_password_file opens it.",
        ) from error
    return context


def client(kind: Callable[..., Any], settings: KafkaSettings, **options: Any) -> Any:
    """A client of kafka-python, with these options.  Raises BrokerUnavailable or ConfigError, the latter at once."""
    reached = {**reaching(settings), "bootstrap_timeout_ms": FIRST_ANSWER_MS}
    if settings.protocol != "plaintext":
        _knock(settings, reached)
    try:
        return kind(**{**reached, **options})
    except sync.KafkaTimeoutError as error:  # bootstrapping came to no end
        raise _misunderstood(settings, told(settings, error)) from error
    except sync.KafkaError as error:
        raise told(settings, error) from error


@contextmanager
def answering(settings: KafkaSettings, doing: str = "") -> Iterator[None]:
    """Kafka is asked something within.  Raises BrokerUnavailable or ConfigError where its client gives up."""
    try:
        yield
    except (sync.KafkaError, aio.KafkaError) as error:
        raise told(settings, error, doing) from error


def told(settings: KafkaSettings, error: BaseException, doing: str = "") -> TrainwatchError:
    """What an error of a client means to an operator; `doing`: what failed, when it is not the connection itself."""
    where = settings.bootstrap_servers
    if isinstance(error, ACCOUNT):
        return ConfigError(
            f"Kafka at {where} refuses the user {settings.user} by {settings.sasl_mechanism}: {_plain(error)}",
            advice="Check kafka.user, kafka.password_file (or TRAINWATCH_KAFKA__PASSWORD) and kafka.sasl_mechanism.",
        )
    if isinstance(error, RIGHTS) or "AuthorizationFailed" in str(error):  # kafka-python hides one of its producer in another error
        return ConfigError(
            f"Kafka at {where} does not let {settings.user or 'this account'} do it: {doing or 'no right'}: {_plain(error)}",
            advice=RIGHTS_ADVICE,
        )
    if isinstance(error, sync.InvalidReplicationFactorError):
        return ConfigError(
            f"{doing}: Kafka at {where} has fewer brokers than kafka.replication_factor, {settings.replication_factor}: {_plain(error)}",
            advice="Start the others, or set kafka.replication_factor to at most the number of brokers.",
        )
    return BrokerUnavailable(f"{doing or f'no answer from Kafka at {where}'}: {error!r}")


def _misunderstood(settings: KafkaSettings, why: TrainwatchError) -> TrainwatchError:
    """`why`, unless a server answers there that expects TLS or an account."""
    if settings.protocol.startswith("sasl") or not (greeting := _greeting(settings)):
        return why
    if greeting.startswith(TLS_ALERT):
        said = f"Kafka at {settings.bootstrap_servers} speaks TLS, and we do not"
        return ConfigError(said, advice="Set kafka.ca_file, or kafka.security_protocol: ssl.")
    advice = "A server answers there and hangs up on clients without an account: does it need kafka.user and kafka.password_file?"
    return BrokerUnavailable(str(why), advice=advice)


def absent(settings: KafkaSettings, topic: str) -> ConfigError:
    """A topic that Kafka does not show."""
    hidden = "" if settings.protocol == "plaintext" else " If it is there, this account may not see it: `trainwatch topics acl`."
    return ConfigError(f"the topic {topic} does not exist", advice=f"Run `trainwatch topics create`.{hidden}")


def _knock(settings: KafkaSettings, options: Mapping[str, Any]) -> None:
    """Come in and go again: kafka-python tries until its time is up, whatever the broker said, and then does not say it.

    Who does not answer is left to it, since a broker may be starting.  Raises ConfigError when all that answer refuse us.
    """
    refused: ConfigError | None = None
    for host, port in map(_host_and_port, options["bootstrap_servers"]):
        try:
            if "ssl_context" in options:
                _greet(host, port, options["ssl_context"])
            if "sasl_mechanism" in options:
                asyncio.run(_sign_in(host, port, options))
        except ssl.SSLError as error:
            refused = ConfigError(f"no TLS with Kafka at {host}:{port}: {_reason(error)}", advice=_tls_advice(error))
        except ACCOUNT as error:
            refused = ConfigError(str(why := told(settings, error)), advice=why.advice)
        except (OSError, aio.KafkaError):
            continue
        else:
            return
    if refused is not None:
        raise refused


async def _sign_in(host: str, port: int, options: Mapping[str, Any]) -> None:
    """Raises what aiokafka raises: its client says at once why it was refused."""
    names = {name: value for name, value in options.items() if name.startswith(("sasl_", "ssl_context", "security_"))}
    connection = AIOKafkaConnection(host, port, client_id=CLIENT, request_timeout_ms=FIRST_ANSWER_MS, **names)
    try:
        await connection.connect()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(connection.close(), GOODBYE_SECONDS)


def _greet(host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    """The first bytes of the answer to a question that needs no account; with TLS 1.3, what is wrong with our certificate comes then.

    Raises OSError, of which SSLError is one.
    """
    with socket.create_connection((host, port), timeout=GREETING_SECONDS) as plain:
        if context is None:
            plain.sendall(API_VERSIONS)
            return plain.recv(8)
        with context.wrap_socket(plain, server_hostname=host) as connection:
            connection.sendall(API_VERSIONS)
            return connection.recv(8)


def _greeting(settings: KafkaSettings) -> bytes:
    """What the first that answers says; empty: none does."""
    context = _tls(settings) if settings.protocol == "ssl" else None
    for host, port in map(_host_and_port, settings.bootstrap_servers.split(",")):
        with suppress(OSError):
            return _greet(host, port, context)
    return b""


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _plain(error: BaseException) -> str:
    """Without the number and the names of the classes, which both clients put before it."""
    return re.sub(r"^(\[Error \d+\] )?(\w+: )*", "", str(error)) or type(error).__name__


def _reason(error: ssl.SSLError) -> str:
    """`certificate verify failed: Hostname mismatch ...`, without OpenSSL's brackets."""
    return re.sub(r"^\[[^\]]*\] ?| ?\(_ssl\.c:\d+\)$", "", error.args[-1] if error.args else str(error))


def _tls_advice(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "mismatch" in error.verify_message:
            return "Write kafka.bootstrap_servers with a host name that the broker's certificate has."
        return "Set kafka.ca_file to the authorities that signed the broker's certificate."
    if "ALERT" in (error.reason or ""):
        return "The broker asks for a certificate that it trusts: set kafka.certificate_file and kafka.key_file."
    return "Does this port speak TLS? Otherwise set kafka.security_protocol, or name another port."
