"""What explanations answer while the tests of a detector run; at their end each must have shown all that it can say.

Every test file of a detector is held to it by itself, once all its tests have run: where some were left out nothing is asked.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from pipeline.detect import detector
from pipeline.detect.doubts import DOUBTS, SETTLED
from pipeline.model.finding import Checked

Answers = Counter[tuple[str, Checked]]


@pytest.fixture(scope="module", autouse=True)
def _each_explanation_is_shown(request: pytest.FixtureRequest) -> Iterator[None]:
    """Those that acquit are confirmed once and excluded once; doubts are not checked once, excluded once, and never confirmed."""
    name = request.module.__name__.rpartition(".test_")[2]
    judged = [each.meta for each in detector.registry() if each.meta.id == name]
    if not judged:
        yield
        return
    answers: Answers = Counter()
    with detector.witnessed(lambda _, __, said: answers.update((each.name, each.answer) for each in said)):
        yield
    if _is_whole(request):
        for explain in judged[0].benign:
            missing = sorted(_must_answer(name, explain.__name__) - {answer for about, answer in answers if about == explain.__name__})
            assert not missing, f"{name}: no test in which {explain.__name__} is {' or '.join(missing)}"
            acquits = answers[explain.__name__, Checked.CONFIRMED] > 0
            assert not acquits or explain.__name__ not in DOUBTS, f"{explain.__name__} acquits: it is no doubt"


def _must_answer(judging: str, explanation: str) -> set[Checked]:
    if (judging, explanation) in SETTLED:
        return {Checked.EXCLUDED}
    return {Checked.EXCLUDED, Checked.NOT_CHECKED if explanation in DOUBTS else Checked.CONFIRMED}


def _is_whole(request: pytest.FixtureRequest) -> bool:
    """Has every test function of the file run?"""
    chosen = {item.originalname for item in request.session.items if isinstance(item, pytest.Function) and item.module is request.module}
    return chosen >= {name for name in vars(request.module) if name.startswith("test_")} and not request.config.option.keyword
