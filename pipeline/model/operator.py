"""By whom something was noted, as it stands in the records; whose account that is, out.

    u101@ops-1                            a command, run by the account u101 of the machine ops-1
    u101 through trainwatch.labels.v1     a label that came on a topic: its sender says whose it is
    root@ops-1 for u101                   a label by somebody who says who he is; also behind a topic

All begin with the account's login name.
"""

from pipeline.model.identity import LOGIN, Directory

THROUGH, FOR = " through ", " for "


def login_of(operator: str) -> str:
    """The account's login name."""
    return operator.partition(FOR)[0].partition(THROUGH)[0].partition("@")[0]


def spoken_for(operator: str) -> str:
    """Who the account's user says he is; empty: nobody else."""
    return operator.partition(FOR)[2]


def person_of(directory: Directory, operator: str, at: int) -> str:
    """Id of whoever has the account at `at`, UTC ms, or had it last; empty where the identity map does not know the login."""
    who = directory.held(LOGIN, login_of(operator), at)
    return who.id if who is not None else ""
