"""Bad input and faults: which test shows what becomes of each, for every cloud."""

from collections.abc import Mapping

_A, _R, _L = "tests/adapters/test_", "tests/runtimes/", "tests/localstack/test_"
_ON_CLOUDS = f"{_R}test_faults_on_clouds.py::test"
_KILLED = f"{_ON_CLOUDS}_a_function_killed_before_the_acknowledgement_ends_in_the_same_state"
_TWICE = f"{_ON_CLOUDS}_repeated_and_reordered_messages_end_in_the_same_state"
_CLOCK = f"{_ON_CLOUDS}_a_function_whose_clock_is_an_hour_off_decides_the_same"
_STORE = f"{_A}store_faults.py::test"
_SECRET = f"{_A}faults_of_each_cloud.py::test_a_missing_secret_is_named_with_the_command_that_creates_it"

FAULTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "missing credentials": {
        "aws": (
            f"{_A}aws_store.py::test_missing_credentials_name_their_sources",
            f"{_A}aws_queue_faults.py::test_missing_credentials_or_region_are_named",
        ),
        "azure": (f"{_A}azure_store_faults.py::test_without_credentials_the_identity_is_used",),
        "gcp": (f"{_A}gcp_sdk.py::test_missing_google_credentials_name_their_sources",),
    },
    "wrong credentials, missing rights": {
        "aws": (
            f"{_A}aws_store_faults.py::test_a_refusal_names_the_remedy",
            f"{_STORE}_a_permission_error_names_action_bucket_operation_and_key[aws]",
            f"{_A}aws_queue_faults.py::test_refusals_name_the_remedy",
            f"{_A}faults_of_each_cloud.py::test_an_iam_refusal_names_action_and_resource",
            f"{_A}aws_jobs.py::test_a_permission_error_names_the_actions",
        ),
        "azure": (
            f"{_A}azure_store_faults.py::test_a_wrong_key_names_the_sources_of_credentials",
            f"{_A}azure_queue_faults.py::test_a_wrong_key_and_a_missing_permission_name_the_remedy",
            f"{_A}azure_jobs.py::test_missing_or_forbidden_resources_are_named",
        ),
        "gcp": (
            f"{_A}gcp_store_faults.py::test_refused_credentials_and_requests_name_the_remedy",
            f"{_STORE}_a_permission_error_names_action_bucket_operation_and_key[gcp]",
            f"{_A}gcp_queue_faults.py::test_every_refusal_maps_to_its_error",
        ),
    },
    "missing bucket or container": {
        "aws": (f"{_STORE}_a_missing_bucket_is_named_with_the_command_that_creates_it[aws]",),
        "azure": (f"{_STORE}_a_missing_bucket_is_named_with_the_command_that_creates_it[azure]",),
        "gcp": (f"{_STORE}_a_missing_bucket_is_named_with_the_command_that_creates_it[gcp]",),
    },
    "missing queue": {
        "aws": (f"{_A}aws_queue_faults.py::test_a_missing_queue_is_named_with_the_command_that_creates_it",),
        "azure": (f"{_A}azure_queue_faults.py::test_a_missing_queue_is_named_with_the_command_that_creates_it",),
        "gcp": (f"{_A}gcp_queue_faults.py::test_missing_topics_and_subscriptions_are_named_with_their_commands",),
    },
    "missing secret": {
        "aws": (f"{_SECRET}[aws]", f"{_SECRET}[aws-ssm]"),
        "azure": (f"{_SECRET}[azure]",),
        "gcp": (f"{_SECRET}[gcp]",),
    },
    "wrong region (an Azure account and a Google bucket are found by name alone)": {
        "aws": (
            f"{_A}aws_store_faults.py::test_a_wrong_region_is_a_configuration_error",
            f"{_A}aws_queue_faults.py::test_in_the_wrong_region_the_queue_is_not_found",
        ),
    },
    "clock an hour off, as a request is signed": {
        "aws": (
            f"{_A}aws_store_faults.py::test_a_refusal_names_the_remedy",
            f"{_A}aws_queue_faults.py::test_refusals_name_the_remedy",
        ),
        "azure": (f"{_A}azure_store_faults.py::test_a_wrong_clock_is_named",),
        "gcp": (f"{_A}gcp_sdk.py::test_a_refused_key_also_names_the_clock",),
    },
    "clock an hour off, as a function validates tokens": {
        provider: (f"{_CLOCK}[{provider}-3600.0]", f"{_CLOCK}[{provider}--3600.0]")
        for provider in ("aws", "azure", "gcp")
    },
    "ten throttles in a row": {
        "aws": (
            f"{_STORE}_ten_throttles_in_a_row_are_retried[aws]",
            f"{_A}aws_queue_faults.py::test_ten_throttles_in_a_row_are_retried",
        ),
        "azure": (
            f"{_STORE}_ten_throttles_in_a_row_are_retried[azure]",
            f"{_A}azure_queue_faults.py::test_ten_throttles_in_a_row_are_retried",
            f"{_A}azure_small.py::test_ten_throttles_in_a_row_are_retried",
        ),
        "gcp": (
            f"{_STORE}_ten_throttles_in_a_row_are_retried[gcp]",
            f"{_A}faults_of_each_cloud.py::test_ten_throttles_of_pubsub_in_a_row_are_retried",
        ),
    },
    "reset in mid-upload": {
        provider: (f"{_STORE}_a_reset_during_upload_writes_all_or_nothing[{provider}]",)
        for provider in ("aws", "azure", "gcp")
    },
    "truncated download": {
        "aws": (
            f"{_STORE}_an_incomplete_download_is_repeated[aws]",
            f"{_STORE}_a_download_that_stays_incomplete_is_unavailable[aws]",
        ),
        "azure": (
            f"{_STORE}_an_incomplete_download_is_repeated[azure]",
            f"{_STORE}_a_download_that_stays_incomplete_is_unavailable[azure]",
        ),
        "gcp": (
            f"{_A}gcp_store_faults.py::test_an_incomplete_or_changed_download_is_repeated",
            f"{_A}gcp_store_faults.py::test_a_download_that_stays_changed_is_unavailable",
        ),
    },
    "an object overwritten or deleted during a read": {
        provider: (f"{_STORE}_a_read_is_whole_although_the_object_is_overwritten_or_deleted[{provider}]",)
        for provider in ("aws", "azure", "gcp")
    },
    "a write's lost answer": {
        provider: tuple(
            f"{_STORE}_{what}[{provider}-{loss}]"
            for what in ("put_new_settles_every_kind_of_loss", "outcome_unknown_only_where_reading_back_is_lost_too")
            for loss in ("request", "upload", "part", "answer")
        )
        for provider in ("aws", "azure", "gcp")
    },
    "duplicates and disorder": {
        "aws": (f"{_TWICE}[aws]", f"{_R}aws/test_events.py::test_no_order_of_arrival_makes_a_difference"),
        "azure": (
            f"{_TWICE}[azure]",
            f"{_R}azure/test_worker.py::test_a_blob_of_an_event_grid_event_becomes_a_dataset_once",
        ),
        "gcp": (f"{_TWICE}[gcp]", f"{_R}gcp/test_served.py::test_an_upload_is_received_once_in_each_form_of_push"),
    },
    "a poison message among others": {
        "aws": (
            f"{_R}aws/test_on_emulator.py::test_of_ten_messages_nine_succeed_and_the_poison_is_dead_lettered",
            f"{_R}aws/test_main.py::test_of_a_batch_of_ten_only_the_poison_is_delivered_again",
        ),
        "azure": (
            f"{_R}azure/test_worker.py::test_a_poison_message_is_dead_lettered_after_its_dequeues_and_delays_no_other",
            f"{_A}azure_queue_faults.py::test_a_poison_message_in_a_batch_of_ten_is_moved_alone",
        ),
        "gcp": (f"{_R}gcp/test_on_emulators.py::test_a_poison_message_is_dead_lettered_and_delays_no_other",),
    },
    "a function killed between effect and acknowledgement": {
        "aws": (f"{_KILLED}[aws]",),
        "azure": (f"{_KILLED}[azure]", f"{_L}azure_host.py::test_a_message_whose_host_was_killed_is_delivered_again"),
        "gcp": (f"{_KILLED}[gcp]",),
    },
}
"""Fault -> provider -> the tests, as pytest names them."""
