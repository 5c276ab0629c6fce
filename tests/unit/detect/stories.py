"""The firing stories of every detector, from its own test: for what must hold of all findings, whatever they are about."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from pipeline.detect.cohort import Cohort
from pipeline.detect.detector import Detector, registry
from pipeline.model.finding import Finding
from tests import build
from tests.build_subjects import judge_host, judge_identity
from tests.build_subjects import site as site_of_subjects

ACCOUNTS = {"p13_queue_flooding": "u012", "p16_reads_diagnoses": "team:blue"}


class Story(NamedTuple):
    """A firing row of a detector's own test."""

    detector: Detector
    told: Sequence[Any]
    account: str
    settings: dict[str, Any]

    def findings(self, **settings: Any) -> list[Finding]:
        """What is said of it, whatever its subject."""
        name, settings = self.detector.meta.id, {**self.settings, **settings}
        if self.detector.meta.subject == "job":
            return build.judge(name, *self.told, at=build.site(**settings))
        if self.detector.meta.subject == "host":
            return judge_host(name, *self.told, at=site_of_subjects(**settings))
        if self.detector.meta.subject == "identity":
            return judge_identity(name, self.account, *self.told, at=site_of_subjects(**settings))
        kind = "size" if name.startswith("p15") else "configuration"
        return list(self.detector.judge(Cohort(build.site(**settings), "main", f"{kind}/x", self.told), build.now()))


def stories() -> Iterator[Any]:
    """All firing rows."""
    for detector in registry():
        name = detector.meta.id
        module = importlib.import_module(f"tests.unit.detect.test_{name}")
        settings = {"artefact_roots": module.ROOTS} if hasattr(module, "ROOTS") else {}
        for row in module.FIRING:
            told = next(each for each in row if isinstance(each, list))
            yield pytest.param(Story(detector, told, getattr(row, "account", ACCOUNTS.get(name, "")), settings), id=f"{name}: {row[0]}")


STORIES = list(stories())
FIRST = list({each.values[0].detector.meta.id: each for each in STORIES}.values())
