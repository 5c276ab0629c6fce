"""Which job an object of Kubernetes belongs to: by the names that controllers make."""

import pytest

from pipeline.model.workload import is_workload, job_of, kind_of

NAMES = [
    ("Pod", "pretrain-worker-3", "pretrain"),
    ("pods", "pretrain-master-0", "pretrain"),
    ("Pod", "pretrain-launcher", "pretrain"),
    ("Pod", "pretrain-0-x8k2p", "pretrain"),
    ("Pod", "pretrain-x8k2p", "pretrain"),
    ("Pod", "u017-train-0", "u017-train"),
    ("Pod", "my-worker", "my"),
    ("Pod", "pretrain", "pretrain"),
    ("Pod", "0", "0"),
    ("PyTorchJob", "pretrain-worker-3", "pretrain-worker-3"),
    ("pytorchjobs.kubeflow.org", "pretrain", "pretrain"),
    ("jobs.batch", "a", "a"),
    ("Workload", "pytorchjob-pretrain-1a2b3", "pretrain"),
    ("workloads.kueue.x-k8s.io", "job-a-b-1a2b3", "a-b"),
    ("PodGroup", "pretrain-0b1c2d3e-0b1c-0b1c-0b1c-0b1c2d3e4f5a", "pretrain"),
]


@pytest.mark.parametrize(("kind", "name", "job"), NAMES)
def test_an_object_belongs_to_the_job_whose_name_it_carries(kind: str, name: str, job: str) -> None:
    """Kinds and resources alike, with their namespace before the job."""
    assert job_of("llm", kind, name) == f"llm/{job}"
    assert is_workload(job_of("llm", kind, name))


@pytest.mark.parametrize(("kind", "name"), [("Service", "a"), ("Node", "gpu-001"), ("Pod", ""), ("", "a")])
def test_what_runs_nothing_has_no_job(kind: str, name: str) -> None:
    """Nor has a request without a name."""
    assert job_of("llm", kind, name) == ""


def test_a_long_name_costs_no_more_than_its_length() -> None:
    """A name is whatever a request says."""
    assert len(job_of("llm", "Pod", "a-1" * 100_000)) <= 253 + 4


@pytest.mark.parametrize(("said", "kind"), [("PyTorchJob", "pytorchjob"), ("jobs.batch", "job"), ("pods", "pod"), ("ps", "ps")])
def test_kinds_and_resources_are_one_word(said: str, kind: str) -> None:
    """Singular, without group."""
    assert kind_of(said) == kind


def test_slurm_jobs_are_no_workloads() -> None:
    """Their ids have no slash."""
    assert not is_workload("48213")
