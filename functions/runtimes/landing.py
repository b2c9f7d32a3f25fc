"""The landing store's bucket and prefix on a cloud, to tell events about its objects from events about others.

A bucket may hold several logical stores under different prefixes, and a topic or queue may carry the events of several
buckets. Only objects of the landing store are handled.
"""

from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from shared import layout


class Landing(msgspec.Struct, frozen=True):
    """The landing store's bucket or container, the prefix of its keys ("" or ending with "/"), and the account.

    `account` is "" if the provider's URLs have none.
    """

    bucket: str
    prefix: str = ""
    account: str = ""

    def key_of(self, bucket: str, name: str, account: str = "") -> str | None:
        """Return the key of an object that an event names, None if it is not in the landing store.

        >>> Landing("lake", "in/").key_of("lake", "in/drops/flights/a.csv")
        'drops/flights/a.csv'
        """
        elsewhere = bucket != self.bucket or bool(account and self.account and account != self.account)
        return None if elsewhere or not name.startswith(self.prefix) else name[len(self.prefix) :]

    def event_prefixes(self) -> tuple[str, ...]:
        """Return the key prefixes whose events a bucket must send: uploads and drops."""
        return tuple(self.prefix + family.prefix() for family in (layout.UPLOADS, layout.DROPS))


def landing_of(url: str, scheme: str = "") -> Landing:
    """Return the place of a store's URL. If `scheme` is given and the URL's differs, no object is in the place.

    >>> landing_of("az://landing/team-a?account=lake")
    Landing(bucket='landing', prefix='team-a/', account='lake')
    >>> landing_of("s3://landing", "az").key_of("landing", "drops/flights/a.csv") is None
    True
    """
    if scheme and not url.startswith(f"{scheme}:"):
        return Landing("")
    parts = urlsplit(url)
    prefix = unquote(parts.path).strip("/")
    account = parse_qs(parts.query).get("account", [""])[0]
    return Landing(parts.netloc, f"{prefix}/" if prefix else "", account)
