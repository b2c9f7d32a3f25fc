"""The capabilities on AWS, and their evidence."""

from localstack.evidence.row import Gap, Row, port_rows

_ADAPTERS = "tests/adapters/test_aws"
_IAM = "tests/adapters/test_faults_of_each_cloud.py::test_an_iam_refusal_names_action_and_resource"
_RUNTIME = "tests/runtimes/aws/test"


def _row(area: str, what: str, service: str, evidence: str, *tests: str, remedy: str = "") -> Row:
    return Row("aws", area, what, service, evidence, tests, remedy)  # type: ignore[arg-type]  # checked by the tests


ROWS = [
    *port_rows("aws", "store", "S3", "emulator"),
    *port_rows(
        "aws",
        "queue",
        "SQS",
        "emulator",
        differs={
            "ack": "The emulator refuses a receipt handle of an earlier lease; SQS accepts it.",
            "depth": "Counts lag by up to a minute on SQS. The oldest message's age is CloudWatch's: None here.",
            "redrive": "The message gets a new id.",
        },
    ),
    *port_rows(
        "aws",
        "jobs",
        "ECS on Fargate",
        "documentation",
        unsupported={"submit, with an accelerator": ("Fargate has none: place `trigger` where jobs have one.", "")},
    ),
    *port_rows("aws", "metrics", "CloudWatch Logs", "emulator",
        differs={
            "counter, gauge, histogram": "Here emf_bridge.py carries the output to the logs, as Lambda does.",
            "query": "Needs log_group in the URL.",
        },
    ),
    *port_rows("aws", "limits", "Lambda", "emulator"),
    *port_rows("aws", "secrets", "Secrets Manager", "emulator"),
    Row(
        "aws",
        "secrets",
        "get",
        "Systems Manager parameters",
        "emulator",
        tuple(
            f"tests/conformance/test_small_ports.py::test_small_port[secrets-aws-ssm-{clause}]"
            for clause in ("get_returns_the_newest_value", "get_rejects_invalid_and_unknown_names")
        ),
    ),
    _row("metrics", "metrics out of log lines", "CloudWatch embedded format", "documentation",
         f"{_ADAPTERS}_ports.py::test_lines_follow_the_embedded_metric_format",
         remedy="No emulator extracts them; localstack/emf_bridge.py does it by the format's description."),
    _row("runtime", "HTTP", "Lambda", "host", f"{_RUNTIME}_on_host.py::test_requests_are_answered"),
    _row("runtime", "HTTP by function URL and HTTP API", "Lambda", "emulator",
         f"{_RUNTIME}_on_emulator.py::test_a_function_url_and_an_http_api_are_answered",
         f"{_RUNTIME}_on_emulator.py::test_requests_travel_as_they_are_read"),
    _row("runtime", "object event", "Lambda", "emulator",
         f"{_RUNTIME}_on_emulator.py::test_an_object_becomes_a_dataset_and_another_buckets_does_not"),
    _row("runtime", "queue, partial failures of a batch", "Lambda", "emulator",
         f"{_RUNTIME}_on_emulator.py::test_of_ten_messages_nine_succeed_and_the_poison_is_dead_lettered"),
    _row("runtime", "queue", "Lambda", "host", f"{_RUNTIME}_on_host.py::test_a_batch_and_a_schedule_are_handled"),
    _row("runtime", "schedule", "Lambda", "emulator",
         f"{_RUNTIME}_on_emulator.py::test_a_schedule_travels_as_it_is_read",
         f"{_RUNTIME}_on_host.py::test_a_batch_and_a_schedule_are_handled"),
    _row("runtime", "job", "ECS on Fargate", "documentation",
         f"{_ADAPTERS}_jobs.py::test_run_task_requests_match_the_vendors_model",
         "tests/runtimes/test_job.py::test_a_clouds_job_reads_its_environment"),
    _row("events", "an object was written", "S3", "emulator",
         "tests/localstack/test_object_events.py::test_s3_sends_its_events_to_sqs",
         remedy="Order is by content, never by arrival."),
    _row("events", "queue to function", "SQS", "emulator",
         "tests/localstack/test_lambda_host.py::test_a_poison_message_of_a_batch_is_alone_in_the_dead_letters"),
    _row("credentials", "keys in the environment", "S3", "emulator",
         f"{_ADAPTERS}_store.py::test_precedence_of_credentials",
         f"{_ADAPTERS}_store.py::test_missing_credentials_name_their_sources"),
    _row("credentials", "a profile", "S3", "emulator",
         f"{_ADAPTERS}_store.py::test_profiles_are_used"),
    _row("credentials", "the role of the function, the task or the machine", "IAM roles", "documentation",
         f"{_ADAPTERS}_store.py::test_a_machine_without_a_role_names_the_sources_of_credentials"),
    _row("credentials", "a refused permission names action and resource", "S3", "emulator", _IAM),
    _row("credentials", "a refused permission names action and resource", "SQS", "emulator", _IAM),
    _row("limits of the platform", "request over the limit", "Lambda", "host",
         f"{_RUNTIME}_on_host.py::test_an_answer_over_the_limit_still_travels",
         f"{_RUNTIME}_http.py::test_a_request_over_the_limit_is_refused_with_the_alternative",
         remedy="The limit is 6 MB either way: larger files go into the bucket."),
    _row("limits of the platform", "message over the limit: a claim check", "SQS", "emulator",
         "tests/conformance/test_queue.py::test_queue[aws-body_size_limits_are_enforced]",
         "tests/runtimes/test_claim_check.py::test_a_large_event_is_stored_and_read_back_unchanged",
         remedy="The limit is 1 MiB, 256 KiB where a region has not been raised."),
    _row("limits of the platform", "a call's time", "Lambda", "host",
         "tests/localstack/test_lambda_host.py::test_a_timeout_and_a_dead_process_start_a_new_process",
         f"{_RUNTIME}_main.py::test_a_call_without_time_left_returns_its_messages_as_failed"),
]  # fmt: skip
GAPS = [
    Gap("aws", "Lambda", "that it ends a call over its memory and queues calls over its concurrency: no emulator "
        "enforces either. What is shown is that both are set and read back."),
    Gap("aws", "Lambda", "its start from a snapshot (SnapStart)."),
    Gap("aws", "S3", "events that repeat or come in another order: the emulator's never do. Tests repeat and shuffle "
        "them."),
    Gap("aws", "SQS", "that it accepts a receipt handle of an earlier lease: the emulator refuses it."),
]  # fmt: skip
