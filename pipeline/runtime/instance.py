"""Settings in; the name under which this process is a member of the consumer group out, held for as long as the process lives.

Under a name that a restart finds again, the coordinator gives the new process the partitions of the dead one at once; without one it
waits for the dead one's session to expire.  So each worker takes a slot of its host, and the name is made of host and slot:

    worker 1   gpu-012-0        killed ──► restarted: gpu-012-0 again, its partitions with it
    worker 2   gpu-012-1

A slot is an abstract Unix socket: the kernel lets go of it when the process is gone, whatever ended it, so nothing is left behind and
nothing has to be cleaned up; it is seen by all accounts of the host, and by containers that share its network and therefore its name.  A
lock file would need a folder that all of them may write to, and outlives a moved container.  A frozen process keeps its slot: who
replaces it gets another name, since two live processes under one name evict each other every half second.

Holds: no two live processes of a host have the same name in the same group.  Twins on two machines are found by `Twins`.
"""

import errno
import re
import socket
import struct
from collections import deque
from typing import NamedTuple

from aiokafka import errors as kafka

from pipeline.errors import ConfigError
from pipeline.model.ids import digest
from pipeline.settings import AUTO, Settings

SLOTS_MAX = 256  # workers of one group on one host; more than a host has cores
NAME_CHARACTERS_MAX = 200  # Kafka takes 249
TWIN_SECONDS = 60.0  # evictions this close together are no accident
YOUNG_SECONDS = 120.0  # the newcomer of two gives way
EVICTIONS_OF_NEWCOMER, EVICTIONS_OF_OLD = 3, 10


class Instance(NamedTuple):
    """A name in the group, and what holds it.  An empty name: an ordinary member."""

    name: str
    slot: int = 0
    held: socket.socket | None = None


def claim(settings: Settings) -> Instance:
    """Take a free slot, or the name that the settings give.  Raises ConfigError when a live process of this host has that name."""
    chosen = settings.worker.instance_id
    if not chosen:
        return Instance("")
    if chosen != AUTO:
        held = _hold(settings, chosen)
        if held is None:
            raise ConfigError(
                f"a live process of this host{_holder(settings, chosen)} is already instance {chosen} of group {settings.kafka.group}",
                advice="Give each worker an instance id of its own, or none: then host and slot make one. End a frozen process first.",
            )
        return Instance(chosen, held=held)
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:NAME_CHARACTERS_MAX]
    for slot in range(SLOTS_MAX):
        if held := _hold(settings, f"{host}-{slot}"):
            return Instance(f"{host}-{slot}", slot, held)
    return Instance("")


def _hold(settings: Settings, name: str) -> socket.socket | None:
    """None when somebody has it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(_address(settings, name))
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    held.listen(1)  # so that who asks can learn our pid
    return held


def _holder(settings: Settings, name: str) -> str:
    """ " (pid N)", or nothing when it does not tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_address(settings, name))
        except OSError:
            return ""
        pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return f" (pid {pid})"


def _address(settings: Settings, name: str) -> bytes:
    return b"\0trainwatch/" + digest(settings.kafka.bootstrap_servers, settings.kafka.group, name).encode()


class FencedInstance(kafka.BrokerResponseError):
    """What the broker answers to one of two twins that join at the same moment; aiokafka 0.14 takes it for an unknown error."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "another live process uses the same instance id"


kafka.kafka_errors.setdefault(FencedInstance.errno, FencedInstance)


def twin(name: str) -> ConfigError:
    """What to tell of it."""
    return ConfigError(
        f"another live process is instance {name} of this group, and each pushes the other out",
        advice="Give each worker an instance id of its own (worker.instance_id), or each machine a host name of its own.",
    )


class Twins:
    """Counts how often this process was put out of the group and came back under another member id.

    aiokafka does not name the instance in its heartbeats, so the broker answers the elder of two twins that it does not know him, and he
    joins again and puts the other one out: without this they would go on for ever, each taking state over and folding nothing.  The
    newcomer gives way; of two newcomers perhaps both, since nothing tells which of them is wanted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = ""
        self._began: float | None = None
        self._evictions: deque[float] = deque(maxlen=EVICTIONS_OF_OLD)

    def joined(self, member: str, at: float) -> None:
        """A rebalance is complete.  Raises ConfigError when another live process must be using our name."""
        self._began = at if self._began is None else self._began
        before, self._member = self._member, member
        if not self._name or not before or before == member:
            return
        self._evictions.append(at)
        limit = EVICTIONS_OF_NEWCOMER if at - self._began < YOUNG_SECONDS else EVICTIONS_OF_OLD
        if sum(at - each < TWIN_SECONDS for each in self._evictions) >= limit:
            raise twin(self._name)
