"""Cited records in; by how many hands they could all have been written, out.

Sources are independent when one person cannot write both.  Kinds of logs are counted by the gate (detect/gates.py); this counts places:

    auditd on gpu-012, sshd on gpu-012              one origin: root of gpu-012 writes both
    auditd on gpu-012, sshd on login-01             two
    auditd on gpu-012, the scheduler's log          two: Slurm's controller, an API server, a bastion and a store keep logs of their own
    node=gpu-012 and node=gpu-013, by gpu-012       one: what a host hands in for others it may have made up, unless nobody else would;
                                                    so all that comes through one log host is one origin
    a line of sudo that the kernel's audit of the host does not confirm    none: anybody writes it (`logger`)
    a store's record under the name that the client gave itself            none: anybody is whom he likes there
    a host's log of which nobody says whose         no origin of its own: it may be the other one's

Whoever holds a shipper's credentials can name another host in the headers; only access to the topics keeps him from it.
"""

from collections.abc import Iterable

from pipeline.detect.gates import GROUPS
from pipeline.model.events import UNKNOWN_HOST
from pipeline.model.finding import OF_ANYBODY, UNPROVEN, Evidence
from pipeline.model.source import OF_HOSTS


def origins(cited: Iterable[Evidence]) -> frozenset[str]:
    """Hosts, and logs that no host of the cluster keeps; UNKNOWN_HOST where records of hosts name not even one."""
    proven = [item for item in cited if is_proven(item) and not item.summary.endswith(OF_ANYBODY)]
    hosts = {item.host or UNKNOWN_HOST for item in proven if item.source in OF_HOSTS}
    elsewhere = {GROUPS.get(item.source, item.source) for item in proven if item.source not in OF_HOSTS}
    return frozenset((hosts - {UNKNOWN_HOST} or hosts) | elsewhere)


def is_proven(item: Evidence) -> bool:
    """Has somebody sent it whom the site knows?"""
    return not item.summary.endswith(UNPROVEN)


def too_few(cited: Iterable[Evidence]) -> str:
    """Why these records are not independent of one another; "": they come from two places or more."""
    found = origins(cited)
    if len(found) >= 2 or not found:
        return ""
    (place,) = found
    if place == UNKNOWN_HOST:
        return "nobody says of which hosts the logs are that tell who acted: they may all be of one"
    return f"all evidence of who acted comes from {place} itself, and whoever is root there could have written it"
