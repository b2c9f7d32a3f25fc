"""What the demo needs of a stack, whoever serves it: an address, tokens, and its ports to read what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.platform import Platform

if TYPE_CHECKING:
    import ssl

    from functions.runtimes.local.home import Home
    from localstack.stacks.emulated import EmulatedStack

Issue = Callable[[str, Sequence[str], float], str]
"""(subject, scopes, lifetime in s) -> a token of the stack."""


@dataclass(frozen=True)
class DemoStack:
    """A served stack.

    url: where it answers. platform: its ports, whole. where: what names it to a person. logs: where to look if
    something does not come. provider: "local", or whose emulators serve it. invocations: function -> how often it was
    called, as the emulator or host counts; None where nobody counts.
    """

    url: str
    platform: Platform
    issue: Issue
    where: str
    logs: str
    provider: str = "local"
    invocations: Callable[[], dict[str, int] | None] = lambda: None
    trusted: "ssl.SSLContext | None" = None
    certificate: str = ""
    """The file of the certificate that it speaks HTTPS with, where others do not believe it."""
    names: Sequence[str] = ()
    """What that certificate is for."""


def of_home(home: "Home", url: str) -> DemoStack:
    """Return the stack of a local home that is served at `url`."""
    from functions.runtimes.local.home import issue_token
    from functions.runtimes.local.platform import compose
    from functions.runtimes.local.tls import checked, pair_at, speaks_tls, trusting

    files = checked(home) if speaks_tls(home) else None
    pair = pair_at(*files) if files else None
    platform = compose(home, "demo")

    def issue(subject: str, scopes: Sequence[str], lifetime_s: float) -> str:
        return issue_token(home, subject, scopes, platform.clock.now(), lifetime_s)

    return DemoStack(
        url,
        platform,
        issue,
        str(home.path),
        str(home.logs),
        trusted=trusting(home),
        certificate=str(files[0]) if files else "",
        names=pair.names if pair else (),
    )


def of_emulated(stack: "EmulatedStack") -> DemoStack:
    """Return a stack on a cloud's emulators."""
    return DemoStack(
        stack.url,
        stack.platform(),
        stack.issue,
        f"emulated {stack.provider}",
        str(stack.logs),
        stack.provider,
        stack.invocations,
    )
