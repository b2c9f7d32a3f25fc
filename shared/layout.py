"""Every key of every store: its pattern, the grammar of its names, its kind, and what must exist before it.

No other module builds a key. The names in a key are checked here, so that no "../x" can be written. docs/state.md is
generated from FAMILIES, and its writers from shared.topology.
"""

import re
from typing import Literal

import msgspec

from shared.errors import InvalidInput

StoreName = Literal["landing", "system", "capture"]
Kind = Literal["ledger", "document", "blob", "hint", "data"]

_HEX64 = "[0-9a-f]{64}"
_FILE = r"[A-Za-z0-9](?:[A-Za-z0-9._ +=@,()-]{0,126}[A-Za-z0-9_)])?"
GRAMMAR: dict[str, tuple[str, str]] = {
    "usecase": ("[a-z][a-z0-9-]{0,39}", "a lower-case letter, then up to 39 lower-case letters, digits or hyphens"),
    "upload": ("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "1 to 64 letters, digits, hyphens or underscores"),
    "name": (_FILE, "1 to 128 letters, digits, spaces or ._+=@,()-, beginning and ending with a letter or digit"),
    "number": ("[0-9]{8}", "a number from 1, written with eight digits"),
    "digest": (_HEX64, "64 hexadecimal digits"),
    "shard": ("[0-9a-f]{2}", "the first two digits of the digest"),
    "receipt": (_HEX64, "64 hexadecimal digits"),
    "key": (_HEX64, "64 hexadecimal digits"),
    "event": (_HEX64, "64 hexadecimal digits"),
    "batch": (_HEX64, "64 hexadecimal digits"),
    "attempt": ("[0-9]{4}", "a number from 1, written with four digits"),
    "trial": ("[0-9]{4}", "a number from 0, written with four digits"),
    "checker": ("[0-9]{8}-[0-9]+", "contract number and validator version"),
    "window": ("[0-9]{4}(?:-[0-9]{2}){1,2}", "a month (2013-04) or a day (2013-04-30)"),
    "alert": ("[a-z0-9][a-z0-9.-]{0,79}", "up to 80 lower-case letters, digits, dots or hyphens"),
    "date": ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date such as 2013-04-30"),
    "hour": ("[0-9]{2}", "an hour from 00 to 23"),
    "function": ("[a-z][a-z0-9-]{0,39}", "a function's name"),
    "ledger": ("[a-z][a-z-]{0,39}", "a ledger's name"),
    "node": (r"[a-z]+\.[A-Za-z0-9][A-Za-z0-9._-]{0,90}", "a noun, a dot and an id, such as model.3"),
    "edge": (r"(?:up|down)\.[a-z-]+\.[a-z]+\.[A-Za-z0-9][A-Za-z0-9._-]{0,90}", "direction, kind and node"),
}
_PATTERNS = {placeholder: re.compile(pattern) for placeholder, (pattern, _) in GRAMMAR.items()}
_HOLE = re.compile(r"\{([a-z]+)\}")


def check_name(placeholder: str, value: str, *, field: str = "") -> str:
    """Return `value` if it fits the grammar of `placeholder` ("usecase", "name", ...).

    Raises: InvalidInput: it does not; the message has the grammar.
    """
    if not _PATTERNS[placeholder].fullmatch(value):
        shown = value if len(value) <= 60 else value[:57] + "..."
        raise InvalidInput(
            f"{field or placeholder} {shown!r} is not allowed: use {GRAMMAR[placeholder][1]}",
            field=field or placeholder,
            got=f"text of {len(value)} characters",
            expected=GRAMMAR[placeholder][1],
        )
    return value


class Family(msgspec.Struct, frozen=True):
    """A kind of key. `after`: the families whose objects must exist before an object of this one is written."""

    name: str
    store: StoreName
    pattern: str
    kind: Kind
    about: str
    after: tuple[str, ...] = ()

    def key(self, **names: str) -> str:
        """Return the key for these names. Raises: InvalidInput: a name that its grammar forbids."""
        holes = _HOLE.findall(self.pattern)
        if set(holes) != set(names):
            raise TypeError(f"{self.name} takes {holes}, not {sorted(names)}")
        return _HOLE.sub(lambda hole: check_name(hole[1], names[hole[1]]), self.pattern)

    def prefix(self, **names: str) -> str:
        """Return the common prefix of the keys with these leading names, up to and including its last "/"."""
        text = self.pattern
        for hole in _HOLE.findall(self.pattern):
            if hole not in names:
                text = text[: text.index("{" + hole + "}")]
                break
            text = text.replace("{" + hole + "}", check_name(hole, names[hole]), 1)
        return text[: text.rindex("/") + 1]

    def parse(self, key: str) -> dict[str, str] | None:
        """Return the names in a key of this family, None for any other key."""
        match = _regex(self.pattern).fullmatch(key)
        return match.groupdict() if match else None


def _regex(pattern: str, _cache: dict[str, re.Pattern[str]] = {}) -> re.Pattern[str]:  # noqa: B006 - a memo
    if pattern not in _cache:
        parts = _HOLE.split(pattern)
        text = "".join(
            re.escape(part) if index % 2 == 0 else f"(?P<{part}>{GRAMMAR[part][0]})" for index, part in enumerate(parts)
        )
        _cache[pattern] = re.compile(text)
    return _cache[pattern]


def number_name(number: int) -> str:
    """Return a ledger number as keys have it.

    >>> number_name(7)
    '00000007'
    """
    return f"{number:08d}"


def attempt_name(attempt: int) -> str:
    """Return an attempt or trial number as keys have it.

    >>> attempt_name(7)
    '0007'
    """
    return f"{attempt:04d}"


def _ledger(name: str, about: str, *after: str) -> Family:
    return Family(name, "system", name + "/{usecase}/{number}.json", "ledger", about, after)


UPLOADS = Family("uploads", "landing", "uploads/{usecase}/{upload}/{name}", "data", "Data files as they were uploaded.")
DROPS = Family(
    "drops",
    "landing",
    "drops/{usecase}/{name}",
    "data",
    "Data files copied into the drop folder by a person or a tool.",
)
BLOBS = Family("blobs", "system", "blobs/sha256/{shard}/{digest}", "blob", "Bytes under their own SHA-256.")
QUARANTINE = Family(
    "quarantine",
    "system",
    "quarantine/{usecase}/{receipt}",
    "data",
    "Refused files, unchanged, with a retention of their own.",
)
CHARTERS = _ledger("charters", "Charters of use cases, as applied and as signed off.")
CONTRACTS = _ledger(
    "contracts", "Data contracts: the columns, types and ranges that a file must have.", "charters", "blobs"
)
PIPELINES = _ledger("pipelines", "Pipeline versions: algorithms, search spaces, features and code.", "charters")
DATASETS = _ledger("datasets", "Dataset versions: files by digest, rows, event time, profile.", "blobs", "validations")
TRAININGS = _ledger(
    "trainings", "Requested trainings: granted with a key, or refused with a reason.", "datasets", "pipelines"
)
MODELS = _ledger("models", "Model versions: signed manifests by digest.", "results", "blobs")
RELEASES = _ledger(
    "releases", "Release decisions: champion, challenger, and the reason. The number is the revision.", "models"
)
RECEIPTS = Family(
    "receipts",
    "system",
    "receipts/{usecase}/{receipt}.json",
    "document",
    "The final state of each upload, one each.",
    ("datasets", "validations", "quarantine"),
)
VALIDATIONS = Family(
    "validations",
    "system",
    "validations/{usecase}/{digest}/{checker}.json",
    "document",
    "Validation reports: what was found in a file under a contract.",
    ("blobs", "contracts"),
)
CLAIMS = Family(
    "claims",
    "system",
    "runs/{usecase}/{key}/claim-{attempt}.json",
    "document",
    "Claims: which job trains a key, and until when.",
    ("trainings",),
)
TRIALS = Family(
    "trials", "system", "runs/{usecase}/{key}/trials/{trial}.json", "document", "One trial of a search.", ("claims",)
)
RESULTS = Family(
    "results",
    "system",
    "runs/{usecase}/{key}/result.json",
    "document",
    "The result of a training: a model, its metrics and evidence, or why it failed.",
    ("claims", "blobs"),
)
WINDOWS = Family(
    "windows",
    "system",
    "windows/{usecase}/{number}/{window}.json",
    "document",
    "The evaluation of one model (the number) in one window.",
    ("models",),
)
ALERTS = Family(
    "alerts",
    "system",
    "alerts/{usecase}/{alert}/{number}.json",
    "ledger",
    "Alerts. An alert is the recorded cause of what it starts.",
    ("windows",),
)
EVENTS = Family(
    "events", "system", "events/{usecase}/{date}/{event}.json", "document", "Events that functions returned."
)
EDGES = Family("edges", "system", "edges/{usecase}/{node}/{edge}", "document", "Lineage, written in both directions.")
EFFECTS = Family(
    "effects",
    "system",
    "effects/{function}/{key}/{attempt}.json",
    "document",
    "Side effects, with a lease and a fencing number.",
)
HINTS = Family(
    "hints", "system", "hints/{ledger}/{usecase}.json", "hint", "The last known tail of a ledger; it may be stale."
)
INTENTS = Family(
    "intents",
    "system",
    "intents/{ledger}/{usecase}/{key}.json",
    "document",
    "A ledger's tail when a piece of work first read it: a repeat continues from there.",
)
REFUSALS = Family(
    "refusals",
    "system",
    "runs/{usecase}/{key}/refusal.json",
    "document",
    "Why register refused a result.",
    ("results",),
)
PREDICTIONS = Family(
    "predictions",
    "capture",
    "predictions/{usecase}/dt={date}/h={hour}/{batch}.arrow",
    "data",
    "Captured predictions.",
    ("models",),
)
LABELS = Family(
    "labels",
    "capture",
    "labels/{usecase}/dt={date}/h={hour}/{batch}.json",
    "data",
    "Labels (outcomes of predictions), as received.",
)
PAYLOADS = Family(
    "payloads",
    "capture",
    "payloads/{usecase}/{digest}",
    "data",
    "Claim checks: events too large for a queue, whose message has their digest; deleted by retention.",
)

FAMILIES: tuple[Family, ...] = (
    UPLOADS,
    DROPS,
    BLOBS,
    QUARANTINE,
    CHARTERS,
    CONTRACTS,
    PIPELINES,
    DATASETS,
    TRAININGS,
    MODELS,
    RELEASES,
    RECEIPTS,
    VALIDATIONS,
    CLAIMS,
    TRIALS,
    RESULTS,
    WINDOWS,
    ALERTS,
    EVENTS,
    EDGES,
    EFFECTS,
    HINTS,
    INTENTS,
    REFUSALS,
    PREDICTIONS,
    LABELS,
    PAYLOADS,
)


def blob_key(digest_hex: str) -> str:
    """Return the key of the blob with these 64 hexadecimal digits."""
    return BLOBS.key(shard=digest_hex[:2], digest=digest_hex)


def family_of(store: StoreName, key: str) -> Family | None:
    """Return the family of a key, None for a key of no family."""
    for family in _BY_FIRST_NAME.get((store, key.partition("/")[0]), ()):
        if family.parse(key) is not None:
            return family
    return None


_BY_FIRST_NAME: dict[tuple[str, str], list[Family]] = {}
for _family in FAMILIES:
    _BY_FIRST_NAME.setdefault((_family.store, _family.pattern.partition("/")[0]), []).append(_family)
