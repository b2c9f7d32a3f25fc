"""What a fresh process has imported at the end of its first call."""

import base64

from shared.documents import digest_of, encode
from shared.settings import Stores
from shared.usecase.charter import CharterVersion, Signature
from tests.runtimes.closures import libraries, places
from tests.runtimes.clouds import GOOD, environ
from tests.runtimes.conftest import settings
from tests.simulation.material import CHARTER, USECASE

KEY = f"drops/{USECASE}/a.csv"
STACK = """
import base64, os
from functions.runtimes.host import Host
from shared.usecase.charter import CharterVersion
from shared.usecase.effective import charters
host = Host(os.environ)
version = CharterVersion.decode(base64.b64decode(os.environ["CHARTER"]))
charters(host.platform.system, os.environ["USECASE"]).append(lambda _: version)
key = os.environ["KEY"]
host.platform.landing.put_new(key, base64.b64decode(os.environ["BODY"]))
"""
VALIDATED = """
host.object_written("validate", key)
receipts = [info.key for info in host.platform.system.list("receipts/")]
assert b'"accepted"' in host.platform.system.get(receipts[0]).body
"""
HEARD_AGAIN = """
import shared.data.records
from shared.documents import digest_of_parts
from shared.registry.blob import create_document
etag = host.platform.landing.head(key).etag
receipt = digest_of_parts(key, etag)
known = shared.data.records.Receipt(
    usecase=os.environ["USECASE"], receipt=receipt, source_key=key, etag=etag, state="quarantined"
)
create_document(host.platform.system, f"receipts/{known.usecase}/{receipt}.json", known)
host.object_written("validate", key)
"""
TICKED = """
host.tick("monitor", "first", 0.0)
"""


def after(code: str, function: str, body: bytes = GOOD) -> dict[str, str]:
    """Return the modules, with their files, of a function's process after its first call."""
    signatures = tuple(Signature(role, "somebody", 0.0) for role in CHARTER.sign_off)
    version = CharterVersion(charter=CHARTER, digest=digest_of(encode(CHARTER)), signatures=signatures)
    given = settings(
        stores=Stores(landing="memory:landing", system="memory:system", capture="memory:capture"),
        **dict.fromkeys(("jobs", "metrics", "limits", "secrets"), "memory:"),
    )
    texts = {"CHARTER": base64.b64encode(encode(version)).decode(), "BODY": base64.b64encode(body).decode()}
    return places(STACK + code, environ(function, given, USECASE=USECASE, KEY=KEY, **texts))


def test_validating_a_file_imports_only_the_readers_of_its_format() -> None:
    found = after(VALIDATED, "validate")
    assert libraries(found) == {"msgspec", "numpy", "pyarrow"}
    assert found.keys() >= {"pyarrow.compute", "pyarrow.csv"}
    assert found.keys() & {"pyarrow.parquet", "pyarrow.fs", "pyarrow.dataset", "asyncio", "ssl", "jwt"} == set()


def test_a_repeated_upload_event_imports_no_readers() -> None:
    assert libraries(after(HEARD_AGAIN, "validate")) == {"msgspec"}


def test_a_tick_with_nothing_due_imports_no_readers() -> None:
    assert libraries(after(TICKED, "monitor")) == {"msgspec"}
