"""Every sentence of every port's docstring has a check, and every check has a broken adapter that it rejects."""

from collections.abc import Mapping

import pytest

from tests.conformance.broken_jobs import JOBS_BREAKS
from tests.conformance.broken_queue import QUEUE_BREAKS
from tests.conformance.broken_small import SMALL_BREAKS
from tests.conformance.broken_store import STORE_BREAKS
from tests.conformance.clauses import Suite, docstring, public_names, unknown_quotes, untested_sentences
from tests.conformance.job_clauses import JOBS
from tests.conformance.queue_clauses import SENDING
from tests.conformance.queue_receive_clauses import RECEIVING
from tests.conformance.small_clauses import CLOCK, IDS, LIMITS, METRICS, SECRETS
from tests.conformance.store_clauses import READING
from tests.conformance.store_list_clauses import LISTING
from tests.conformance.store_write_clauses import WRITING

ABOUT_THE_PORTS = Suite("")
ABOUT_THE_PORTS.permits(
    "",
    "The ports: small synchronous Protocols for what Tidegate needs of a provider. adapters/ implements them per "
    "provider. Each docstring is the contract: atomicity, ordering, consistency, idempotency and errors. The "
    "conformance suite (tests/conformance) has a check for each sentence, and a deliberately broken adapter that the "
    "check must reject.",
    "it describes these tests",
)
SUITES = [READING, WRITING, LISTING, SENDING, RECEIVING, JOBS, METRICS, LIMITS, SECRETS, CLOCK, IDS, ABOUT_THE_PORTS]
RECORDS = (
    "ObjectInfo",
    "Object",
    "Created",
    "Exists",
    "Message",
    "DeadLetter",
    "JobSpec",
    "JobStatus",
    "MetricPoint",
    "FunctionLimits",
)
BROKEN: dict[str, Mapping[str, object]] = {
    "ObjectStore": STORE_BREAKS,
    "Queue": QUEUE_BREAKS,
    "QueueConsumer": QUEUE_BREAKS,
    "Jobs": JOBS_BREAKS,
    **dict.fromkeys(("Metrics", "Limits", "Secrets", "Clock", "Ids"), SMALL_BREAKS),
}


def test_every_sentence_of_the_ports_has_a_check() -> None:
    places = ["", *RECORDS, *(name for suite in SUITES if suite.port for name in public_names(suite.port))]
    assert untested_sentences(SUITES, places) == []


def test_every_quoted_sentence_is_in_the_ports() -> None:
    assert unknown_quotes(SUITES) == []


def test_a_sentence_without_a_check_is_found() -> None:
    suites = [suite for suite in SUITES if suite is not CLOCK]
    assert untested_sentences(suites, ["Clock.now"]) == [f"Clock.now: {docstring('Clock.now')}"]
    outdated = Suite("Clock")
    outdated.permits("Clock.now", "Return the time of day.", "no such sentence")
    assert unknown_quotes([outdated]) == ["Clock.now: Return the time of day."]


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite.port], ids=lambda suite: suite.port)
def test_every_clause_has_a_broken_adapter(suite: Suite) -> None:
    assert [name for name in suite.clauses if not BROKEN[suite.port].get(name)] == []


def test_every_broken_adapter_names_a_known_clause() -> None:
    clauses = {name for suite in SUITES for name in suite.clauses}
    assert {name for breaks in BROKEN.values() for name in breaks} <= clauses
