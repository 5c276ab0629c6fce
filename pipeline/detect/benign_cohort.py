"""The harmless explanations of attempts that went worse than others of their cohort, in the form of `benign.py`.

In: a cohort and a comparison of those that loaded a writer's bytes with those that did not.  Out: an `Explanation`.
"""

from pipeline.detect.cohort import ALONE_MIN, OTHER_WRITERS, Cohort, Comparison, by_others, cleared
from pipeline.model.finding import Checked, Explanation
from pipeline.model.instants import DAY_MS
from pipeline.model.source import Source
from pipeline.model.words import many
from pipeline.stream.watermark import Watermarks

EXPLAINED = frozenset({"node_fail", "hardware", "out_of_memory", "time_limit", "preempted", "requeued"})  # causes of a verdict
HEARD_MS = DAY_MS  # the kernels of a small cluster may say nothing for hours
APART_MAX = 0.005  # of saying of bytes of others that they are not to blame, when they are; at each look


def written_with_leave(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001 - one signature for all
    """Writes by owners, services, writers that the settings name and holders of tickets are not exposures in the first place."""
    write = min(exposure.write for _, exposures in seen.group.exposed for exposure in exposures)
    note = "the writer is neither owner nor allowed writer, and no ticket covers it"
    return Explanation("written_with_leave", Checked.EXCLUDED, write.event_id, note)


def own_files(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A slower release of a library of the writer's own, which others chose to use."""
    others = min((each.write for _, mine in seen.group.exposed for each in mine if not each.own), default=None)
    if others is not None:
        return Explanation("own_files", Checked.EXCLUDED, others.event_id, "a record or the settings show that a file was somebody else's")
    return Explanation("own_files", Checked.NOT_CHECKED, note="no record shows that a file was anybody's but the writer's")


def one_owner(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """All harmed are one person's, who could have ended them so: ends without a word are easily made."""
    owners = {each.owner for each in seen.harmed}
    if len(owners) > 1:
        return Explanation("one_owner", Checked.EXCLUDED, note=f"of {many(len(owners), 'owner')}")
    return Explanation("one_owner", Checked.NOT_CHECKED, note="all of them are of one owner")


def machines(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A slow or failing machine: were the harmed on nodes on which others went well?"""
    bad, good = {node for each in seen.harmed for node in each.nodes}, {node for each in seen.fine for node in each.nodes}
    if not bad or not good:
        return Explanation("machines", Checked.NOT_CHECKED, note="no record says on which nodes they ran", missing=(Source.JOBCOMP,))
    if bad & good or not set.intersection(*(set(each.nodes) for each in seen.harmed)):
        return Explanation("machines", Checked.EXCLUDED, note=f"on {many(len(bad), 'node')}, of which {len(bad & good)} served others well")
    return Explanation("machines", Checked.NOT_CHECKED, note="all harmed ran on one node that served nobody else")


def other_writers(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Somebody else's bytes did it: were enough of the harmed exposed to this writer alone, or to others whose bytes are not to blame?"""
    enough, of = max(ALONE_MIN, (len(seen.harmed) + 1) // 2), len(seen.harmed)
    alone = [each for each in seen.harmed if not by_others(each, seen.group)]
    if len(alone) < enough and seen.apart <= APART_MAX:
        note = f"they go worse than others that loaded the same bytes of other hands; if those did it, p = {seen.apart:.2g}"
        return Explanation(OTHER_WRITERS, Checked.EXCLUDED, note=note)
    harmless = cleared(seen)
    alone = [each for each in seen.harmed if by_others(each, seen.group) <= harmless]
    if len(alone) >= enough:
        by = next((each.record.event_id for each in alone if each.record), "")
        return Explanation(OTHER_WRITERS, Checked.EXCLUDED, by, f"{len(alone)} of {of} loaded no other bytes that may do harm")
    note = f"only {len(alone)} of {of} loaded no other bytes that may do harm"
    return Explanation(OTHER_WRITERS, Checked.NOT_CHECKED, note=note)


def changed_for_all(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """A library or code that changed for all stays changed: did any go well after the write that had not loaded it?"""
    since = seen.group.since  # looks at all the exposed
    after = [each for each in seen.fine if each.attempt.start >= since]
    if after:
        by = next((each.record.event_id for each in after if each.record), "")
        return Explanation("changed_for_all", Checked.EXCLUDED, by, f"{many(len(after), 'other')} went well meanwhile")
    note = "nobody without these bytes ran since: something else may have changed"
    return Explanation("changed_for_all", Checked.NOT_CHECKED, note=note)


def by_chance(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:  # noqa: ARG001
    """Nothing but chance: excluded when what was seen would be as rare as the detector asks."""
    answer = Checked.EXCLUDED if seen.chance <= seen.chance_max else Checked.NOT_CHECKED
    return Explanation("by_chance", answer, note=f"p = {seen.chance:.2g}")


def hardware_ends(case: Cohort, seen: Comparison, now: Watermarks) -> Explanation:
    """Ends that the scheduler or the kernel explains are nobody's doing; of which the kernels' logs were not heard nobody knows.

    What a member tells of its end does not say whether its own nodes were heard: asked is whether any of the cluster was, in the day before
    it.  What comes behind it may not have come yet.  Where most were heard that is enough, and of how many none was is said.
    """
    name, causes = "hardware_ends", {each.cause for each in seen.harmed} & EXPLAINED
    if causes:
        return Explanation(name, Checked.NOT_CHECKED, note=f"some ended by {', '.join(sorted(causes))}")
    ends = [each.end for each in seen.harmed if each.end is not None and each.verdict == "unexplained"]
    cluster = case.subject.cluster
    unheard = sum(not now.heard_within(cluster, Source.KERNEL, end - HEARD_MS, end) for end in ends)
    silent, missing = f"at the end of {unheard} of them no kernel was heard", (Source.KERNEL,) if unheard else ()
    if 2 * unheard > len(ends):
        return Explanation(name, Checked.NOT_CHECKED, note=silent, missing=missing)
    if unheard:
        note = f"no record tells that any of the {len(ends)} ended by hardware, memory, time limit or preemption; {silent}"
        return Explanation(name, Checked.EXCLUDED, note=note, missing=missing)
    return Explanation(name, Checked.EXCLUDED, note="none of them ended by hardware, memory, time limit or preemption")


BENIGN = (written_with_leave, own_files, other_writers, machines, changed_for_all, by_chance, hardware_ends)
