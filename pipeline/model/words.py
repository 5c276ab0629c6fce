"""Numbers and nouns in; text that reads as a sentence out."""


def many(count: int, noun: str, nouns: str = "") -> str:
    """A number and its noun: `1 job`, `2,000 jobs`; `nouns` is a plural that does not just take an s."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"
