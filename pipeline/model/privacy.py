"""Names of people in, pseudonyms out: what `privacy.pseudonyms` and `privacy.mask` do to a body before anything is told of it.

    u017 ─► p-7f3a90c1d2      u017@example.org ─► p-51c0ffee42@masked      SHA256:m2T... ─► SHA256:p-0a1b2c3d4e      uid 5017 ─► 2893471120

A pseudonym is an HMAC-SHA-256 of the name, cut to ten hex digits, so whoever has no key can neither read nor guess it.  The identity map
of the settings is renamed by the same function, and everything after ingest therefore works as it did, in a world with other names: roles,
teams, tickets and validity are found as before, and findings are the same but for the names.  Numeric ids are permuted (Feistel over 32
bits): no two people share one.  Ids below 1000, root, names that begin with `system:`, and identities whose role is service are not people.

In fields that hold a name every name is replaced, known or not.  In free text those of the identity map are, and what stands where names
stand: home folders, e-mail addresses, key fingerprints, `uid=`, `user=`, and the names that the same event holds in a field of its own.
A stranger's name in the middle of a sentence is not found: such fields can be masked.  Hosts and addresses are left as they are.

Somebody may be called as things are.  Such a login (`WORDS`) is looked for only where names stand, else no path would be left whole:

    /data/train ─► /data/train      /home/data/run ─► /home/p-1b2c3d4e5f/run      uid=5099(data) ─► uid=731204466(p-1b2c3d4e5f)

Holds: a function of the text and the key alone; the raw line is not touched.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec

from pipeline.model.events import AccessLine, AuditRecord, Body, LinePart, NodeState
from pipeline.model.ids import UNSET_UID

Maskable = Literal[
    "address", "agent", "arguments", "command", "detail", "std_out", "submit_host", "target", "text", "tty", "value", "work_dir",
    "working_directory",
]  # fmt: skip
MASKABLE = frozenset(get_args(Maskable))
MASKED = "(masked)"
DIGITS = 10  # 40 bits: two of ten thousand names share one in 1 of 20,000 sites, and the settings are refused there
SHORTEST, LONGEST = 3, 256  # letters of a name that is looked for in text, and remembered; whoever writes a line writes its names
# What may stand before a name and is none itself, beside what stands there in the identity map.
KINDS = frozenset({"", "ad", "github", "http", "https", "iam", "krb", "ldap", "oidc", "saml", "sso", "uid"})
# Words of paths and log lines as which somebody may log in.
WORDS = frozenset({
    "adm", "admin", "apps", "archive", "backup", "batch", "bench", "bin", "build", "cache", "checkpoint", "checkpoints", "ckpt",
    "cluster", "code", "conda", "config", "core", "cpu", "cuda", "data", "dataset", "datasets", "debug", "demo", "deploy", "dev",
    "docker", "env", "envs", "error", "etc", "eval", "exp", "experiments", "export", "fail", "failed", "file", "files", "git", "gpfs",
    "gpu", "group", "guest", "home", "host", "info", "init", "job", "jobs", "kill", "killed", "lib", "lib64", "local", "log", "login",
    "logs", "loss", "lustre", "main", "mnt", "model", "models", "net", "nfs", "node", "opt", "out", "output", "pip", "proc", "prod",
    "project", "projects", "python", "rank", "ray", "research", "root", "run", "runs", "save", "scratch", "script", "scripts",
    "service", "share", "shared", "site", "slurm", "software", "srv", "staff", "step", "storage", "store", "student", "support", "sys",
    "system", "team", "temp", "test", "tests", "tmp", "tools", "torch", "train", "trainer", "training", "user", "users", "usr", "var",
    "venv", "volume", "work", "worker", "workspace",
})  # fmt: skip
PEOPLE_FROM, NOBODY_UID = 1000, 65_534  # login.defs: UID_MIN
ROUNDS = 6

NAMES = frozenset({"user", "owner", "by", "cancelled_by", "run_as", "login", "impersonated"})
UIDS = frozenset({"uid", "auid", "owner_uid", "cancelled_by_uid", "file_uid", "target_uid", "target_auid"})
# Words of closed sets, digests, machines and the scheduler's own things.
PLAIN = frozenset({
    "action", "address", "after", "array", "before", "cached_sha256", "call", "change", "changed", "code", "component", "constraint",
    "decision", "device", "format", "function", "het", "hook", "host", "how", "identity", "keys", "kind", "line", "means", "method", "node",
    "nodes", "object_uid", "operation", "outcome", "partition", "phase", "policy", "priority", "program", "qos", "reason", "record_type",
    "resource", "rule", "service", "session", "severity", "sha256", "sha256_before", "signal", "stage", "state", "step", "submit_host",
    "subresource", "tasks", "tty", "verb", "what", "zone",
})  # fmt: skip
SYSTEM = frozenset({"root", "nobody", "daemon", "unset", "unknown", "(unknown)", "?"})
DESCRIBES = frozenset({"uid", "serial"})  # words beside names; types of keys are in capitals
_PSEUDONYM = re.compile(r"p-[0-9a-f]{10}(?:@masked)?")
_CHUNK = _PLAIN_NAME = re.compile(r"[^\s()=,;]+")
_KEY = re.compile(r"(SHA256|MD5):[A-Za-z0-9+/=:._-]+")
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_AT_HOST = re.compile(r"(?<!\S)([A-Za-z_][A-Za-z0-9._-]{0,63})@(?=[A-Za-z0-9._-]+(?::|\s|$))")  # ssh, scp, rsync
_HOME = re.compile(r"(/(?:homes?|[Uu]sers)/|(?<![\w.])~)([A-Za-z_][A-Za-z0-9._-]{0,63})")
# What else may lie there is no home: `/user/hive`, `/home/d/`.
_HOME_OF_KNOWN = re.compile(
    r"((?:(?<![A-Za-z_.-])/(?:u|user|people)|/(?:homes?|[Uu]sers)/([A-Za-z0-9]{1,2}))/)([A-Za-z_][A-Za-z0-9._-]{0,63})"
)
_UID = re.compile(r"(?i)(\b(?:(?:oa|fs|[aeslor])?[ug]id|user|cancelled by)[\"']?(?: ?[=:] ?| )[\"']?)([0-9]{4,10})\b")
# A uid also as `id` and enriched audit records have it.
_USER = re.compile(
    r"(?i)(\b(?:(?:r?user(?:_?(?:name|id))?|logname|login|acct|owner)(?: ?= ?[\"']?|[\"']: ?[\"'])"
    r"|(?:fs|[aeso])?uid ?= ?(?:[\"']|[0-9]{1,10}\()?))([A-Za-z_][A-Za-z0-9._@\\-]{0,63})"
)
# ... and after a group's number, since a person's own is called as he is, or before an id: `gid=5099(data)`, `user data(uid=5099)`.
_AT_ID = re.compile(r"([=,][0-9]{4,10}\(|(?<![\w.-])(?=[A-Za-z_][A-Za-z0-9._-]{0,63}\(uid=))([A-Za-z_][A-Za-z0-9._-]{0,63})")
# Slurm: UserId=u017(5017); `id`: groups=100(users),5017(u017).
_BESIDE = re.compile(r"(p-[0-9a-f]{10}\(|(?<![0-9A-Za-z])groups=|\),)([0-9]{4,10})(?=\)|\(p-[0-9a-f]{10}\))")
_WORD = re.compile(r"[A-Za-z0-9]+")
_AUDIT_UID = re.compile(r"(?:.*[ug]id|id)", re.IGNORECASE)
_AUDIT_ARGUMENT = re.compile(r"a[0-9]+(?:\[[0-9]+\])?")
_AUDIT_ADDRESSES = frozenset({"addr", "hostname", "laddr", "raddr", "saddr"})
_SETS_IDS = ("chown", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid")


class Pseudonyms:
    """Texts with other names, by one key."""

    def __init__(self, key: bytes, people: Iterable[str], services: Iterable[str]) -> None:
        people, self._key, self._services = tuple(people), key, frozenset(services)
        self._kinds = KINDS | {name.rpartition(":")[0] for name in people}
        self._starts: dict[str, list[str]] = {}  # first word of a known name -> names, the longest first
        known = {short for name in people for short in (name, _short(name))} - self._services
        self._only_in_place = {name for name in known if name in WORDS or len(name) < SHORTEST}
        for name in sorted(known - self._only_in_place, key=lambda each: (-len(each), each)):
            if first := _WORD.match(name):
                self._starts.setdefault(first.group(), []).append(name)
        self._remembered = lru_cache(maxsize=65_536)(self._name)
        self.uid = lru_cache(maxsize=65_536)(self._uid)

    def name(self, name: str) -> str:
        """What stands in a field that holds nothing but a name."""
        return self._remembered(name) if len(name) <= LONGEST else self._name(name)

    def _digest(self, name: str) -> str:
        return "p-" + hmac.digest(self._key, b"name\0" + name.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]

    def _name(self, name: str) -> str:
        if not name or name in SYSTEM or name in self._services or name.startswith("system:"):
            return name
        if not _PLAIN_NAME.fullmatch(name):
            return _CHUNK.sub(lambda found: found[0] if found[0].isupper() or found[0] in DESCRIBES else self.name(found[0]), name)
        if _KEY.fullmatch(name):
            return self._of_key(name)
        if name.isascii() and name.isdecimal() and len(name) <= DIGITS:
            return str(self.uid(int(name)))
        before, mark, last = name.rpartition(":")
        if before == "uid" and last.isascii() and last.isdecimal():  # what an unknown one is called
            return f"uid:{self.uid(int(last))}"
        if name.startswith("arn:"):
            kind, *parts = last.split("/")
            return f"{before}:{'/'.join([kind, *map(self._name, parts)])}"
        if before not in self._kinds:  # somebody typed his password after his name, say
            before = ":".join(each if each in KINDS else self._digest(each) for each in before.split(":"))
        if "@" in last:
            return before + mark + self._of_email(last)
        return before + mark + (self._digest(last) if last else "")

    def _of_email(self, name: str) -> str:
        return f"{self._digest(name.lower())}@masked"

    def _of_key(self, name: str) -> str:
        kind, _, rest = name.partition(":")
        return f"{kind}:{self._digest(rest)}"

    def _uid(self, uid: int) -> int:
        """Another number for a person's; the system's own keep theirs."""
        return self._walked(uid, range(ROUNDS))

    def uid_behind(self, uid: int) -> int:
        """The inverse."""
        return self._walked(uid, range(ROUNDS - 1, -1, -1))

    @staticmethod
    def is_one(name: str) -> bool:
        """Does it look like what `name` makes?"""
        return _PSEUDONYM.fullmatch(name.rpartition(":")[2]) is not None

    def behind(self, pseudonym: str, candidates: Iterable[str]) -> list[str]:
        """Those of the candidates that are called so."""
        wanted = re.compile(rf"(?<![A-Za-z0-9]){re.escape(pseudonym)}(?![A-Za-z0-9])")
        return sorted({name for name in candidates if name and wanted.search(self.name(name)) and not wanted.search(name)})

    def _walked(self, uid: int, rounds: Iterable[int]) -> int:
        if _is_systems(uid):
            return uid
        rounds = tuple(rounds)
        while True:  # until it is a person's again: this is what makes a permutation of a part of the numbers
            uid = self._permuted(uid, rounds)
            if not _is_systems(uid):
                return uid

    def _permuted(self, number: int, rounds: tuple[int, ...]) -> int:
        left, right = number >> 16, number & 0xFFFF
        forwards = rounds[0] == 0
        for each in rounds:
            half = right if forwards else left
            mixed = int.from_bytes(hmac.digest(self._key, b"uid\0" + bytes((each,)) + half.to_bytes(2, "big"), "sha256")[:2], "big")
            left, right = (right, left ^ mixed) if forwards else (right ^ mixed, left)
        return left << 16 | right

    def text(self, text: str, also: Iterable[str] = ()) -> str:
        """Free text, in which names are looked for; `also`: names that are known from elsewhere."""
        if len(text) < SHORTEST:
            return text
        if ":" in text:
            text = _KEY.sub(lambda found: self._of_key(found[0]), text)
        if "@" in text:
            text = _EMAIL.sub(lambda found: found[0] if _PSEUDONYM.fullmatch(found[0]) else self._of_email(found[0]), text)
            text = _AT_HOST.sub(lambda found: found[0] if _PSEUDONYM.fullmatch(found[1]) else self.name(found[1]) + "@", text)
        if "/" in text or "~" in text:
            text = _HOME_OF_KNOWN.sub(self._of_known, text) if self._only_in_place else text
            text = _HOME.sub(lambda found: found[1] + self._anew(found[2]), text)
        text = _UID.sub(lambda found: found[1] + str(self.uid(int(found[2]))), text)
        text = _USER.sub(lambda found: found[1] + self._anew(found[2]), text)
        for name in also:
            if name not in WORDS and SHORTEST <= len(name) <= LONGEST and name in text:
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", self.name(name), text)
        if self._only_in_place and "(" in text:
            text = _AT_ID.sub(lambda found: found[1] + self.name(found[2]) if found[2] in self._only_in_place else found[0], text)
        text = self._known(text) if self._starts else text
        return _BESIDE.sub(lambda found: found[1] + str(self.uid(int(found[2]))), text) if "(" in text else text

    def _of_known(self, found: re.Match[str]) -> str:
        """A home that lies in a folder of homes, and not in a person's."""
        before, above, name = found.groups()
        return before + self.name(name) if name in self._only_in_place and above not in self._only_in_place else found[0]

    def _anew(self, name: str) -> str:
        """The name's pseudonym, unless it is one."""
        return name if _PSEUDONYM.match(name) else self.name(name)

    def _known(self, text: str) -> str:
        found: list[str] = []
        done = 0
        for word in _WORD.finditer(text):
            names = self._starts.get(word.group())
            if names is None or word.start() < done:
                continue
            for name in names:
                end = word.start() + len(name)
                if text.startswith(name, word.start()) and not _WORD.match(text, end):
                    found += (text[done : word.start()], self.name(name))
                    done = end
                    break
        return "".join((*found, text[done:])) if found else text


def _short(name: str) -> str:
    """The name within an address or a cloud's path."""
    return name.rpartition("/")[2] if name.startswith("arn:") else name.rpartition(":")[2].partition("@")[0]


def _is_systems(uid: int) -> bool:
    return not PEOPLE_FROM <= uid < UNSET_UID or uid == NOBODY_UID


class Veil:
    """What is left out of a body, and under which names the rest is told."""

    def __init__(self, pseudonyms: Pseudonyms | None, masked: Iterable[str] = ()) -> None:
        self.pseudonyms, self._masked = pseudonyms, frozenset(masked)
        self.idle = pseudonyms is None and not self._masked
        self._fields: dict[type[Body], tuple[tuple[str, str], ...]] = {}

    def body(self, body: Any) -> Any:
        """The body as it is told."""
        if self.idle or isinstance(body, LinePart):  # a piece is veiled once its line is whole
            return body
        if isinstance(body, AuditRecord):
            return msgspec.structs.replace(body, fields=self._audit(body))
        changed: dict[str, Any] = {}
        own = self._own(getattr(body, each, "") for each in NAMES)
        for name, how in self._how(type(body)):
            value = getattr(body, name)
            if value and (said := self._said(value, how, own)) != value:
                changed[name] = said
        return msgspec.structs.replace(body, **changed) if changed else body

    def _own(self, names: Iterable[str]) -> tuple[str, ...]:
        """What an event calls those whom it names, the longest first."""
        if self.pseudonyms is None:
            return ()
        people = [name for name in names if name and self.pseudonyms.name(name) != name]
        return tuple(sorted({short for name in people for short in (name, _short(name))}, key=lambda each: (-len(each), each)))

    def _said(self, value: Any, how: str, own: tuple[str, ...]) -> Any:
        if how == "masked":
            return (MASKED,) if isinstance(value, tuple) else MASKED
        if self.pseudonyms is None:
            return value
        if how == "uid":
            return self.pseudonyms.uid(value)
        if how == "name":
            return self.pseudonyms.name(value)
        if isinstance(value, tuple):
            return tuple(self.pseudonyms.text(each, own) for each in value)
        return self.pseudonyms.text(value, own)

    def text(self, text: str) -> str:
        """A path, or what else stands beside a body."""
        return self.pseudonyms.text(text) if self.pseudonyms is not None and text else text

    def unmapped(self, fields: Mapping[str, str]) -> Mapping[str, str]:
        """Nobody knows what these hold: with pseudonyms they are left to the raw line."""
        if self.idle:
            return fields
        return {name: MASKED if self.pseudonyms is not None or name in self._masked else value for name, value in fields.items()}

    def _how(self, kind: type[Body]) -> tuple[tuple[str, str], ...]:
        """(field, what is done with it) of a kind of body."""
        known = self._fields.get(kind)
        if known is None:
            found = ((field.name, self._of_field(kind, field.name, field.type)) for field in msgspec.structs.fields(kind))
            known = self._fields[kind] = tuple(each for each in found if each[1])
        return known

    def _of_field(self, kind: type[Body], name: str, type_: Any) -> str:
        textual = type_ in (str, tuple[str, ...])
        if textual and name in self._masked:
            return "masked"
        if self.pseudonyms is None:
            return ""
        if name in UIDS:
            return "uid"
        if not textual:
            return ""
        if name in NAMES or name == "fingerprint":
            return "name"
        if kind is AccessLine and name == "text":
            return "masked"  # whatever daemons write of people; nothing is judged by it
        return "text" if name not in PLAIN or (kind is NodeState and name == "reason") else ""

    def _audit(self, record: AuditRecord) -> dict[str, str]:
        fields = record.fields
        own = self._own(fields.get(each, "") for each in ("acct", "AUID", "UID"))
        call = fields.get("syscall_name", "")
        sets_ids = record.record_type == "SYSCALL" and any(each in call for each in _SETS_IDS)
        return {
            name: said
            for name, value in fields.items()
            if (said := self._of_audit(record.record_type, name, value, own)) is not None
            and not (sets_ids and self.pseudonyms is not None and _AUDIT_ARGUMENT.fullmatch(name))
        }

    def _of_audit(self, record_type: str, name: str, value: str, own: tuple[str, ...]) -> str:
        argument = name in ("proctitle", "cmd") or (record_type == "EXECVE" and _AUDIT_ARGUMENT.fullmatch(name) is not None)
        if (argument and "arguments" in self._masked) or (name in _AUDIT_ADDRESSES and "address" in self._masked):
            return MASKED
        if self.pseudonyms is None or name in _AUDIT_ADDRESSES:
            return value
        if name == "acct" or _AUDIT_UID.fullmatch(name):
            return self.pseudonyms.name(value)
        return self.pseudonyms.text(value, own)
