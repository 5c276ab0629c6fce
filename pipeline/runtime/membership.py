"""The consumer group, as far as ownership needs it, behind Faust's consumer.

Faust's client lives in a thread with an event loop of its own; its objects must be called there.  A contract test holds the private
names used here.

Workers of two releases may share a group while both read each other's facts rightly.  `FACTS` says so to the broker, which lets nobody
into a group whose members go by another name, whoever of the two was there first:

    facts 2 | facts 2     side by side: a rolling restart           facts 1 | facts 2     the second to come ends, and says why
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import InconsistentGroupProtocolError

from pipeline.errors import FatalError
from pipeline.runtime.abandoned import Abandoned
from pipeline.runtime.partition import Source

# Raised when `model.told` or `model.incident` says what an older worker would take for something else; a field that it may ignore does not
# count.
FACTS = 3


class Shares(RoundRobinPartitionAssignor):
    """Partitions in turn, among workers that understand one another."""

    name = f"trainwatch-facts-{FACTS}"


class GroupMembership:
    """Proof that this worker is still a member, in the generation in which it took its partitions over."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.generation: int | None = None  # of the last take-over

    def current(self) -> int:
        """The generation that Faust was told last."""
        return int(self._app.consumer_generation_id)

    def assigned(self) -> list[Source]:
        """Our partitions, by name."""
        return sorted(Source(*pair) for pair in self._app.consumer.assignment())

    def member(self) -> str:
        """The id under which the coordinator knows us; a new one each time that it has to make our acquaintance."""
        return str(self._app.consumer._thread._consumer._coordinator.member_id)

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
        """Commit; refused by the coordinator when our session has expired.  Raises Abandoned."""
        thread = self._app.consumer._thread
        # A client commits in whatever generation it is: in a later one than ours it would speak for partitions of others, and one that
        # has lost its membership commits as generation -1, which an empty group accepts.  So it is looked at twice.
        if thread._consumer._coordinator.generation != self.generation or not await thread.commit(dict(offsets)):
            raise Abandoned("no longer a member of the group")
        if thread._consumer._coordinator.generation != self.generation:
            raise Abandoned("no longer a member of the group in which the partitions were taken over")

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
