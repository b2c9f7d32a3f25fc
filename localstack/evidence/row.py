"""A row of the capability table: what a provider can do here, and what shows it (docs/capabilities.md)."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Evidence = Literal["emulator", "host", "collector", "documentation", "unsupported"]
EVIDENCE: dict[Evidence, str] = {
    "emulator": "the adapter or runtime works on an emulator of the service, in every test run",
    "host": "it works under the vendor's own runtime library, in every test run",
    "collector": "what is sent arrives at a collector that reads the protocol by its own definition; what the service "
    "makes of it is by documentation only",
    "documentation": "by documentation only: requests and answers are checked against the vendor's published "
    "description or typed client, or against a stand-in of ours. That is no evidence that it works",
    "unsupported": "refused with the error Unsupported, or not there; the last column says what to do instead",
}
SHOWN = ("emulator", "host")
MUST_BE_SHOWN = frozenset(
    {
        *("S3", "SQS", "Lambda"),
        *("Blob Storage", "Storage Queues", "Azure Functions"),
        *("Cloud Storage", "Pub/Sub", "functions-framework"),
    }
)
"""Services of which no row may rest on documentation."""


class Row(msgspec.Struct, frozen=True):
    """One capability of one provider.

    `shown_by`: tests, as pytest names them; one without its brackets stands for all of its cases. `flag`: the field of
    the conformance rig by which the gap is declared. `remedy`: what to do instead, or what differs.
    """

    provider: str
    area: str
    what: str
    service: str
    evidence: Evidence
    shown_by: tuple[str, ...]
    remedy: str = ""
    flag: str = ""


class Gap(msgspec.Struct, frozen=True):
    """What no test shows of a service whose rows stand otherwise: `what`, and what takes its place here."""

    provider: str
    service: str
    what: str


STORE = {
    "get": ("get_gives_one_single_write", "get_sees_what_was_acknowledged"),
    "get_range": ("get_range_gives_a_part",),
    "head": ("head_knows_size_and_etag",),
    "put_new": ("one_racing_caller_wins", "exists_changes_nothing"),
    "put": ("put_replaces", "of_racing_puts_the_last_one_stands"),
    "list": ("list_is_complete_and_in_order", "list_fetches_as_it_goes"),
    "delete": ("after_delete_put_new_creates_again",),
    "presign": ("presign_works_or_says_that_it_cannot",),
}
QUEUE = {
    "send": ("what_was_sent_is_there_at_once",),
    "send, delayed": ("a_delayed_message_comes_later",),
    "send_many": ("send_many_sends_each", "send_many_with_a_too_large_one_sends_nothing"),
    "receive": ("a_lease_hides_the_message_until_it_ends", "receive_takes_as_many_as_asked"),
    "ack": ("ack_removes", "ack_of_a_lapsed_lease_is_false"),
    "change_visibility": (
        "change_visibility_moves_the_end_of_the_lease",
        "change_visibility_of_a_lapsed_lease_is_none",
    ),
    "dead_letters": ("a_worn_out_message_becomes_a_dead_letter", "dead_letters_come_oldest_first"),
    "redrive": ("redrive_gives_a_dead_letter_a_new_life",),
    "depth": ("depth_counts_lent_ones_too",),
}
JOBS = {
    "submit": ("a_job_runs_its_function_on_its_event", "a_submitted_job_outlives_its_submitter"),
    "submit, with an accelerator": ("submit_refuses_what_cannot_be",),
    "a job that died": ("a_job_that_died_is_done_again",),
    "status": ("what_has_ended_stays_as_it_ended", "a_failed_job_says_why"),
    "cancel": ("cancel_stops_a_job",),
    "logs": ("logs_hold_both_outputs_so_far",),
}
METRICS = {
    "counter, gauge, histogram": ("a_point_comes_back_as_it_was_recorded", "recording_bears_a_broken_store"),
    "query": ("query_takes_a_window_and_labels",),
}
LIMITS = {"read": ("read_gives_what_was_deployed",), "set": ("set_is_seen_at_once",)}
SECRETS = {"get": ("get_gives_the_newest_value", "get_refuses_what_is_no_secret")}
PORTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "store": STORE,
    "queue": QUEUE,
    "jobs": JOBS,
    "metrics": METRICS,
    "limits": LIMITS,
    "secrets": SECRETS,
}
"""Port -> operation -> the clauses of the conformance suite that hold it."""


def port_rows(
    provider: str,
    port: str,
    service: str,
    evidence: Evidence,
    *,
    rig: str = "",
    unsupported: Mapping[str, tuple[str, str]] | None = None,
    differs: Mapping[str, str] | None = None,
    leave_out: tuple[str, ...] = (),
) -> list[Row]:
    """Return a row for each operation of a port.

    Args: rig: its name in the tests, where it is not the provider's. unsupported: operation -> what to do instead, and
        the rig's field that declares it. differs: operation -> what is other than one would think. leave_out:
        operations that the provider's module gives a row of their own.
    """
    rows = []
    for operation, clauses in PORTS[port].items():
        if operation in leave_out:
            continue
        tests = tuple(_node(port, rig or provider, clause) for clause in clauses)
        remedy, flag = (unsupported or {}).get(operation, ("", ""))
        if remedy:
            rows.append(Row(provider, port, operation, service, "unsupported", tests, remedy, flag))
        else:
            rows.append(Row(provider, port, operation, service, evidence, tests, (differs or {}).get(operation, "")))
    return rows


def _node(port: str, rig: str, clause: str) -> str:
    if port in ("store", "queue", "jobs"):
        return f"tests/conformance/test_{port}.py::test_{port}[{rig}-{clause}]"
    return f"tests/conformance/test_small_ports.py::test_small_port[{port}-{rig}-{clause}]"
