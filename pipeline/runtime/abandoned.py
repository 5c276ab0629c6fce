"""What ends the work of a worker and is no fault of a record: somebody else has it now, or somebody cancelled it within."""

from pipeline.errors import ErrorCode, FatalError


class Abandoned(Exception):
    """The partitions are somebody else's, or time is up: drop them without a word to the sink; the next owner repeats the work."""


class Cancelled(FatalError):
    """What a worker cannot do without was cancelled, and nobody ends the worker: Faust would go on without it, and say nothing."""

    code = ErrorCode.INVARIANT_VIOLATION
    advice = "Nothing uncommitted is lost. Start it again, and report it with the log: this is a bug in trainwatch or in a library."
