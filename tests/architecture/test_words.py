"""Words that this project replaced by standard ones do not come back, in names or in prose."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPLACED = {
    r"told|hears?|heard": "receives, is notified, reports",
    r"lapsed?|lapses": "expired",
    r"lent|lends?|borrow\w*|loans?": "receives, is in flight, lease",
    r"patience|patiently": "timeout, deadline, retry policy",
    r"verdicts?|judge[sd]?|judg(e?ment|ing)": "validation report, validate, evaluate",
    r"anew|mend(s|ed|ing)?|bury|buried": "again, fix, dead-letter",
    r"worn out|given up on|gives up on": "max receives exceeded, abandoned",
    r"sweep(s|ing)?|swept": "reconcile",
}
HISTORY = ("docs/decisions", "CHANGELOG.md", "tests/architecture/test_words.py")


def test_replaced_words_do_not_come_back() -> None:
    files = ["*.py", "*.md", "*.toml", "*.yaml", "*.yml", "*.sh", *(f":!{path}" for path in HISTORY)]
    found = []
    for words, standard in REPLACED.items():
        listed = subprocess.run(
            ["git", "grep", "-niwE", words, "--", *files], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert listed.returncode in (0, 1), listed.stderr
        found += [f"{line[:160]}  (write: {standard})" for line in listed.stdout.splitlines()]
    assert not found, "\n".join(found)
