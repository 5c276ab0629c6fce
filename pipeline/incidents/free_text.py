"""What people write of an incident in; the same without names that the incident withholds, out.

Notes, replies and labels stay in their tables as they were given.  Whoever reads the report has no leave to know who is behind a label, and
a name beside an incident accuses its holder.  So a candidate who is not named stands in these texts under the label that the incident
gives him, whatever the identity map calls him; of what it does not know each word, and each part of one, is held against the labels, as a
name of any kind.  Where the site tells pseudonyms, names that people typed become these.

    "asked u099, whose login is zhsan"    ->    "asked person-0d2367c8, whose login is person-0d2367c8"

Not found: names and nicknames by which neither map nor logs know somebody, and a uid that stands alone.  Of people who are no candidates
nothing is withheld: that a text speaks of somebody is no finding, which the report says.
"""

import re
from collections.abc import Iterable, Mapping

from pipeline.model.identity import NAME_KINDS, Directory, Identity
from pipeline.model.incident import Incident, label_of
from pipeline.model.privacy import Veil

# A word, and the parts that it may have: `user:u099`, `u099@gpu-012`, `u099.log`.
_WORD, *_PARTS = map(re.compile, (r"[A-Za-z0-9_][\w.:@-]*[\w]|[A-Za-z0-9_]", r"[\w.-]+", r"\w+"))
_UID = re.compile(r"(?i)\b((?:uid|user)[ =:]{1,2})([0-9]+)\b")


class FreeText:
    """Of one incident, for whoever has the site's key."""

    def __init__(self, incident: Incident, directory: Directory, veil: Veil) -> None:
        self._incident, self._veil, self._key = incident, veil, directory.key
        self._withheld = {each.who for each in incident.attribution.hypotheses} - {"", incident.attribution.named}
        labels = [(each, label) for each in directory.identities if (label := self._label(each.id))]
        self._names = {name.lower(): label for each, label in labels for name in names_of(each)}
        self._uids = {str(each.uid): label for each, label in labels if each.uid is not None}
        self._pattern = pattern_of(self._names)

    def __call__(self, text: str) -> str:
        """As it may be told."""
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._names[found[0].lower()], text)
        if self._withheld:
            text = _UID.sub(lambda found: found[1] + (self._uids.get(found[2]) or self._label(f"uid:{found[2]}") or found[2]), text)
            text = _WORD.sub(lambda found: self._label_of_name(found[0]) or self._in_parts(found[0]), text)
        return self._veil.text(text)

    def _in_parts(self, word: str) -> str:
        for part in _PARTS:
            word = part.sub(lambda found: self._label_of_name(found[0]) or found[0], word)
        return word

    def _label_of_name(self, name: str) -> str:
        """Of one that the map knows by this id; or does not know, who is then called by the kind of his name, which nobody writes."""
        pseudonyms = self._veil.pseudonyms
        spelt = [*dict.fromkeys((name, name.lower()))]
        told = [*spelt, *map(pseudonyms.name, spelt)] if pseudonyms is not None else spelt
        return next(filter(None, map(self._label, (*spelt, *(f"{kind}:{each}" for each in told for kind in NAME_KINDS)))), "")

    def _label(self, who: str) -> str:
        """As the incident calls this one; empty: he is no candidate, or is named."""
        pseudonyms = self._veil.pseudonyms
        ids = (who, pseudonyms.name(who)) if pseudonyms is not None else (who,)
        labels = (label_of(self._incident.cluster, each, self._key) for each in ids if each != self._incident.attribution.named)
        return next((label for label in labels if label in self._withheld), "")


def untold(text: str, people: Iterable[Identity], instead: str) -> str:
    """Without anybody whom the map knows, and without uids: who has not the key cannot know whose name is withheld."""
    pattern = pattern_of({name.lower(): "" for each in people for name in names_of(each)})
    text = pattern.sub(instead, text) if pattern is not None else text
    return _UID.sub(lambda found: found[1] + instead, text)


def names_of(identity: Identity) -> set[str]:
    """What somebody is called anywhere."""
    return {identity.id, identity.login, *(name for _, name in identity.names)} - {""}


def pattern_of(names: Mapping[str, str]) -> re.Pattern[str] | None:
    """The longest first, and whole words only: u01 must not be found in u017."""
    words = "|".join(re.escape(each) for each in sorted(names, key=lambda each: (-len(each), each)))
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None
