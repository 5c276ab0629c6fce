"""A seeded site in, its log records out, with the truth beside them.

People, jobs, machines and acts of interference are simulated as causes; the lines follow, in the formats and through the shippers
of a real cluster.  Nothing here knows how the pipeline reads or judges: this room imports none of ours but `errors`.

    clock, people, machines, work     the world           world       all of it together, with its tickets and its ledger
    lines_*                           values to text      shipping    lines to Kafka records
    deeds, slurm, training, endings   what is done        fates, acts, lookalikes, background, demand    who does it, and when
    week                              runs it             truth       what really happened

There are two sizes.  The week (`simulate`) is a small site with three patterns, kept in memory: the demo, the bench and the faults play it.
The cluster (`cluster.simulate`, a `plan.Plan`) is of any size and length with all patterns, and is streamed; to the world above it adds

    plan, cluster                     what to do, and doing it          chronicle       acts, look-alikes, jobs: the truth
    wares, scene                      what people share, what stories find and do       deeds_files, effects    what files are made to do
    cluster_demand, cluster_training, cluster_background                plots, harmless                         the acts; the look-alikes
"""

from pipeline.simulate.shipping import TOPICS, Record
from pipeline.simulate.truth import Act, Expected, JobTruth, Week
from pipeline.simulate.week import DEFAULT_START, simulate
from pipeline.simulate.world import Scale

__all__ = ["DEFAULT_START", "TOPICS", "Act", "Expected", "JobTruth", "Record", "Scale", "Week", "simulate"]
