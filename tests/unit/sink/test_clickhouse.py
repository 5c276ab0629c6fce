"""Errors of the driver and the server, sorted by what can be done about them."""

import struct

import pytest
from clickhouse_driver import errors as driver

from pipeline.errors import (
    ConfigError,
    FatalError,
    InvariantViolation,
    MigrationMissing,
    SinkOverloaded,
    SinkUnavailable,
    TransientError,
)
from pipeline.sink.clickhouse import _sorted_errors, sorted_error
from pipeline.sink.rows import RowsRefused


def server(code: int) -> driver.Error:
    """An answer of the server."""
    error: driver.Error = driver.ServerException("DB::Exception: no. Stack trace:\n0. ?", code)
    return error


ERRORS = [
    ("too many parts", server(252), SinkOverloaded),
    ("memory limit", server(241), SinkOverloaded),
    ("too many queries", server(202), SinkOverloaded),
    ("query timeout", server(159), SinkOverloaded),
    ("quota of the account", server(201), SinkOverloaded),
    ("read-only replica", server(242), SinkUnavailable),
    ("no Keeper", server(999), SinkUnavailable),
    ("unknown status of an insert", server(319), SinkUnavailable),
    ("the former try still runs", server(216), SinkUnavailable),
    ("connection refused", driver.NetworkError("refused"), SinkUnavailable),
    ("no answer in time", driver.SocketTimeoutError("slow"), SinkUnavailable),
    ("answer cut off", driver.UnexpectedPacketFromServerError("?"), SinkUnavailable),
    ("unknown table", server(60), MigrationMissing),
    ("unknown database", server(81), MigrationMissing),
    ("unknown column", server(16), MigrationMissing),
    ("wrong password", server(516), ConfigError),
    ("no right to insert", server(497), ConfigError),
    ("account that only reads", server(164), ConfigError),
    ("a bound of the account's profile", server(452), ConfigError),
    ("wrong type, seen by the driver", driver.TypeMismatchError("out of range"), RowsRefused),
    ("wrong type, seen by the server", server(53), RowsRefused),
    ("a code nobody thought of", server(49), InvariantViolation),
]


@pytest.mark.parametrize(("name", "error", "expected"), ERRORS, ids=[row[0] for row in ERRORS])
def test_an_error_is_sorted_by_what_to_do(name: str, error: driver.Error, expected: type[Exception]) -> None:
    """Retry, dead letter or stop; the server's stack trace is left out, and there is advice."""
    found = sorted_error(error)
    assert type(found) is expected
    assert "Stack trace" not in str(found)
    assert getattr(found, "advice", "")
    assert isinstance(found, TransientError | FatalError | RowsRefused)


def test_a_timeout_is_called_so() -> None:
    """The driver says its number alone, which nobody knows by heart at night."""
    assert (
        str(sorted_error(driver.SocketTimeoutError("(ch-1:9000)"))) == "no answer from ClickHouse (SOCKET_TIMEOUT): Code: 209. (ch-1:9000)"
    )


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), struct.error("unpack")], ids=type)
def test_an_answer_that_cannot_be_read_is_asked_for_again(error: Exception) -> None:
    """The driver may lose its place in what the server sends; it has closed the connection then."""
    with pytest.raises(SinkUnavailable, match="cannot be read"), _sorted_errors():
        raise error
