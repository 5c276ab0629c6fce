"""A broker that lets nobody in unasked, for tests: TLS, client certificates, SCRAM and ACLs; and the certificates for it.

    TLS      no account at all: who gets in is nobody            MTLS   a certificate of our authority is asked for
    SASL     SCRAM or PLAIN inside TLS, rights by ACL             CLEAR  SCRAM without TLS, on the loopback address

The authority `admin` is a super user by its certificate, and makes the accounts and ACLs of a test.
"""

import asyncio
import datetime as dt
import ipaddress
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from kafka.errors import KafkaError

from pipeline.embedded import install, kafka, ports
from pipeline.embedded.ports import HOST
from pipeline.runtime.access import reaching
from pipeline.settings import KafkaSettings
from tests.patience import PATIENCE_SECONDS

LISTENERS = ("TLS", "MTLS", "SASL", "CLEAR")


class Authority:
    """Signs certificates into a folder.  Elliptic keys: made in no time."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        built = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._own = built.sign(self._key, hashes.SHA256())
        self.file.write_bytes(self._own.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, host: str = HOST, key_password: str = "") -> tuple[Path, Path]:
        """Certificate and key of a server or client of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = [x509.IPAddress(ipaddress.ip_address(host))]
        signed = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        closed = BestAvailableEncryption(key_password.encode()) if key_password else NoEncryption()
        certificate, private = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(signed.public_bytes(Encoding.PEM) + self._own.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
        return certificate, private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )


class SecureBroker:
    """A running broker.  Use `open_broker`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority(folder)
        self.certificate, self.key = self.authority.issue("admin")
        self._numbers: dict[str, int] = {}
        for name in (*LISTENERS, kafka.CONTROLLER):
            self._numbers[name] = ports.choose("", configured=0, remembered=None, taken=self._numbers.values())
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, listener: str) -> str:
        """host:port."""
        return f"{HOST}:{self._numbers[listener]}"

    def start(self) -> None:
        """Returns when it answers the administrator."""
        parts = install.find_kafka()
        numbers = {kafka.BROKER: self._numbers["TLS"], kafka.CONTROLLER: self._numbers[kafka.CONTROLLER]}
        (self.folder / "logs").mkdir()
        kafka.prepare(self.folder, logs=self.folder / "logs", parts=parts, ports=numbers, quota_mib=2048, over=self._properties())
        with (self.folder / "broker.out").open("wb") as out:
            self._process = subprocess.Popen(kafka.command(parts, self.folder, heap_mib=384), cwd=self.folder, stdout=out, stderr=out)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert self._process.poll() is None, (self.folder / "broker.out").read_text()[-3000:]
            assert time.monotonic() < deadline, "the broker does not answer"
            try:
                # A client that reaches nobody leaves sockets behind.
                socket.create_connection((HOST, self._numbers["MTLS"]), timeout=1).close()
                with self.admin() as admin:
                    admin.describe_topics()
            except (OSError, KafkaError):
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Within, it takes connections and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settings(self, listener: str, **fields: Any) -> KafkaSettings:
        """How to reach a listener; the authority is known unless CLEAR."""
        known = {} if listener == "CLEAR" else {"ca_file": self.authority.file}
        return KafkaSettings.model_validate({"bootstrap_servers": self.address(listener), **known, **fields})

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """A client of the super user."""
        options = reaching(self.settings("MTLS", certificate_file=self.certificate, key_file=self.key))
        client = KafkaAdminClient(**options, bootstrap_timeout_ms=2000)
        try:
            yield client
        finally:
            client.close()

    def enrol(self, user: str, password: str) -> None:
        """A SCRAM account, with both hashes; one request each, or Kafka refuses them as one account altered twice."""
        with self.admin() as admin:
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                answer = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, mechanism, password, iterations=4096)])
                assert answer == {user: None}, answer

    def _properties(self) -> dict[str, object]:
        store = self.folder / "broker.pem"
        certificate, key = self.authority.issue("broker")
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        protocols = {"TLS": "SSL", "MTLS": "SSL", "SASL": "SASL_SSL", "CLEAR": "SASL_PLAINTEXT", "CONTROLLER": "SSL"}
        addresses = ",".join(f"{name}://{self.address(name)}" for name in LISTENERS)
        jaas = "org.apache.kafka.common.security"
        plain = f'{jaas}.plain.PlainLoginModule required user_plainuser="plain-secret";'
        return {
            "listeners": f"{addresses},CONTROLLER://{self.address(kafka.CONTROLLER)}",
            "advertised.listeners": addresses,
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "MTLS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.file,
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
            **{
                f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
                for listener in ("sasl", "clear")
                for mechanism, module in (
                    ("scram-sha-512", f"{jaas}.scram.ScramLoginModule required;"),
                    ("scram-sha-256", f"{jaas}.scram.ScramLoginModule required;"),
                    ("plain", plain),
                )
            },
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:CN=admin;User:CN=broker",
            "allow.everyone.if.no.acl.found": "false",
        }


class TlsProxy:
    """TLS in front of a server that has none: what the embedded ClickHouse lacks.  Use as a context manager."""

    def __init__(self, authority: Authority, host: str, port: int, *, name: str = "proxy") -> None:
        self._target = host, port
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(*authority.issue(name))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> int:
        self._loop.set_exception_handler(lambda *_: None)  # handshakes that are refused are what tests are about
        self._server = await asyncio.start_server(self._connected, HOST, 0, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        ours = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not ours]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.05)  # aborted transports close in the next turns of the loop

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            for each in (writer, back):
                each.transport.abort()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()
