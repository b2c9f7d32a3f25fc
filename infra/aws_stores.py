"""The stores as S3 buckets: encrypted, versioned, private, TLS only, with lifecycle rules for retention."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import plan
from infra.aws_queues import Queues
from infra.components import Platform, Store, Trigger, keeping
from infra.configuration import Configuration
from shared import layout
from shared.layout import StoreName

_NONCURRENT_DAYS = 30
"""How long a replaced hint or a deleted object can be restored."""


class Stores:
    """The three stores. `arns`: store -> ARN of its bucket, for stores in S3. `urls`: store -> the port's URL."""

    def __init__(self, platform: Platform, configuration: Configuration) -> None:
        self._configuration = configuration
        self._platform = platform
        self._landing: tuple[pulumi.Input[str], Store | None] = "", None
        self.arns: dict[StoreName, pulumi.Input[str]] = {}
        self.urls: dict[str, pulumi.Input[str]] = {}
        for name in plan.STORES:
            given = getattr(configuration.ports, name)
            self.urls[name] = given or self._make(name)
            if given.startswith("s3:"):
                self.arns[name] = f"arn:aws:s3:::{landing_bucket(given)}"

    def notify(self, queues: Queues) -> None:
        """Send S3's events of uploads and drops to the queue of validate."""
        from functions.runtimes.landing import landing_of

        queue = queues.arns.get("validate")
        if queue is None:
            return
        url = self._configuration.ports.landing or f"s3://{self._configuration.name}-landing"
        landing = landing_of(url)
        trigger = Trigger("trigger-landing", self._platform)
        allowed = queues.allow_bucket("validate", f"arn:aws:s3:::{landing.bucket}")
        aws.s3.BucketNotification(
            "landing",
            bucket=self._bucket_of("landing", landing.bucket),
            queues=[
                {
                    "id": prefix.strip("/").replace("/", "-"),
                    "queue_arn": queue,
                    "events": ["s3:ObjectCreated:*"],
                    "filter_prefix": prefix,
                }
                for prefix in landing.event_prefixes()
            ],
            opts=pulumi.ResourceOptions(parent=trigger, depends_on=[allowed]),
        )
        trigger.done()

    def _bucket_of(self, name: str, given: str) -> pulumi.Input[str]:
        bucket_id, _ = self._landing
        return bucket_id or given

    def _make(self, name: StoreName) -> str:
        """Declare a store's bucket; return its URL."""
        configuration = self._configuration
        bucket_name = f"{configuration.name}-{name}"
        store = Store(f"store-{name}", self._platform)
        bucket = aws.s3.Bucket(
            name,
            bucket=bucket_name,
            force_destroy=not configuration.keep_data,
            opts=keeping(store, configuration.keep_data),
        )
        within = pulumi.ResourceOptions(parent=store, retain_on_delete=configuration.keep_data)
        aws.s3.BucketVersioning(name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=within)
        by_default: Any = {"sse_algorithm": "AES256"}
        if configuration.kms_key:
            by_default = {"sse_algorithm": "aws:kms", "kms_master_key_id": configuration.kms_key}
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[{"apply_server_side_encryption_by_default": by_default, "bucket_key_enabled": True}],
            opts=within,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=within,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=json.dumps(_tls_only(f"arn:aws:s3:::{bucket_name}")),
            opts=pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=[closed])),
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=_rules(name, configuration),
            opts=within,
        )
        self.arns[name] = bucket.arn
        if name == "landing":
            self._landing = bucket.id, store
        store.done({"bucket": bucket.id})
        return f"s3://{bucket_name}?region={configuration.region}"


def landing_bucket(url: str) -> str:
    """Return the bucket of a store's URL."""
    from functions.runtimes.landing import landing_of

    return landing_of(url).bucket


def _tls_only(arn: str) -> dict[str, Any]:
    """Return the policy that denies requests without TLS."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "DenyWithoutTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _rules(name: StoreName, configuration: Configuration) -> list[Any]:
    """Return a bucket's lifecycle rules: retention by family, and expiry of replaced and deleted objects."""
    days = configuration.retention_days
    kept = {layout.QUARANTINE: days.quarantine, layout.PREDICTIONS: days.predictions, layout.PAYLOADS: days.payloads}
    found: list[Any] = [
        {
            "id": "noncurrent",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": _NONCURRENT_DAYS},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        }
    ]
    return found + [
        {
            "id": family.name,
            "status": "Enabled",
            "filter": {"prefix": family.prefix()},
            "expiration": {"days": each},
        }
        for family, each in kept.items()
        if family.store == name
    ]
