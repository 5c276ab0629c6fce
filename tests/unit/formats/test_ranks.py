"""Labels of all launchers are taken off, and name the rank where they can."""

import re

import pytest

from pipeline.formats.ranks import LABEL_PATTERN, Labelled, unlabelled

ROWS = [
    ("mpirun", "[1,3]<stdout>:text", Labelled("text", 3, None)),
    ("mpirun of PRRTE", "[prterun-gpu-001-4711@1,12]<stderr>: text", Labelled("text", 12, None)),
    ("horovodrun", "[5]<stdout>:text", Labelled("text", 5, None)),
    ("SageMaker", "[1,mpirank:7,algo-1]<stderr>:text", Labelled("text", 7, None)),
    ("another role of torchrun", "[trainer2]:text", Labelled("text", None, 2)),
    (
        "Ray, coloured, with PyTorch's own",
        "\x1b[36m(RayTrainWorker pid=4711, ip=10.0.0.7)\x1b[0m [rank1]:[E ProcessGroupNCCL.cpp:563] x",
        Labelled("[E ProcessGroupNCCL.cpp:563] x", 1, None),
    ),
    ("Ray without a name", "(pid=4711) text", Labelled("text", None, None)),
    ("kubectl", "[pod/u017-train-0/main] text", Labelled("text", None, None)),
    ("pdsh before DeepSpeed", "gpu-001: [2026-03-02 19:40:41,765] [INFO] x", Labelled("[2026-03-02 19:40:41,765] [INFO] x", None, None)),
    ("pdsh before Megatron", "gpu-001:  iteration       10/ 100 |", Labelled(" iteration       10/ 100 |", None, None)),
    ("a word before a colon is text", "RuntimeError: text", Labelled("RuntimeError: text", None, None)),
    ("mpiexec's bare number is text", "[3] text", Labelled("[3] text", None, None)),
    ("a progress word is text", "[step3]: text", Labelled("[step3]: text", None, None)),
    ("srun before PyTorch", "3: [rank7]:[E x", Labelled("[E x", 7, None)),
]


@pytest.mark.parametrize(("name", "text", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_labels(name: str, text: str, expected: Labelled) -> None:
    """What the launcher put in front is gone, and nothing else is."""
    assert unlabelled(text) == expected, name


def test_the_pattern_of_claims_has_no_groups() -> None:
    """Formats put it into patterns whose groups they count."""
    assert re.compile(LABEL_PATTERN).groups == 0
