"""What the demo needs of a stack on any provider: an address, tokens, and the ports to read the results."""

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

    url: its address. platform: all of its ports. where: its name for people. logs: the folder or file to read after a
    failure. provider: "local", or the emulated cloud. invocations: function -> calls, as the emulator or host counts
    them; None where nothing counts.
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
    """The file of its HTTPS certificate, where clients do not trust it by default."""
    names: Sequence[str] = ()
    """The names in that certificate."""


def of_home(home: "Home", url: str) -> DemoStack:
    """Return the stack of a local home that is served at `url`."""
    from functions.runtimes.local.home import issue_token
    from functions.runtimes.local.platform import compose
    from functions.runtimes.local.tls import checked, client_context, pair_at, uses_tls

    files = checked(home) if uses_tls(home) else None
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
        trusted=client_context(home),
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
