"""Rows of the capability table: what a provider can do, and the evidence (docs/capabilities.md)."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Evidence = Literal["emulator", "host", "collector", "documentation", "unsupported"]
EVIDENCE: dict[Evidence, str] = {
    "emulator": "the adapter or runtime works on an emulator of the service, in every test run",
    "host": "it works under the vendor's own runtime library, in every test run",
    "collector": "a collector that parses the protocol by its own definition receives what is sent; how the service "
    "processes it is by documentation only",
    "documentation": "by documentation only: requests and answers are checked against the vendor's published "
    "description or typed client, or against our own stand-in. This is no evidence that it works",
    "unsupported": "refused with the error Unsupported, or missing; the last column has the alternative",
}
SHOWN = ("emulator", "host")
MUST_BE_SHOWN = frozenset(
    {
        *("S3", "SQS", "Lambda"),
        *("Blob Storage", "Storage Queues", "Azure Functions"),
        *("Cloud Storage", "Pub/Sub", "functions-framework"),
    }
)
"""Services for which no row may rest on documentation."""


class Row(msgspec.Struct, frozen=True):
    """One capability of one provider.

    `shown_by`: tests, as pytest names them; a name without brackets means all cases. `flag`: the field of the
    conformance rig that declares the gap. `remedy`: what to do instead, or what differs.
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
    """A property that no test shows, of a service with evidence otherwise: `what`, and what replaces it here."""

    provider: str
    service: str
    what: str


STORE = {
    "get": ("get_returns_one_single_write", "get_sees_acknowledged_writes"),
    "get_range": ("get_range_returns_part_of_the_body",),
    "head": ("head_returns_size_and_etag",),
    "put_new": ("one_racing_writer_wins", "put_new_on_an_existing_key_changes_nothing"),
    "put": ("put_overwrites", "the_last_of_racing_puts_wins"),
    "list": ("list_is_complete_and_in_order", "list_fetches_pages_as_needed"),
    "delete": ("after_delete_put_new_creates_again",),
    "presign": ("presign_returns_a_url_or_is_unsupported",),
}
QUEUE = {
    "send": ("a_sent_message_is_durable_at_once",),
    "send, delayed": ("a_delayed_message_is_invisible_until_its_delay_ends",),
    "send_many": ("send_many_sends_each", "send_many_with_one_body_too_large_sends_none"),
    "receive": ("a_message_is_invisible_while_in_flight", "receive_returns_up_to_max_messages"),
    "ack": ("ack_removes_the_message", "ack_of_an_expired_lease_returns_false"),
    "change_visibility": (
        "change_visibility_moves_the_end_of_the_lease",
        "change_visibility_of_an_expired_lease_returns_none",
    ),
    "dead_letters": ("a_message_past_max_receives_becomes_a_dead_letter", "dead_letters_are_listed_repeatedly"),
    "redrive": ("redrive_resets_the_receive_count",),
    "depth": ("depth_counts_messages_in_flight",),
}
JOBS = {
    "submit": ("a_job_runs_its_function_on_its_event", "a_submitted_job_outlives_its_submitter"),
    "submit, with an accelerator": ("submit_rejects_invalid_specs",),
    "a job that died": ("a_job_whose_process_died_runs_again",),
    "status": ("terminal_states_never_change", "a_failed_job_has_an_exit_code_and_a_reason"),
    "cancel": ("cancel_stops_a_job",),
    "logs": ("logs_contain_stdout_and_stderr_so_far",),
}
METRICS = {
    "counter, gauge, histogram": ("a_recorded_point_is_returned_by_query", "recording_survives_a_broken_store"),
    "query": ("query_filters_by_window_and_labels",),
}
LIMITS = {"read": ("read_returns_the_deployed_limits",), "set": ("a_changed_limit_is_read_at_once",)}
SECRETS = {"get": ("get_returns_the_newest_value", "get_rejects_invalid_and_unknown_names")}
PORTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "store": STORE,
    "queue": QUEUE,
    "jobs": JOBS,
    "metrics": METRICS,
    "limits": LIMITS,
    "secrets": SECRETS,
}
"""Port -> operation -> its clauses in the conformance suite."""


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

    Args: rig: its name in the tests, if it is not the provider's. unsupported: operation -> the alternative, and the
        rig's field that declares it. differs: operation -> what differs from the other providers. leave_out: operations
        with a row of their own in the provider's module.
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
