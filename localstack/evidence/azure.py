"""The capabilities on Azure, and their evidence."""

from localstack.evidence.row import Gap, Row, port_rows

_ADAPTERS = "tests/adapters/test_azure"
_IDENTITY = "tests/adapters/test_azure_identity.py::test"
_WORKER = "tests/runtimes/azure/test_worker.py::test"


def _row(area: str, what: str, service: str, evidence: str, *tests: str, remedy: str = "") -> Row:
    return Row("azure", area, what, service, evidence, tests, remedy)  # type: ignore[arg-type]  # checked by the tests


_BY_DEPLOYMENT = ("Change the app's plan and deploy: the whole app restarts.", "changes")
ROWS = [
    *port_rows("azure", "store", "Blob Storage", "emulator", differs={"presign": "With the account's key."}),
    Row("azure", "store", "presign, with a SAS", "Blob Storage", "unsupported",
        (f"{_ADAPTERS}_store_faults.py::test_a_sas_for_listing_cannot_write_or_sign",),
        "Give the app the account's key or an identity, or upload through the gateway."),
    _row("store", "presign, with an identity", "Blob Storage", "emulator",
         f"{_IDENTITY}_urls_signed_by_an_identity_are_valid_for_one_method_and_object",
         remedy="Plain names only; obstore asks for a user delegation key."),
    *port_rows(
        "azure",
        "queue",
        "Storage Queues",
        "emulator",
        differs={
            "depth": "The oldest message's age is Azure Monitor's: None here.",
            "change_visibility": "The old receipt handle is void.",
            "redrive": "The message gets a new id.",
        },
    ),
    *port_rows(
        "azure",
        "jobs",
        "Container Apps jobs",
        "documentation",
        unsupported={"submit, with an accelerator": ("The deployed job has what it has: deploy one with a GPU.", "")},
        differs={"logs": "Needs workspace in the URL, else Unsupported."},
    ),
    Row("azure", "jobs", "logs, without a workspace", "Container Apps jobs", "unsupported",
        (f"{_ADAPTERS}_jobs.py::test_logs_need_a_workspace",), "Name the Log Analytics workspace: ?workspace=ID."),
    *port_rows(
        "azure",
        "metrics",
        "OpenTelemetry",
        "collector",
        unsupported={"query": ("Look in Application Insights, or query its workspace.", "collected")},
        differs={"counter, gauge, histogram": "Observations below zero are left out."},
    ),
    *port_rows(
        "azure", "limits", "function app", "documentation", unsupported={"read": _BY_DEPLOYMENT, "set": _BY_DEPLOYMENT}
    ),
    *port_rows("azure", "secrets", "Key Vault", "documentation"),
    _row("runtime", "HTTP", "Azure Functions", "host", f"{_WORKER}_predictions_are_asked_for_at_their_address",
         f"{_WORKER}_a_request_is_validated_as_it_arrives"),
    _row("runtime", "object event", "Azure Functions", "host",
         f"{_WORKER}_a_blob_of_an_event_grid_event_becomes_a_dataset_once"),
    _row("runtime", "queue", "Azure Functions", "host", f"{_WORKER}_an_upload_over_https_is_validated_from_the_queue"),
    _row("runtime", "queue, poison after five dequeues", "Azure Functions", "host",
         f"{_WORKER}_a_poison_message_is_dead_lettered_after_its_dequeues_and_delays_no_other"),
    _row("runtime", "schedule", "Azure Functions", "host", f"{_WORKER}_a_repeated_timer_is_the_same_event"),
    _row("runtime", "job", "Container Apps jobs", "documentation",
         f"{_ADAPTERS}_jobs.py::test_requests_equal_those_of_the_typed_client",
         "tests/runtimes/test_job.py::test_a_clouds_job_reads_its_environment"),
    _row("events", "an object was written", "Event Grid", "documentation",
         "tests/localstack/test_object_events.py::test_a_written_blob_gives_one_event",
         "tests/localstack/test_object_events.py::test_both_schemas_say_the_same",
         remedy="There is no emulator: localstack/object_events.py lists blobs and writes both documented schemas."),
    _row("events", "queue to function", "Storage Queues", "emulator",
         "tests/localstack/test_azure_host.py::test_messages_are_handled_or_poisoned_after_five_dequeues",
         "tests/localstack/test_azure_host.py::test_a_message_whose_host_was_killed_is_delivered_again"),
    _row("credentials", "the account's key", "Blob Storage", "emulator",
         f"{_ADAPTERS}_store_faults.py::test_a_wrong_key_names_the_sources_of_credentials"),
    _row("credentials", "a SAS", "Blob Storage", "emulator",
         f"{_ADAPTERS}_store_faults.py::test_a_sas_for_listing_cannot_write_or_sign"),
    _row("credentials", "a managed identity", "Blob Storage", "emulator",
         f"{_IDENTITY}_blobs_are_written_and_read_by_an_identity",
         f"{_IDENTITY}_a_token_for_another_audience_is_refused",
         f"{_ADAPTERS}_store_faults.py::test_without_credentials_the_identity_is_used"),
    _row("credentials", "a managed identity", "Storage Queues", "emulator",
         f"{_IDENTITY}_messages_are_sent_and_received_by_an_identity",
         f"{_ADAPTERS}_small.py::test_all_clients_share_one_identity"),
    _row("credentials", "a refused permission names action and resource", "Blob Storage", "emulator",
         f"{_ADAPTERS}_store_faults.py::test_a_sas_for_listing_cannot_write_or_sign"),
    _row("credentials", "a refused permission names action and resource", "Azure roles", "documentation",
         f"{_ADAPTERS}_queue_faults.py::test_a_wrong_key_and_a_missing_permission_name_the_remedy",
         remedy="The test sends the documented response: the emulator has no roles."),
    _row("limits of the platform", "request over the limit", "Azure Functions", "host",
         f"{_WORKER}_a_body_over_the_limit_is_refused"),
    _row("limits of the platform", "message over the limit: a claim check", "Storage Queues", "emulator",
         "tests/conformance/test_queue.py::test_queue[azure-body_size_limits_are_enforced]",
         f"{_ADAPTERS}_queue_faults.py::test_messages_never_expire_and_can_have_the_largest_size",
         remedy="The limit is 48 KiB: 64 KiB in base64."),
]  # fmt: skip
GAPS = [
    Gap("azure", "Azure Functions", "its host: routes, keys, sign-in (Easy Auth) and rewritten requests. What calls "
        "Microsoft's worker library here is ours: it counts a message's dequeues by the host's description, and cannot "
        "end a function that takes too long; requests are held to the 230 s that Azure waits by "
        "`tests/runtimes/azure/test_main.py::test_no_request_has_more_time_than_the_platform_waits`."),
    Gap("azure", "Blob Storage", "roles, and who signed a token: the emulator checks issuer, audience and lifetime. "
        "The identity's address is localstack/managed_identity.py, by its description."),
    Gap("azure", "Storage Queues", "the same of roles and tokens."),
    Gap("azure", "Event Grid", "everything: there is no emulator."),
]  # fmt: skip
