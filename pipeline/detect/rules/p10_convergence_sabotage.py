"""P10: attempts that loaded what somebody else had written learn otherwise than their siblings that had not, at the same steps.

In: the attempts of an account.  Out: one finding per writer.  Losses spike by themselves (about 20 times in one published run), so a
loss alone raises nothing: the losses of those that loaded the bytes must leave the band of their siblings step after step and stay
outside, and hardly any sibling may do the same.  The norm of the gradient, the learning rate, the samples consumed by a step, and the
arguments that training says it runs with (a seed, an optimizer) are compared in the same way (`learning.py`).  Each is compared with
siblings of its own configuration and size band, and what is seen in all of them counts together.

    step            1000   1100   1200   1300
    siblings        4.11   4.02   3.96   3.90     +- 0.03
    with the bytes  4.12   4.31   4.55   4.71     leaves the band and stays outside

Many attempts do not say what they load.  Where too few attempts say that they loaded the bytes and differ, those that say nothing and ran
while the bytes may have lain there are looked at too: they must differ as hardly any others of their configurations do.  Nobody is named
then, since most of this does not show what was loaded.  And nothing is found in this way while bytes of another hand lay there, unless
these are known to do no harm.
"""

from collections.abc import Iterator

from pipeline.detect import benign_cohort, cohort
from pipeline.detect.cohort import CITED_MAX, Blamed, Cohort, Comparison, cited, unnamed, unnamed_beside, unnamed_of_one
from pipeline.detect.detector import Meta, explained, found
from pipeline.detect.diverging import Clearest, clearest_of
from pipeline.model.finding import Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p10_convergence_sabotage",
    version=10,
    title="Training learns otherwise in the attempts that loaded what somebody else wrote",
    subject="cohort",
    severity=Severity.HIGH,
    attack=("T1565.003", "T1554", "AML.T0031"),
    needs=(Source.TRAINING, Source.PROBE, Source.AUDITD, Source.JOBCOMP),
    window_seconds="detect.convergence_window_seconds",
    benign=benign_cohort.BENIGN,
    required=cohort.REQUIRED,
    blind_spots=(
        "Who runs jobs of the same account and name decides what they print: his false siblings blur what is usual.",
        "A configuration that never ran without the bytes at that size has nothing to be compared with.",
        "Of who got further than siblings did all but a higher loss or norm, and beyond twice as far everything.",
        "Bytes that no attempt with the probe loads and differs by.",
        "Who prints before his write, in a job of his own, that he loaded the very bytes that he will write: they seem to have been there.",
        "One version beside twenty that do nothing: ten that more attempts loaded, and ten written later that two or more each loaded.",
        "Where attempts of more than eight sizes loaded the bytes, harm that begins within a size band may show only from the next one on.",
        "Harm smaller than six times the spread among siblings; a norm of the gradient less than two and a half times theirs, or too low.",
        "Frameworks whose lines carry no step number of the whole run.",
    ),
    runbook="Run the same configuration and seed with a clean copy of the file, and compare the losses step by step. "
    "By chance alone fewer than 1 in 100 whose harmless bytes two such attempts loaded are the subject of an alert at some time, unnamed.",
)


def judge(case: Cohort, now: Watermarks) -> Iterator[Finding]:
    """One finding per writer."""
    if case.kind == "configuration":
        seen = [(shown, _blamed(case, shown, now)) for group in case.groups() if (shown := clearest_of(case, group)) is not None]
        for (shown, blamed), several in zip(seen, cohort.one_of_several([blamed for _, blamed in seen]), strict=True):
            yield _raised(case, shown, blamed, several=several)


def _blamed(case: Cohort, shown: Clearest, now: Watermarks) -> Blamed:
    """What else may explain it."""
    diverged, members = shown.diverged, [member for member, _, _ in shown.diverged.harmed]
    beside, fine = shown.beside()
    compared = Comparison(diverged.group, members, fine, shown.chance, diverged.chance_max, beside, shown.apart)
    return Blamed(compared, explained(META, case, compared, now)[0])


def _raised(case: Cohort, shown: Clearest, blamed: Blamed, *, several: bool) -> Finding:
    diverged, chance, group, members = shown.diverged, shown.chance, shown.diverged.group, blamed.harmed
    withheld = unnamed(chance) or unnamed_of_one(members) or unnamed_beside(group, members)
    pieces = cited(group, members, beside=blamed.beside() if several else ())
    for _, _, lines in diverged.harmed[:CITED_MAX]:
        pieces += lines
    what = ", ".join(sorted({measure for _, measure, _ in diverged.harmed}))
    loaded = f" or, {diverged.untold} of them, do not say what they loaded meanwhile," if diverged.untold else ""
    loaded = f"that loaded what a foreign hand wrote{loaded}"
    return found(
        META,
        case,
        group.writer,
        blamed.checklist,
        effect="learns_otherwise",
        anchor=case.anchor(group),
        files=group.files,
        summary=f"{len(members)} of {diverged.exposed} attempts {loaded} leave the band of their siblings "
        f"({what}), of which {diverged.others - len(diverged.fine)} in {diverged.others} do",
        cited=pieces,
        parts=(("not by chance", round(1 - chance, 4)), ("compared with its own configuration and size", 0.9)),
        effect_time=group.last,
        cause_time=group.since,
        closes_at=group.last + case.site.grace_ms,
        withheld="most of those that differ did not say what they loaded" if diverged.untold else withheld,
        several_actors=several,
        aside=[cohort.OTHER_WRITERS] if several else (),
    )
