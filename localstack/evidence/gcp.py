"""The capabilities on Google Cloud, and their evidence."""

from localstack.evidence.row import Gap, Row, port_rows

_ADAPTERS = "tests/adapters/test_gcp"
_SERVED = "tests/runtimes/gcp/test_served.py::test"
_EMULATED = "tests/runtimes/gcp/test_on_emulators.py::test"


def _row(area: str, what: str, service: str, evidence: str, *tests: str, remedy: str = "") -> Row:
    return Row("gcp", area, what, service, evidence, tests, remedy)  # type: ignore[arg-type]  # checked by the tests


_BY_DEPLOYMENT = ("Deploy a revision with other limits.", "changes")
ROWS = [
    *port_rows(
        "gcp",
        "store",
        "Cloud Storage",
        "emulator",
        unsupported={
            "presign": (
                "With a person's credentials; use a service account's (next row), or upload through the gateway.",
                "presigns",
            )
        },
    ),
    _row("store", "presign, with a service account", "Cloud Storage", "emulator",
         f"{_ADAPTERS}_sdk.py::test_a_signed_url_is_valid_for_one_method_and_object",
         f"{_ADAPTERS}_sdk.py::test_google_signs_for_an_account_without_a_key",
         remedy="The test checks the signature by Google's description; the emulator serves the URL without a look."),
    *port_rows(
        "gcp",
        "queue",
        "Pub/Sub",
        "emulator",
        unsupported={
            "send, delayed": ("Send it when it is due, by Cloud Scheduler or Cloud Tasks.", "delays"),
            "depth": ("Read num_undelivered_messages in Cloud Monitoring.", "counts"),
        },
        differs={
            "ack": "Accepts an expired lease.",
            "change_visibility": "At most ten minutes at a time; accepts an expired lease.",
            "dead_letters": "Best effort on Pub/Sub: a message may be delivered more often than it should.",
            "redrive": "The message gets a new id.",
        },
    ),
    *port_rows(
        "gcp",
        "jobs",
        "Cloud Run jobs",
        "documentation",
        unsupported={"submit, with an accelerator": ("The deployed job has what it has: deploy one with a GPU.", "")},
    ),
    *port_rows(
        "gcp",
        "metrics",
        "OpenTelemetry",
        "collector",
        unsupported={"query": ("Look in Cloud Monitoring's Metrics Explorer.", "collected")},
        differs={"counter, gauge, histogram": "Observations below zero are left out."},
    ),
    *port_rows(
        "gcp", "limits", "Cloud Run revisions", "documentation",
        unsupported={"read": _BY_DEPLOYMENT, "set": _BY_DEPLOYMENT},
    ),
    *port_rows("gcp", "secrets", "Secret Manager", "documentation"),
    _row("runtime", "HTTP", "functions-framework", "host", f"{_SERVED}_predictions_are_asked_for_at_their_address",
         f"{_SERVED}_a_path_is_validated_as_it_was_sent"),
    _row("runtime", "object event", "functions-framework", "host",
         f"{_EMULATED}_an_object_of_a_storage_event_becomes_a_dataset"),
    _row("runtime", "queue", "functions-framework", "host",
         f"{_EMULATED}_an_upload_over_https_is_validated_from_its_topic",
         f"{_SERVED}_an_upload_is_received_once_in_each_form_of_push"),
    _row("runtime", "queue, poison ends as a dead letter", "functions-framework", "host",
         f"{_EMULATED}_a_poison_message_is_dead_lettered_and_delays_no_other"),
    _row("runtime", "schedule", "functions-framework", "host",
         f"{_SERVED}_a_schedule_fires_and_fires_again_as_the_same"),
    _row("runtime", "schedule, as Cloud Scheduler calls", "Cloud Scheduler", "documentation",
         "tests/localstack/test_gcp_host.py::test_a_schedule_calls_as_cloud_scheduler_does",
         remedy="localstack/scheduler.py calls as its description says."),
    _row("runtime", "only authorised callers are accepted", "Cloud Run", "documentation",
         f"{_SERVED}_a_token_that_is_sent_twice_is_not_accepted",
         remedy="Cloud Run authenticates callers of event services by IAM; nothing does so here."),
    _row("runtime", "job", "Cloud Run jobs", "documentation",
         f"{_ADAPTERS}_jobs.py::test_run_requests_match_the_api",
         "tests/runtimes/test_job.py::test_a_clouds_job_reads_its_environment"),
    _row("events", "an object was written", "Cloud Storage", "emulator",
         "tests/localstack/test_object_events.py::test_cloud_storage_publishes_its_events_to_pubsub",
         f"{_EMULATED}_a_storage_event_as_sent_is_parsed",
         remedy="The emulator knows one notification for all buckets."),
    _row("events", "queue to function", "Pub/Sub", "emulator",
         "tests/localstack/test_gcp_host.py::test_a_message_is_pushed_once_and_acknowledged",
         "tests/localstack/test_gcp_host.py::test_a_message_that_is_never_acknowledged_becomes_a_dead_letter",
         remedy="The emulator does not push: localstack/pubsub_push.py pulls, and posts the documented envelope."),
    _row("credentials", "the default chain", "IAM", "documentation",
         f"{_ADAPTERS}_sdk.py::test_missing_google_credentials_name_their_sources",
         f"{_ADAPTERS}_sdk.py::test_an_unreachable_token_service_is_unavailable",
         remedy="The emulators take no credentials."),
    _row("credentials", "a refused permission names action and resource", "IAM", "documentation",
         "tests/adapters/test_store_faults.py::"
         "test_a_permission_error_names_action_bucket_operation_and_key[gcp]",
         f"{_ADAPTERS}_queue_faults.py::test_every_refusal_maps_to_its_error",
         remedy="The tests send the documented responses: the emulators refuse no caller."),
    _row("limits of the platform", "request over the limit", "functions-framework", "host",
         f"{_SERVED}_a_body_over_the_platforms_limit_is_refused_with_the_alternative"),
    _row("limits of the platform", "message over the limit: a claim check", "Pub/Sub", "emulator",
         "tests/conformance/test_queue.py::test_queue[gcp-body_size_limits_are_enforced]",
         f"{_ADAPTERS}_queue_faults.py::test_many_messages_are_sent_in_several_requests",
         remedy="The limit is 10 MB, of one message and of one request."),
    _row("limits of the platform", "a call's time", "Cloud Run", "documentation",
         "tests/runtimes/gcp/test_main.py::test_a_call_has_the_smaller_of_the_two_limits",
         remedy="The framework's server ends nothing."),
]  # fmt: skip
GAPS = [
    Gap("gcp", "Cloud Storage", "that it refuses a URL whose signature is wrong, or anybody: the emulator checks "
        "neither signatures nor rights."),
    Gap("gcp", "Pub/Sub", "that it pushes, who it says it is when it does (its token), its pauses between attempts, "
        "and that it refuses callers: the emulator delivers messages to anyone."),
    Gap("gcp", "functions-framework", "Cloud Run's own parts: IAM, and limits of time, memory and instances."),
    Gap("gcp", "Cloud Scheduler", "everything: there is no emulator."),
]  # fmt: skip
