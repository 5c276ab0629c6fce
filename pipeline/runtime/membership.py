"""The consumer group, as far as ownership needs it, behind Faust's consumer.

Faust's client lives in a thread with an event loop of its own; its objects must be called there.  A contract test holds the private
names used here.

Workers of two releases may share a group while both read each other's facts rightly.  `FACTS` says so to the broker, which lets nobody
into a group whose members go by another name, whoever of the two was there first:

    facts 2 | facts 2     side by side: a rolling restart           facts 1 | facts 2     the second to come ends, and says why

The generation of the group does not tell one assignment from the next: a static member is let in at the generation that it was put out of,
and between the two somebody else may have worked under its name.  So assignments are numbered, and known by the member's id as well.

    w1 in at 4 as a │ twin in at 4 as b: w1 is out │ the twin works, and dies │ w1 in at 4 as c: what a has read is not what is there
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.errors import FatalError
from pipeline.runtime.abandoned import Abandoned
from pipeline.runtime.partition import Source

# Raised when `model.told` or `model.incident` says what an older worker would take for something else; a field that it may ignore does not
# count.
FACTS = 3
BEAT_SECONDS = 0.1  # between two that the coordinator did not answer


class Shares(RoundRobinPartitionAssignor):
    """Partitions in turn, among workers that understand one another."""

    name = f"trainwatch-facts-{FACTS}"


class Tenure(NamedTuple):
    """From one assignment to the next."""

    number: int  # counted by this process
    generation: int  # of the group
    member: str  # the id under which the coordinator knows us; a new one each time that it has to make our acquaintance


class Listener(driver.ConsumerRebalanceListener):
    """Numbers assignments where Faust would take the generation for what tells them apart."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        thread = self._thread
        app: Any = thread.app
        coordinator = thread._ensure_consumer()._coordinator
        app.tenure = Tenure(app.tenure.number + 1, coordinator.generation, coordinator.member_id)
        app.consumer_generation_id = app.tenure.number
        await thread.on_partitions_assigned({TP(*pair) for pair in assigned}, app.tenure.number)


class GroupMembership:
    """Proof that this worker is still a member, in the tenure in which it took its partitions over."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.tenure: Tenure | None = None  # of the last take-over

    def current(self) -> Tenure:
        """Since the last assignment."""
        tenure: Tenure = self._app.tenure
        return tenure

    def assigned(self) -> list[Source]:
        """Our partitions, by name."""
        return sorted(Source(*pair) for pair in self._app.consumer.assignment())

    def join_again(self) -> None:
        """Have all partitions that there are shared out anew, if it is we who lead the group; nothing comes of it otherwise."""
        thread = self._app.consumer._thread
        consumer = thread._consumer

        def ask() -> None:  # the leader shares out what its client knows of
            consumer._client.force_metadata_update().add_done_callback(lambda _: consumer._coordinator.request_rejoin())

        thread.thread_loop.call_soon_threadsafe(ask)

    def ended(self) -> BaseException | None:
        """What has ended our membership; aiokafka keeps it until somebody fetches, which before the first assignment nobody does."""
        thread = getattr(self._app.consumer, "_thread", None)
        coordinator = getattr(thread and thread._consumer, "_coordinator", None)
        error: BaseException | None = getattr(coordinator, "_pending_exception", None)
        if isinstance(error, InconsistentGroupProtocolError):
            return FatalError(
                f"workers of an incompatible release are in the group {self._app.conf.id}, or were until a moment ago",
                advice="Releases that tell facts differently never run side by side. Stop all workers of the other one, wait "
                "kafka.session_timeout_seconds, then start this one: nothing is lost meanwhile. deploy/CHANGES.md says which releases. "
                "No other consumer may use this group.",
            )
        return error

    async def confirm(self, offsets: Mapping[Source, int]) -> None:
        """Commit, or tell that we live where there is nothing to commit: refused by the coordinator when we are out.  Raises Abandoned."""
        # A client commits in whatever generation it is: in a later one than ours it would speak for partitions of others, and one that
        # has lost its membership commits as generation -1, which an empty group accepts.  So it is looked at twice.
        if not self._held() or not await (self._app.consumer._thread.commit(dict(offsets)) if offsets else self._beat()):
            raise Abandoned("no longer a member of the group")
        if not self._held():
            raise Abandoned("no longer a member of the group as which the partitions were taken over")

    async def _beat(self) -> bool:
        thread = self._app.consumer._thread
        coordinator = thread._consumer._coordinator

        async def beat() -> bool:
            await coordinator.ensure_coordinator_known()
            return bool(await coordinator._do_heartbeat())

        while self._held():  # a coordinator that moves says neither
            if await thread.call_thread(beat):
                return True
            await asyncio.sleep(BEAT_SECONDS)
        return False

    def _held(self) -> bool:
        """Are we what we were when we took our partitions over?"""
        coordinator = self._app.consumer._thread._consumer._coordinator
        return self.tenure is not None and self.tenure[1:] == (coordinator.generation, coordinator.member_id)

    async def committed(self, source: Source) -> int | None:
        """The committed offset of an assigned partition."""
        thread = self._app.consumer._thread
        offset: int | None = await thread.call_thread(thread._consumer.committed, source)
        return offset

    async def position(self, source: Source) -> int:
        """The offset that would be fetched next."""
        thread = self._app.consumer._thread
        offset: int = await thread.position(source)
        return offset
