"""The one signal of the runtime that is neither an error nor a result."""


class Abandoned(Exception):
    """The partitions are somebody else's, or time is up: drop them without a word to the sink; the next owner repeats the work."""
