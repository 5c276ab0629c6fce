"""What can go wrong, as three branches, because a guard can do three things.

    TrainwatchError
      RejectedRecord    this record is wrong and stays wrong: dead letter, never retry
        DecodeError | UnknownFormat | SchemaMismatch | TimestampOutOfRange | RecordTooLarge | SplitLine
      TransientError    the world is unwell: back off, retry, then backpressure
        BrokerUnavailable | SinkUnavailable | SinkOverloaded
      FatalError        going on would lose or corrupt data: commit nothing, exit non-zero
        ConfigError | MigrationMissing | StateIncompatible | SourcesFailing | InvariantViolation | ServerFailed

Each class has a `code` from the closed enum below.  The code is the metric label and the dead letter's reason; exception text
never is.  `advice` tells an operator what to do next.
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The closed set of reasons; also the reasons for which a record can be filtered."""

    DECODE_ERROR = "decode_error"
    UNKNOWN_FORMAT = "unknown_format"
    SCHEMA_MISMATCH = "schema_mismatch"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    RECORD_TOO_LARGE = "record_too_large"
    SPLIT_LINE = "split_line"
    TOMBSTONE = "tombstone"
    EMPTY = "empty"
    CONTROL = "control"
    NOTHING_TO_KEEP = "nothing_to_keep"
    STEP_RAISED = "step_raised"
    INSERT_REFUSED = "insert_refused"
    BROKER_UNAVAILABLE = "broker_unavailable"
    SINK_UNAVAILABLE = "sink_unavailable"
    SINK_OVERLOADED = "sink_overloaded"
    CONFIG_ERROR = "config_error"
    MIGRATION_MISSING = "migration_missing"
    STATE_INCOMPATIBLE = "state_incompatible"
    SOURCES_FAILING = "sources_failing"
    INVARIANT_VIOLATION = "invariant_violation"
    SERVER_FAILED = "server_failed"


class TrainwatchError(Exception):
    """Base of all errors raised on purpose.  `advice` is one sentence for the operator."""

    code: ErrorCode
    advice = ""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        if advice:
            self.advice = advice


class RejectedRecord(TrainwatchError):
    """The record is wrong and stays wrong: it goes to the dead-letter topic with its code and is never retried."""

    code = ErrorCode.DECODE_ERROR
    format = ""  # the one that knew the line for its own


class DecodeError(RejectedRecord):
    """The bytes do not follow the format that claimed them."""

    code = ErrorCode.DECODE_ERROR


class UnknownFormat(RejectedRecord):
    """No payload format claims the line."""

    code = ErrorCode.UNKNOWN_FORMAT


class SchemaMismatch(RejectedRecord):
    """The syntax is right, but a field that the format promises is missing or has another type."""

    code = ErrorCode.SCHEMA_MISMATCH


class TimestampOutOfRange(RejectedRecord):
    """The event time is absurd: before 2000, or too far ahead of the record's own collection time."""

    code = ErrorCode.TIMESTAMP_OUT_OF_RANGE


class RecordTooLarge(RejectedRecord):
    """The record is longer than `ingest.record_bytes_max`."""

    code = ErrorCode.RECORD_TOO_LARGE


class SplitLine(RejectedRecord):
    """A piece of a line that a container runtime split, and that no stage puts together: kept as a row, read by nobody."""

    code = ErrorCode.SPLIT_LINE


class TransientError(TrainwatchError):
    """The world is unwell: the same work is tried again after `retry_after_seconds`, and nothing is dropped."""

    code = ErrorCode.SINK_UNAVAILABLE
    retry_after_seconds = 1.0


class BrokerUnavailable(TransientError):
    """Kafka does not answer."""

    code = ErrorCode.BROKER_UNAVAILABLE
    advice = "Check that the broker runs (`trainwatch status`) and that kafka.bootstrap_servers names it."


class SinkUnavailable(TransientError):
    """ClickHouse does not answer, or the outcome of an insert is unknown."""

    code = ErrorCode.SINK_UNAVAILABLE
    advice = (
        "Check that ClickHouse runs (`trainwatch status`), and that clickhouse.port is its native one (9000; with TLS 9440, and "
        "clickhouse.secure). Nothing is lost: the batch is kept and consumption pauses."
    )


class SinkOverloaded(TransientError):
    """ClickHouse answers but refuses the insert, since the table has too many parts or memory is short.

    Nothing is lost: the batch is kept, its partition pauses, lag grows until the insert goes through.
    """

    code = ErrorCode.SINK_OVERLOADED
    retry_after_seconds = 2.0
    advice = "Watch merges in system.parts. If parts still grow after ten minutes, raise checkpoint.interval_seconds."


class FatalError(TrainwatchError):
    """Going on would lose or corrupt data: nothing is committed and the process ends with a non-zero code."""

    code = ErrorCode.INVARIANT_VIOLATION


class ConfigError(FatalError):
    """Settings are wrong or contradict each other."""

    code = ErrorCode.CONFIG_ERROR


class MigrationMissing(FatalError):
    """The database schema is older than this release needs, or a released migration was edited."""

    code = ErrorCode.MIGRATION_MISSING
    advice = "Run `trainwatch migrate`."


class StateIncompatible(FatalError):
    """State was written by a release whose format this one cannot read."""

    code = ErrorCode.STATE_INCOMPATIBLE
    advice = "Run the release that wrote the state, or rebuild the state from the topics."


class SourcesFailing(FatalError):
    """Most lines of many hosts, which were read until now, cannot be read: by our own fault, or by a change at all of them."""

    code = ErrorCode.SOURCES_FAILING
    advice = (
        "Nothing of this was committed. `trainwatch dlq list` shows what was set aside before. After an upgrade of trainwatch run the "
        "former release; where the sources were upgraded, add to `sources` what `trainwatch sniff` proposes. ingest.failing_hosts: 0 goes "
        "on regardless, and what is not read is a gap."
    )


class InvariantViolation(FatalError):
    """Something that cannot happen happened."""

    code = ErrorCode.INVARIANT_VIOLATION
    advice = "Keep the log and report it: this is a bug in trainwatch."


class ServerFailed(FatalError):
    """An embedded server could not be installed, started or reached."""

    code = ErrorCode.SERVER_FAILED


def require(condition: object, message: str) -> None:
    """An assert that survives `python -O`.  Raises InvariantViolation."""
    if not condition:
        raise InvariantViolation(message)
