"""What the demo needs of a stack, whoever serves it: an address, tokens, and its ports to read what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.runtimes.local.home import Home, issue_token
from functions.runtimes.local.platform import compose
from shared.platform import Platform

Issue = Callable[[str, Sequence[str], float], str]
"""(subject, scopes, lifetime in s) -> a token of the stack."""


@dataclass(frozen=True)
class DemoStack:
    """A served stack.

    url: where it answers. platform: its ports, whole. where: what names it to a person. logs: where to look if
    something does not come.
    """

    url: str
    platform: Platform
    issue: Issue
    where: str
    logs: str


def of_home(home: Home, url: str) -> DemoStack:
    """Return the stack of a local home that is served at `url`."""
    platform = compose(home, "demo")

    def issue(subject: str, scopes: Sequence[str], lifetime_s: float) -> str:
        return issue_token(home, subject, scopes, platform.clock.now(), lifetime_s)

    return DemoStack(url, platform, issue, str(home.path), str(home.logs))
