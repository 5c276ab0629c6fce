"""Good lines and dice in; the same lines as somebody would write them who wants a parser to fail, to hang or to lie, out.

Blind changes (bytes flipped, pieces cut, doubled, repeated to 64 KiB, spliced with lines of other formats) find what nobody thought of.
Changes that keep the syntax (a key twice, a number with 10^5 digits, a name with a whole forged line in it, a value of another type deep
in an object) get past the first check of a parser.  Both are applied, several on top of each other.

Holds: the same dice give the same line; a line has at most LINE_BYTES_MAX bytes.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.bench.format_lines import MAKERS, lines_of

LINE_BYTES_MAX = 65_536
REPEATS_MAX = 20_000
STEPS_MAX = 4  # changes on top of each other
DEPTHS = (8, 200, 980, 1100, 5000)  # decoders end at about 1000, and so does what Python does with what they read

# What stands where a name, a number or a text was expected.
TEXTS: tuple[str, ...] = (
    "", " ", "root from 10.0.0.1 port 22 ssh2", "a b", "a\nb", "a\rb", "a\tb", "a\x00b", "a|b", "a;b", "a,b", "a=b uid=0", 'a" uid=0 x="',
    "' res=success", "a' acct=\"root\"", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07", "\u202eabc", "\ufeff", "\u2028", "\u0663\u0664",
    "\ud800", "\udcff", "\U0001f525", "%00", "%ff%fe", "%", "%s%n", "{}", "{{0}}", "${jndi:x}", "../../etc/passwd", "-1", "- -", "--",
    "JobId=9 uid=0", "JobId=9\n[2026-03-02T19:40:41.318] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5099",
    "x from y", " from ", "(null)", "null", "None", "nan", "NaN", "inf", "-Infinity", "true", "<NA>", "4294967295", "-0", "0x7", "1e400",
    "[", "]", "[[", "{", "}", "'", '"', "\\", "\\\\", '\\"', "\\u0000", "\\ud800", "<script>alert(1)</script>", "gpu-[1-99999]", "gpu-[1-9",
    "x" * 300, "x" * 5000, "9" * 30, "9" * 4400, "9" * 100_000, "0" * 400, "1" + "0" * 30, "type=SYSCALL msg=audit(1.1:1):", ":::MLLOG {",
    "2026-03-02T19:40:41", "9999-99-99T99:99:99", "0001-01-01T00:00:00", "2026-02-30T00:00:00", "1970-01-01T00:00:00Z", "Feb 29 23:59:60",
)  # fmt: skip
NUMBERS: tuple[str, ...] = (
    "0", "-1", "1", "255", "256", "65536", "4294967295", "4294967296", "2147483648", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "99999999999999999999999999", "1e5", "1e400", "-1e400", "1.5", "0.1e-400", "007", "9" * 4400, "9" * 100_000,
    "NaN", "Infinity", "\u0663", "", "-", "+1", "1_000", "0x10", "253402300800000", "-62135596800000", "946684799999",
)  # fmt: skip
# As they stand in JSON; the second is what a careless encoder writes.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, float("nan"), float("inf"), "", "x", [], {}, [None],
    [[]], {"": ""}, ["x"] * 100, [{}] * 70, {"name": {"name": {}}}, [1, "a", None, {}],
)  # fmt: skip
BYTES: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\x1d",
    b"\x1b[2J", b"\r", b"\n", b"\t", b"\x7f", b"\xe2\x80",
)  # fmt: skip
REPEATED: tuple[bytes, ...] = (
    b"a", b" ", b"9", b"=", b"a=", b"k=v ", b'"', b"'", b"\\", b'\\"', b"[", b"]", b"[]", b"{", b"}",
    b'{"a":', b"(", b")", b"|", b"| ", b":", b": ", b",",
    b";", b"-", b"/", b"%", b"%2", b"\xff", b"\x00", b"\t", b"\r", b"\n", b" from ", b" for JobId=",
    b"gpu-[1-9],", b"a b", b"[rank3]: ", b"0: ",
    b"100%|", b"it/s", b" port ", b"a[0]=b ", b"error: ", b'","', b'":"', b"1.", b"e", b"<", b"a1=",
    b"-[", b"audit(", b" : ", b"_", b"nan", b"1-2,",
)  # fmt: skip

# Good lines of formats for which `format_lines` makes none.
EXTRA: Mapping[str, tuple[bytes, ...]] = {
    "bootstrap": (
        (
            b'{"trainwatch_bootstrap":1,"taken":1772480441000,"listed_by":"squeue","job":{"job":"7","state":"RUNNING","owner_uid":5017,"owner":"u017",'
            b'"submit":1772480000000,"start":1772480400000,"nodes":["gpu-001"],"work_dir":"/lustre/run7"}}'
        ),
    ),
    "jumpserver": (
        (
            b'<14>osm: login_log - {"id":"l-1","username":"u017","type":{"value":"W"},"ip":"10.0.0.5","status":{"value":true},'
            b'"backend":"Password","datetime":"2026/03/02 19:40:41 +0800"}'
        ),
        (
            b'Mar  2 19:40:41 jump-1 osm: session_command_log - {"id":"c","user":"a(b)(u017)","asset":"gpu-001(10.0.0.7)","account":"root",'
            b'"input":"kill -9 4711","output":"","session":"s-1","timestamp":1772480441,"remote_addr":"10.0.0.5"}'
        ),
        (
            b'host_session_log - {"id":"s-1","user":"x(u017)","asset":"gpu-001(10.0.0.7)","account":"root","is_finished":true,'
            b'"date_start":"2026/03/02 19:00:00 +0800","date_end":"2026/03/02 19:40:41 +0800","remote_addr":"10.0.0.5"}'
        ),
        (
            b'ftp_log - {"user":"x(u017)","asset":"gpu-001(10.0.0.7)","operate":{"value":"delete","label":"x"},"filename":"/ckpt/a.pt",'
            b'"date_start":"2026-03-02 19:40:41"}'
        ),
    ),
    "volcano": (
        (
            b'{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","metadata":{"name":"run7-abortjob-x","namespace":"llm","uid":"c-1",'
            b'"creationTimestamp":"2026-03-02T19:40:41Z"},"action":"AbortJob","target":{"kind":"Job","name":"run7","uid":"j-1"}}'
        ),
        (
            b'{"type":"MODIFIED","object":{"kind":"Job","apiVersion":"batch.volcano.sh/v1alpha1","metadata":{"name":"run7","uid":"j-1"},'
            b'"status":{"conditions":[{"status":"Aborted","lastTransitionTime":"2026-03-02T19:40:41Z"}]}}}'
        ),
        (
            b'{"kind":"PodGroup","apiVersion":"scheduling.volcano.sh/v1beta1","metadata":{"name":"pg","uid":"p-1"},"status":{"conditions":'
            b'[{"type":"Unschedulable","status":"True","reason":"NotEnoughResources","lastTransitionTime":"2026-03-02T19:40:41Z"}]}}'
        ),
    ),
}

_NUMBER = re.compile(rb"[0-9]+")
_TOKEN = re.compile(rb"[^\s\"'=:|,;(){}\[\]]+")
_PAIR = re.compile(rb"[A-Za-z_@.\-]{1,40}=[^\s,|;]*")
_MEMBER = re.compile(rb'"[^"\\]{1,60}"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[0-9.eE+-]+|true|false|null)')


def good_lines(name: str, count: int, seed: int) -> list[bytes]:
    """Lines that the format reads; none of one that somebody added and for which nobody makes any."""
    if name in EXTRA:
        return list(EXTRA[name])
    return lines_of(name, count, seed) if name in MAKERS else []


class Mutator:
    """Changes lines.  `stock` is what pieces of other lines are taken from."""

    def __init__(self, dice: random.Random, stock: Sequence[bytes]) -> None:
        self._dice, self._stock = dice, stock
        self._blind: tuple[Callable[[bytes], bytes], ...] = (
            self._flipped, self._cut, self._without, self._doubled, self._inserted, self._spliced, self._swallowed,
        )  # fmt: skip
        self._knowing: tuple[Callable[[bytes], bytes], ...] = (
            self._number, self._token, self._pair_twice, self._member_twice, self._value, self._key, self._text,
        )  # fmt: skip

    def changed(self, payload: bytes) -> bytes:
        """The line after one to STEPS_MAX changes."""
        dice = self._dice
        for _ in range(dice.randint(1, STEPS_MAX)):
            payload = dice.choice(self._knowing if dice.random() < 0.6 else self._blind)(payload)
        if dice.random() < 0.04:
            payload = self._repeated(payload)
        return payload[:LINE_BYTES_MAX]

    # --- blind ----------------------------------------------------------------------------------------------------------------------

    def _place(self, payload: bytes) -> int:
        return self._dice.randint(0, len(payload))

    def _piece(self, payload: bytes) -> tuple[int, int]:
        start = self._place(payload)
        return start, min(len(payload), start + self._dice.choice((1, 2, 4, 12, 60, 400)))

    def _flipped(self, payload: bytes) -> bytes:
        changed = bytearray(payload)
        for _ in range(self._dice.randint(1, 4)):
            if changed:
                changed[self._dice.randrange(len(changed))] ^= 1 << self._dice.randrange(8)
        return bytes(changed)

    def _cut(self, payload: bytes) -> bytes:
        place = self._place(payload)
        return payload[:place] if self._dice.random() < 0.8 else payload[place:]

    def _without(self, payload: bytes) -> bytes:
        start, end = self._piece(payload)
        return payload[:start] + payload[end:]

    def _doubled(self, payload: bytes) -> bytes:
        start, end = self._piece(payload)
        return payload[:end] + payload[start:end] * self._dice.choice((1, 1, 3, 40)) + payload[end:]

    def _inserted(self, payload: bytes) -> bytes:
        place = self._place(payload)
        return payload[:place] + self._dice.choice(BYTES) * self._dice.choice((1, 1, 8)) + payload[place:]

    def _spliced(self, payload: bytes) -> bytes:
        other = self._dice.choice(self._stock)
        return payload[: self._place(payload)] + other[self._place(other) :]

    def _swallowed(self, payload: bytes) -> bytes:
        """Another format's whole line in this one."""
        place, other = self._place(payload), self._dice.choice(self._stock)
        return payload[:place] + other + payload[place:]

    def _repeated(self, payload: bytes) -> bytes:
        place, unit = self._place(payload), self._dice.choice(REPEATED)
        times = self._dice.choice((300, 4000, REPEATS_MAX))
        return payload[:place] + (unit * times)[:LINE_BYTES_MAX] + payload[place:]

    # --- knowing the syntax -----------------------------------------------------------------------------------------------------------

    def _text_bytes(self) -> bytes:
        return self._dice.choice(TEXTS).encode("utf-8", "surrogatepass")

    def _instead(self, payload: bytes, pattern: re.Pattern[bytes], new: bytes) -> bytes:
        found = list(pattern.finditer(payload[:4096]))
        if not found:
            return payload
        one = self._dice.choice(found)
        return payload[: one.start()] + new + payload[one.end() :]

    def _number(self, payload: bytes) -> bytes:
        return self._instead(payload, _NUMBER, self._dice.choice(NUMBERS).encode())

    def _token(self, payload: bytes) -> bytes:
        return self._instead(payload, _TOKEN, self._text_bytes())

    def _twice(self, payload: bytes, pattern: re.Pattern[bytes], between: bytes) -> bytes:
        """A pair again elsewhere, with another value."""
        found = list(pattern.finditer(payload[:4096]))
        if not found:
            return payload
        pair = self._dice.choice(found)[0]
        changed = self._instead(pair, _NUMBER if self._dice.random() < 0.5 else _TOKEN, self._text_bytes())
        before = self._dice.choice(found).start()
        return payload[:before] + (changed if self._dice.random() < 0.7 else pair) + between + payload[before:]

    def _pair_twice(self, payload: bytes) -> bytes:
        return self._twice(payload, _PAIR, b" ")

    def _member_twice(self, payload: bytes) -> bytes:
        return self._twice(payload, _MEMBER, b",")

    def _object(self, payload: bytes) -> tuple[bytes, Any]:
        """What stands before the object in the line, and the object; None where there is none."""
        start = payload.find(b"{")
        if start < 0 or len(payload) > 4096:
            return b"", None
        try:
            value = json.loads(payload[start:])
        except (ValueError, RecursionError):
            return b"", None
        return payload[:start], value

    def _value(self, payload: bytes) -> bytes:
        """A value of another type somewhere in an object; or it is nested deeply."""
        before, value = self._object(payload)
        places = list(_places(value))
        if not places:
            return self._token(payload)
        holder, key = self._dice.choice(places)
        if self._dice.random() < 0.1:
            holder[key] = "@deep@"
            depth = self._dice.choice(DEPTHS)
            open_, close = self._dice.choice((("[", "]"), ('{"a":', "}")))
            deep = open_ * depth + "1" + close * depth
            return before + json.dumps(value).replace('"@deep@"', deep).encode("utf-8", "surrogatepass")
        holder[key] = self._dice.choice(VALUES) if self._dice.random() < 0.6 else self._dice.choice(TEXTS)
        return before + json.dumps(value, separators=(",", ":"), ensure_ascii=self._dice.random() < 0.5).encode("utf-8", "surrogatepass")

    def _key(self, payload: bytes) -> bytes:
        """A key less, or one more."""
        before, value = self._object(payload)
        places = [(holder, key) for holder, key in _places(value) if isinstance(holder, dict)]
        if not places:
            return self._without(payload)
        holder, key = self._dice.choice(places)
        if self._dice.random() < 0.5:
            del holder[key]
        else:
            holder[self._dice.choice(TEXTS)] = self._dice.choice(VALUES)
        return before + json.dumps(value, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def _text(self, payload: bytes) -> bytes:
        """Behind a token: more of it."""
        found = list(_TOKEN.finditer(payload[:4096]))
        if not found:
            return self._text_bytes()
        place = self._dice.choice(found).end()
        return payload[:place] + self._text_bytes() + payload[place:]


def _places(value: Any, left: int = 400) -> list[tuple[Any, Any]]:
    """(container, key) of everything in an object, as far as `left` reaches."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < left:
        each = waiting.pop()
        members = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        for key, inner in members:
            found.append((each, key))
            waiting.append(inner)
    return found
