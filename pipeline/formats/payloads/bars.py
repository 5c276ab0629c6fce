"""The text of a progress bar in; how far it came, and what stands after it, out.

tqdm draws over its own line with carriage returns, so that a log line holds hundreds of updates glued together, and whatever another
logger printed in between.  Only the last whole update is read, from the end of the line: the others are older news.

    Epoch 0: :  12%|#2        | 40/333 [00:51<06:17,  0.78it/s, v_num=a1, reduced_train_loss=6.93, global_step=39.00]
    Epoch 1: : 1it [00:04,  4.36s/it, v_num=d3c7, reduced_train_loss=0.674]

Counts before the slash are exact; what stands in the brackets is rounded to three digits, so that `global_step=3.2e+4` numbers no step.

Source: github.com/tqdm/tqdm tqdm/std.py (format_meter, set_postfix).
Holds: linear time, for no more than the last TAIL_CHARACTERS are looked at.
"""

import re
from typing import NamedTuple

TAIL_CHARACTERS = 1500
POSTFIX_MAX = 32
_NUMBER = r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][-+]?[0-9]{1,4})?|nan|-?inf"
_BAR = re.compile(
    r"(?:([0-9]{1,3})%\|[^|\r\n]{0,300}\| {0,4}([0-9]{1,15})/([0-9]{1,15})|([0-9]{1,15})it) "
    r"\[(?:[0-9]{1,4}:)?[0-9:]{4,9}(?:<[^,\]\r]{1,20})?, {0,4}(?:\?|([0-9.]{1,20}))(it/s|s/it)([^\]\r]{0,900})\]"
)
_POSTFIX = re.compile(rf"([A-Za-z_][A-Za-z0-9_/. -]{{0,60}})=({_NUMBER})(?=,|$)")
_DESCRIPTION = re.compile(r"([^\r|%]{1,80}?): ?:? {0,6}$")


class Bar(NamedTuple):
    """One update of a progress bar."""

    description: str
    step: int
    steps_total: int | None
    seconds_per_step: float | None
    postfix: dict[str, str]


def last_bar(text: str) -> Bar | None:
    """The last whole update of the line."""
    tail = text[-TAIL_CHARACTERS:]
    found = max(_BAR.finditer(tail), key=lambda bar: bar.start(), default=None)
    if found is None:
        return None
    _, done, total, uncounted, rate, unit, rest = found.groups()
    before = _DESCRIPTION.search(tail[max(0, found.start() - 90) : found.start()])
    rate_number = float(rate) if rate and rate.count(".") <= 1 and rate != "." else 0.0
    seconds = None if not rate_number else rate_number if unit == "s/it" else 1 / rate_number
    postfix = {name.strip(): value for name, value in _POSTFIX.findall(rest)[:POSTFIX_MAX]}
    return Bar(before[1].strip() if before else "", int(done or uncounted), int(total) if total else None, seconds, postfix)


def whole(text: str | None) -> int | None:
    """A count that was not rounded on its way: `188.0` is one, `1.5e+03` is not."""
    if text is None:
        return None
    digits = text.removesuffix(".") if "." not in text else text.rstrip("0").removesuffix(".") if "e" not in text else text
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 15 else None
