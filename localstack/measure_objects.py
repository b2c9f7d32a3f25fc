"""Measure the hardest clauses of ObjectStore: one winner in a race, a lost answer, listing order, and keys."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from localstack.findings import Finding, attempt, judge
from localstack.lossy_proxy import Loss, LossyProxy
from localstack.stores import Store, emptied

WRITERS = 8
RACES = 60
CONTROL_RACES = 10
BODY_BYTES = 64_000

Put = Callable[[str, bytes], bool]

# "~" in full width sorts after an emoji by UTF-16 code units and before it by UTF-8 bytes.
ORDER_KEYS = [
    *("A", "Z", "a", "z", "a-b", "a.b", "a b", "a/b", "a/b/c", "a0", "ab", "a_b", "a=b,(c)@d", "a+b", "a%2Fb", "a~b"),
    *("e\u0301", "\u00e9", "\u20ac", "\uff5e", "\U0001f600"),
]
DOUBTFUL_KEYS = {
    "leading /": "/k", "trailing /": "k/", "empty segment": "k//k", "dot segment": "k/./k", "dot-dot": "k/../k",
    "backslash": "k\\k", "control": "k\x01k", "NUL": "k\x00k", "final dot": "k.", "hash": "k#k", "question": "k?k",
    "900 bytes": "k" * 900, "1024 bytes": "k" * 1024, "1025 bytes": "k" * 1025, "300-byte segment": "k" * 300 + "/k",
}  # fmt: skip


def race(store: Store) -> list[Finding]:
    """Let 8 writers create each of 60 keys at once, while a reader watches for parts of objects.

    The control lets them write without a condition: if that looked like one winner too, the race would prove nothing.
    """
    one, wrong, errors, torn = races(store, store.put_new, RACES)
    text = f"{one}/{RACES} races of {WRITERS} had one winner; content wrong in {wrong}; other errors {dict(errors)}"
    reads = f"{torn['whole']} reads during the races saw the whole object, {torn['part']} a part"
    loose, *_ = races(store, lambda key, body: bool(store.put(key, body)), CONTROL_RACES)
    control = f"{CONTROL_RACES - loose}/{CONTROL_RACES} races without a condition had several winners"
    return [
        judge("put_new: one winner", store.provider, one == RACES and not wrong and not errors, text, must=True),
        judge("put_new: the race can be lost (control)", store.provider, loose == 0, control, must=True),
        judge("put_new: no reader sees a part", store.provider, torn["part"] == 0, reads, must=True),
    ]


def races(store: Store, put: Put, races: int) -> tuple[int, int, Counter[str], Counter[str]]:
    one = wrong = 0
    errors, torn = Counter[str](), Counter[str]()
    with emptied(store), ThreadPoolExecutor(WRITERS + 1) as pool:
        for number in range(races):
            key, barrier, done = f"race/{number:04}", threading.Barrier(WRITERS), threading.Event()
            reader = pool.submit(_watch, store, key, done)
            tries = [pool.submit(_contend, put, key, writer, barrier) for writer in range(WRITERS)]
            outcomes = [each.result() for each in tries]
            done.set()
            torn.update(reader.result())
            errors.update(each for each in outcomes if isinstance(each, str))
            winners = [writer for writer, outcome in enumerate(outcomes) if outcome is True]
            one += len(winners) == 1
            wrong += not winners or store.get(key) not in map(_body, winners)
    return one, wrong, errors, torn


def _body(writer: int) -> bytes:
    return bytes([65 + writer]) * BODY_BYTES


def _contend(put: Put, key: str, writer: int, barrier: threading.Barrier) -> bool | str:
    barrier.wait()
    try:
        return put(key, _body(writer))
    except Exception as error:
        # Whatever the SDK raises instead of an outcome is the finding.
        return f"{type(error).__name__}"


def _watch(store: Store, key: str, done: threading.Event) -> Counter[str]:
    seen = Counter[str]()
    while not done.is_set():
        found: list[bytes] = []
        if attempt(lambda out=found: out.append(store.get(key))) == "ok":  # type: ignore[misc]
            seen["whole" if len(found[0]) == BODY_BYTES and len(set(found[0])) == 1 else "part"] += 1
    return seen


def lost_answers(make: Callable[..., Store], proxy: LossyProxy, direct: Store) -> list[Finding]:
    """Lose a request or an answer of `put_new`, with the SDK's own retries and without, and read back directly."""
    findings = []
    with emptied(direct):
        for retries in (True, False):
            for lost, other in (("request", False), ("answer", False), ("answer", True)):
                key = f"lost/{retries}-{lost}-{other}"
                if other:
                    direct.put_new(key, b"theirs")
                findings.append(_lost(make(retries=retries), proxy, direct, key, lost, retries, other))  # type: ignore[arg-type]
    return findings


def _lost(store: Store, proxy: LossyProxy, direct: Store, key: str, lost: Loss, retries: bool, other: bool) -> Finding:
    outcome: list[bool] = []
    proxy.lose(lost, 1)
    began = time.monotonic()
    raised = attempt(lambda: outcome.append(store.put_new(key, b"ours")))
    took, sent = time.monotonic() - began, proxy.attempts
    proxy.lose("none", 0)
    said = {True: "created", False: "exists"}[outcome[0]] if outcome else raised
    back = direct.get(key).decode() if attempt(lambda: direct.get(key)) == "ok" else "absent"
    truth = "theirs" if other else "ours" if retries or lost == "answer" else "absent"
    # What is read back must be what happened, whatever the SDK said; "created" must never be said of another's object.
    good = back == truth and (said != "created" or back == "ours") and (said != "exists" or back != "absent")
    clause = f"put_new: lost {lost}, {'SDK retries' if retries else 'no retry'}{', another was first' if other else ''}"
    text = f"sent {sent}x, SDK said {said} in {took:.1f} s; read back: {back}"
    return judge(clause, store.provider, good, text, must=True)


def etags(store: Store) -> list[Finding]:
    """Write A, A again, B, A: when does the etag change, and does the write's answer agree with a later look?"""
    with emptied(store):
        first, second, third, fourth = (store.put("e", body) for body in (b"A", b"A", b"B", b"A"))
        looked = store.etag("e")
    text = f"same bytes written twice: {'same' if first == second else 'new'} etag; A, B, A: "
    text += "the first etag comes back" if fourth == first else "never the same"
    return [
        judge("etag: changes when the content does", store.provider, third not in (second, fourth), text),
        judge("etag: put and head agree", store.provider, looked == fourth, f"{fourth} and {looked}"),
    ]


def listing(store: Store) -> list[Finding]:
    """Compare the order of keys with UTF-8 bytes, then prefix, start-after, folders, pages, read-after-write."""
    say = store.provider
    findings = []
    with emptied(store):
        refused = {key: why for key in ORDER_KEYS if (why := attempt(lambda k=key: store.put_new(k, b"1"))) != "ok"}  # type: ignore[misc]
        kept = [key for key in ORDER_KEYS if key not in refused]
        expected = sorted(kept, key=str.encode)
        raw, listed = store.raw_list(), store.keys("", "")
        findings.append(judge("list: UTF-8 byte order (server)", say, raw == expected, _order(raw, expected)))
        findings.append(judge("list: UTF-8 byte order (SDK)", say, listed == expected, _order(listed, expected)))
        both = {"a", "a/b", "a/b/c"} <= set(raw)
        findings.append(judge('a key beside its folder ("a", "a/b")', say, both, f"both kept: {both}; {refused=}"))
        for prefix in ("a", "a/", "a/b"):
            want, got = [key for key in expected if key.startswith(prefix)], store.keys(prefix, "")
            text = "as a string" if sorted(got) == sorted(want) else f"got {got}, wanted {want}"
            findings.append(judge(f'list: prefix "{prefix}" is a plain string', say, sorted(got) == sorted(want), text))
        for after in ("a/b", "a/", "b"):
            want, got = [key for key in expected if key > after], store.keys("", after)
            exclusive = after not in got
            text = "all greater keys" if got == want else f"itself left out: {exclusive}; {_order(got, want)}"
            findings.append(judge(f'list: after "{after}" is exclusive', say, sorted(got) == sorted(want), text))
    with emptied(store), ThreadPoolExecutor(8) as pool:
        keys = [f"n/{number:08}.json" for number in range(1, 1_102)]
        list(pool.map(lambda key: store.put_new(key, b"1"), reversed(keys)))
        got, tail = store.keys("n/", ""), store.keys("n/", keys[1_049])
        good = got == keys and [key for key in tail if key > keys[1_049]] == keys[1_050:]
        text = f"{len(got)} of {len(keys)} in order: {got == keys}; {len(tail)} after number 1,050"
        findings.append(judge("list: order and start across pages", say, good, text))
    findings.append(_read_after_write(store))
    return findings


def _order(got: list[str], expected: list[str]) -> str:
    if got == expected:
        return f"{len(got)} keys in order"
    if sorted(got) != sorted(expected):
        return f"missing {sorted(set(expected) - set(got))}, extra {sorted(set(got) - set(expected))}"
    if got == sorted(expected, key=lambda key: key.encode("utf-16-be")):
        return "UTF-16 order (differs above U+FFFF only)"
    return f"another order: {got}"


def _read_after_write(store: Store) -> Finding:
    stale = 0
    with emptied(store):
        for number in range(50):
            key = f"raw/{number}"
            created = store.put_new(key, b"1")
            seen = created and store.get(key) == b"1" and key in store.keys("raw/", "")
            store.delete(key)
            gone = key not in store.keys("raw/", "") and attempt(lambda k=key: store.get(k)) != "ok"  # type: ignore[misc]
            again = store.put_new(key, b"2") and store.get(key) == b"2"
            stale += not (seen and gone and again)
    text = f"{50 - stale} of 50 create, read, list, delete, create again were seen at once"
    return judge("get, list, delete: read after write", store.provider, stale == 0, text)


def keys(store: Store) -> list[Finding]:
    """Write keys that the port refuses or that are at its bounds, and see what was really stored."""
    findings = []
    for name, key in DOUBTFUL_KEYS.items():
        with emptied(store):
            said = attempt(lambda k=key: store.put_new(k, b"1"))  # type: ignore[misc]
            stored = store.raw_list()
            if said != "ok":
                text, good = f"refused: {said}", name not in ("final dot", "hash", "question", "900 bytes")
            else:
                good = stored == [key]
                text = "kept" if good else f"silently stored as {[each[:20] for each in stored]}"
            if name == "1025 bytes" and said == "ok":
                text, good = f"{text} (the clouds refuse it)", False
            findings.append(judge(f"key: {name}", store.provider, good, text))
        removed = attempt(lambda k=key: store.delete(k))  # type: ignore[misc]
        if name == "900 bytes":
            text = f"delete of an absent key: {removed}"
            findings.append(judge("delete: absent is no error", store.provider, removed == "ok", text))
    return findings
