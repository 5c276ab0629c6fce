"""Row objects in, blocks in ClickHouse out; questions in, rows out.  The only module that knows the driver.

A block is one insert of one table, one source partition and one contiguous offset range, under a token that ClickHouse remembers: the
same block sent twice is stored once, also after a crash on either side.  That holds only if the server gets it as one block, so a
block stays below the driver's and the server's block size, and asynchronous inserts (the default since 26.7) are off.  `deduplicate_insert`
overrides `insert_deduplicate` since 26.2; servers before it pass over a setting that they do not know.

    insert(token) --- lost answer ---> insert(token) again --- absorbed ---> stored once

An error of an insert tells nothing about its outcome; it is sorted into what the caller can do about it:

    transient   network, timeout, too many parts, memory, read-only replica, unknown status    the same insert again, without end
    rows        a value that its column does not take: `RowsRefused` names the rows             dead letter, the rest under the token
    fatal       unknown table or column, wrong password, an error nobody thought of              stop, commit nothing

Holds: one query at a time on a connection, and a connection for each thread; never on the event loop; a connection is opened by its first
query and again after any error; the columns of an insert are those of `rows.py`.
"""

import logging
import ssl
import struct
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import clickhouse_driver
import msgspec
from clickhouse_driver import errors as driver

from pipeline.errors import ConfigError, FatalError, InvariantViolation, MigrationMissing, SinkOverloaded, SinkUnavailable, require
from pipeline.model.ids import digest
from pipeline.model.outcome import RangeRow
from pipeline.model.sealed import Sealed
from pipeline.settings import ClickHouseSettings, readable
from pipeline.sink import rows as layout
from pipeline.sink.rows import (
    EVENTS,
    INCARNATION,
    RANGES,
    ROOTS,
    STANDINGS,
    TABLES,
    UNREADABLE,
    RowsRefused,
    StandingRow,
    Table,
    UnreadableRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# The driver logs a stack trace at every connection that fails, and raises as well: once is enough.
logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)

# Both the driver (1,048,576 rows) and the server (max_insert_block_size, 1,048,449 rows) cut larger blocks, and a cut block
# is no longer the block of its token.
BLOCK_ROWS_MAX = 1_000_000
CONNECT_SECONDS = 10.0
INSERT_SETTINGS: Mapping[str, Any] = {
    "async_insert": 0,
    "max_partitions_per_insert_block": 0,
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
}

# Codes of ClickHouse's src/Common/ErrorCodes.cpp.
OVERLOADED = {
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    241: "MEMORY_LIMIT_EXCEEDED",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    364: "RECEIVED_ERROR_TOO_MANY_REQUESTS",
    745: "SERVER_OVERLOADED",
}
UNAVAILABLE = {
    3: "UNEXPECTED_END_OF_FILE",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    198: "DNS_ERROR",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    242: "TABLE_IS_READ_ONLY",
    254: "NO_ACTIVE_REPLICAS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    473: "DEADLOCK_AVOIDED",
    499: "S3_ERROR",
    999: "KEEPER_EXCEPTION",
}
MIGRATION = {8: "THERE_IS_NO_COLUMN", 10: "NOT_FOUND_COLUMN", 16: "NO_SUCH_COLUMN_IN_TABLE", 47: "UNKNOWN_IDENTIFIER"} | {
    60: "UNKNOWN_TABLE",
    81: "UNKNOWN_DATABASE",
    218: "TABLE_IS_DROPPED",
}
CONFIGURATION = {
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    291: "DATABASE_ACCESS_DENIED",
    452: "SETTING_CONSTRAINT_VIOLATION",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
}
NO_TLS = {  # in the driver's words, whose errors have no code of their own for it
    "Hostname mismatch": "Set clickhouse.host to a name that the server's certificate has.",
    "IP address mismatch": "Set clickhouse.host to a name that the server's certificate has.",
    "CERTIFICATE_VERIFY_FAILED": "Set clickhouse.ca_file to the authorities that signed the server's certificate.",
    "WRONG_VERSION_NUMBER": "Set clickhouse.port to the port of ClickHouse that speaks TLS, 9440 as a rule, or clickhouse.secure to false.",
}
ROWS = {53: "TYPE_MISMATCH", 69: "ARGUMENT_OUT_OF_BOUND", 70: "CANNOT_CONVERT_TYPE", 131: "TOO_LARGE_STRING_SIZE"}


def sorted_error(error: driver.Error) -> Exception:
    """The error of the tree that says what can be done about an error of the driver or the server."""
    code = getattr(error, "code", 0) or 0
    text = str(error).split("Stack trace", maxsplit=1)[0].strip().removeprefix("DB::Exception: ")
    if code in ROWS:
        return RowsRefused(f"ClickHouse refuses a value: {text}", ())
    if code in OVERLOADED:
        return SinkOverloaded(f"ClickHouse refuses the work: {text}")
    if found := next((name for name in NO_TLS if name in text), None):
        return ConfigError(f"no TLS with ClickHouse: {text}", advice=NO_TLS[found])
    if not isinstance(error, driver.ServerException) or code in UNAVAILABLE:
        name = UNAVAILABLE.get(code, "")  # the driver's words for a timeout are its number
        return SinkUnavailable(f"no answer from ClickHouse: {text}" if name in text else f"no answer from ClickHouse ({name}): {text}")
    if code in MIGRATION:
        return MigrationMissing(f"the database is not what this release expects: {text}")
    if code in CONFIGURATION:
        return ConfigError(
            f"ClickHouse refuses access: {text}",
            advice="Check clickhouse.user, clickhouse.password_file and the account's rights: deploy/sql/roles.sql grants them.",
        )
    return InvariantViolation(
        f"ClickHouse answers with error {code}: {text}",
        advice="Nothing was committed. Look the code up in ClickHouse's documentation; once the cause is gone, start the worker again.",
    )


@contextmanager
def _sorted_errors() -> "Iterator[None]":
    try:
        yield
    except driver.Error as error:
        raise sorted_error(error) from error
    except (EOFError, OSError) as error:  # the driver lets some errors of the socket through
        raise SinkUnavailable(f"connection to ClickHouse lost: {error}") from error
    except (UnicodeDecodeError, struct.error) as error:  # it lost its place in what was sent, and has closed the connection
        raise SinkUnavailable(f"an answer of ClickHouse cannot be read: {error}") from error


def authorities(settings: ClickHouseSettings) -> str | None:
    """The file of those of the settings, else the system's: left alone, the driver prefers a list of its own where that is installed.

    Raises ConfigError.
    """
    if settings.ca_file is None:
        return ssl.get_default_verify_paths().cafile if settings.secure else None
    file = readable("clickhouse.ca_file", settings.ca_file)
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise ConfigError(f"clickhouse.ca_file: {file} holds no certificate", advice="Name a PEM file of the authorities.") from error
    return file


class Database:
    """A connection for questions and definitions.  Blocks; one query at a time; raises errors of the tree."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self.name = settings.database
        self.settings = settings
        # `default` exists everywhere, our own database not before the first migration; all names are written out in full.
        self._client = clickhouse_driver.Client(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.secret(),
            database="default",
            secure=settings.secure,
            verify=settings.verify,
            ca_certs=authorities(settings),
            connect_timeout=CONNECT_SECONDS,
            send_receive_timeout=settings.timeout_seconds,
            sync_request_timeout=min(5.0, settings.timeout_seconds),
            tcp_keepalive=True,
            client_name="trainwatch",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the next query opens it again."""
        self._client.disconnect()

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; `{db}` in it stands for our database and `%(name)s` for a parameter.  Raises TransientError or FatalError."""
        return self.query_with_columns(sql, parameters)[1]

    def query_with_columns(self, sql: str, parameters: Mapping[str, Any] | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The same, with the names of the columns."""
        with _sorted_errors():
            found, columns = self._client.execute(
                sql.replace("{db}", self.name), dict(parameters) if parameters else None, with_column_types=True
            )
        return [name for name, _ in columns], found

    def command(self, sql: str) -> None:
        """A statement without an answer, e.g. of a migration.  Raises TransientError or FatalError."""
        with _sorted_errors():
            self._client.execute(sql)

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], **settings: Any) -> None:
        """One block by column name; for the few small tables that are not rows of records."""
        names = ", ".join(columns)
        with _sorted_errors():
            self._client.execute(
                f"INSERT INTO {self.name}.{table} ({names}) VALUES", list(columns.values()), columnar=True, settings=settings
            )

    def columns(self, table: str) -> dict[str, str]:
        """Column name -> type, in the order of the table; empty when there is no such table."""
        found = self.query(
            "SELECT name, type FROM system.columns WHERE database = %(database)s AND table = %(table)s ORDER BY position",
            {"database": self.name, "table": table},
        )
        return {str(name): str(kind) for name, kind in found}


class ClickHouseSink:
    """The port of `runtime/ports.py` on a real ClickHouse.

    `incarnation` of the topic is stored with the rows and asked for by `landed`, so that the offsets of a recreated broker are not
    taken for those that an earlier one gave out.
    """

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings, self._own = settings, threading.local()
        self._opened: list[Database] = []

    @property
    def database(self) -> Database:
        """The connection of the thread that asks."""
        found: Database | None = getattr(self._own, "database", None)
        if found is None:
            found = self._own.database = Database(self._settings)
            self._opened.append(found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        for database in self._opened:
            database.close()

    def tables(self, rows: Sequence[msgspec.Struct]) -> dict[str, list[msgspec.Struct]]:
        """The rows per table, in their order."""
        return layout.by_table(rows)

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        """One block, stored once per token.  Raises TransientError (send the same again), RowsRefused or FatalError."""
        if rows:
            self._insert(TABLES[table], rows, token, {INCARNATION: [incarnation] * len(rows)})

    def write_ranges(self, ranges: Sequence[RangeRow]) -> None:
        """The audit copies of ranges; harmless when repeated, in whatever company: the table keeps one of each."""
        self._insert(RANGES, ranges, f"ranges-{digest(*(each.token for each in ranges))}", {})

    def write_roots(self, sealed: Sequence[Sealed]) -> None:
        """What ranges were sealed as; harmless when repeated: the same head is the same row."""
        self._insert(ROOTS, sealed, f"roots-{digest(*(each.signature for each in sealed))}", {})

    def write_standings(self, rows: Sequence[StandingRow]) -> None:
        """Where a worker stands.  One try: what was lost is not missed."""
        self._insert(STANDINGS, rows, f"standings-{uuid.uuid4().hex}", {})

    def write_unreadable(self, rows: Sequence[UnreadableRow]) -> None:
        """What of sources could not be read.  One try; the greatest count of an hour stays."""
        self._insert(UNREADABLE, rows, f"unreadable-{uuid.uuid4().hex}", {})

    def landed(self, table: str, topic: str, partition: int, lo: int, hi: int, incarnation: str = "") -> int:
        """How many rows of the range are stored.

        A lower bound where rows of one id replace one another (all but `events`): inserting those again changes nothing.
        """
        sql = (
            f"SELECT count() FROM {{db}}.{TABLES[table].name} "  # noqa: S608  a name from our own table of tables
            "WHERE _topic = %(topic)s AND _partition = %(partition)s AND _offset >= %(lo)s AND _offset < %(hi)s"
        )
        parameters: dict[str, Any] = {"topic": topic, "partition": partition, "lo": lo, "hi": hi}
        if incarnation:
            sql += f" AND {INCARNATION} = %(incarnation)s"
            parameters["incarnation"] = incarnation
        return int(self.database.query(sql, parameters)[0][0])

    def noted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> bool:
        """Is this very range noted?"""
        return self._holds(RANGES, {"topic": topic, "incarnation": incarnation, "partition": partition, "lo": lo, "hi": hi})

    def rooted(self, topic: str, partition: int, lo: int, hi: int, incarnation: str, root: str) -> bool:
        """Is this very range kept as sealed under this root?"""
        return self._holds(ROOTS, {"topic": topic, "incarnation": incarnation, "partition": partition, "lo": lo, "hi": hi, "root": root})

    def stored(self, topic: str, partition: int, lo: int, hi: int, incarnation: str) -> frozenset[int]:
        """Offsets of the range that have rows of `events`."""
        found = self.database.query(
            f"SELECT DISTINCT _offset FROM {{db}}.{EVENTS.name} WHERE _topic = %(topic)s AND _partition = %(partition)s "  # noqa: S608  same
            f"AND _offset >= %(lo)s AND _offset < %(hi)s AND {INCARNATION} = %(incarnation)s",
            {"topic": topic, "partition": partition, "lo": lo, "hi": hi, "incarnation": incarnation},
        )
        return frozenset(offset for (offset,) in found)

    def _holds(self, table: Table, row: Mapping[str, Any]) -> bool:
        """Is there a row with these values?"""
        sql = f"SELECT count() FROM {{db}}.{table.name} WHERE " + " AND ".join(f"{name} = %({name})s" for name in row)  # noqa: S608  same
        return bool(self.database.query(sql, row)[0][0])

    def _insert(self, table: Table, rows: Sequence[msgspec.Struct], token: str, constant: Mapping[str, list[str]]) -> None:
        require(len(rows) <= BLOCK_ROWS_MAX, f"{len(rows)} rows for {table.name}: more than one block")
        names = ", ".join((*table.names, *constant))
        try:
            block = [*layout.columns_of(table, rows), *constant.values()]
            with _sorted_errors():
                self.database._client.execute(
                    f"INSERT INTO {self.database.name}.{table.name} ({names}) VALUES",
                    block,
                    columnar=True,
                    settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
                    query_id=f"{token}-{uuid.uuid4().hex}",  # of this try alone: another worker's try of the token may still run
                )
        except (RowsRefused, AttributeError, TypeError, ValueError, struct.error) as error:
            # What the driver raises on a value of a wrong type depends on the type.
            raise _refusal(table, rows, error) from error


def _refusal(table: Table, rows: Sequence[msgspec.Struct], error: Exception) -> Exception:
    found = layout.refused(table, rows)
    if not found and not isinstance(error, RowsRefused):
        return FatalError(f"the driver failed on {table.name}: {error!r}", advice="This is a bug in trainwatch: report it with the log.")
    named = ", ".join(f"row {position} column {column}" for position, column in found[:5]) or str(error)
    return RowsRefused(f"{table.name} refuses {len(found)} of {len(rows)} rows: {named}", tuple(position for position, _ in found))
