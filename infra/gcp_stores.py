"""The stores as Cloud Storage buckets: uniform access, not public, versioned, with lifecycle rules; and the rights on
their objects.

A custom role has the permissions of one verb. A condition on the object's name limits it to the families that a
function was granted (IAM, "Resource attributes for IAM Conditions"). IAM cannot express two of the grants exactly.

- An absent key is answered with 404 only to an account that may list; any other gets 403.
- Overwriting an object needs the right to delete it. A function that replaces hints can therefore delete them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gcp as gcp

from functions.runtimes.landing import landing_of
from infra import plan
from infra.components import Platform, Store, Trigger, keeping
from infra.configuration import Configuration
from shared import layout
from shared.layout import StoreName
from shared.topology import Function

if TYPE_CHECKING:
    from infra.gcp_functions import Accounts
    from infra.gcp_queues import Queues

VERBS = {
    "read": ("storage.objects.get",),
    "list": ("storage.objects.list",),
    "create": ("storage.objects.create",),
    "replace": ("storage.objects.create", "storage.objects.delete"),
}
"""Verb -> the permissions that it needs."""
_NONCURRENT_DAYS = 30
_CLAUSES = 5
"""Families in one condition: IAM allows 12 logical operators, and a family needs up to two."""


class Stores:
    """The three stores. `buckets`: store -> bucket, for stores in Cloud Storage. `urls`: store -> the port's URL."""

    def __init__(self, platform: Platform, configuration: Configuration) -> None:
        self._configuration = configuration
        self._platform = platform
        self.buckets: dict[StoreName, pulumi.Input[str]] = {}
        self.urls: dict[str, pulumi.Input[str]] = {}
        self._roles: dict[str, gcp.projects.IAMCustomRole] = {}
        for name in plan.STORES:
            given = getattr(configuration.ports, name)
            self.urls[name] = given or self._make(name)
            if given.startswith("gs:"):
                self.buckets[name] = landing_of(given).bucket
        if self.buckets:
            part = Store("rights", platform)
            for verb, permissions in VERBS.items():
                self._roles[verb] = gcp.projects.IAMCustomRole(
                    f"objects-{verb}",
                    role_id=f"{configuration.name.replace('-', '_')}_objects_{verb}",
                    title=f"{configuration.name}: {verb} objects",
                    permissions=list(permissions),
                    opts=pulumi.ResourceOptions(parent=part),
                )
            part.done()

    def grant(self, function: Function, accounts: "Accounts", account: str = "") -> None:
        """Give a function's account the function's grants. Args: account: another account in its place."""
        who = account or function.name
        for store, bucket in self.buckets.items():
            access = [each for each in plan.access(function) if each.store == store]
            for verb, conditions in conditions_of(access).items():
                for number, condition in enumerate(conditions):
                    name = f"{who}-{function.name}" if account else who
                    self._allow(f"{name}-{store}-{verb}-{number}", bucket, verb, condition, accounts, who)

    def notify(self, queues: "Queues") -> None:
        """Send Cloud Storage's events of uploads and drops to the landing topic."""
        topic = queues.landing
        if topic is None or "landing" not in self.buckets:
            return
        configuration = self._configuration
        trigger = Trigger("trigger-landing", self._platform)
        within = pulumi.ResourceOptions(parent=trigger)
        agent = gcp.storage.get_project_service_account_output(
            project=configuration.project, opts=pulumi.InvokeOutputOptions(parent=trigger)
        )
        allowed = gcp.pubsub.TopicIAMMember(
            "landing-storage",
            topic=topic.id,
            role="roles/pubsub.publisher",
            member=agent.email_address.apply(lambda email: f"serviceAccount:{email}"),
            opts=within,
        )
        url = configuration.ports.landing or f"gs://{configuration.name}-landing"
        for prefix in landing_of(url).event_prefixes():
            gcp.storage.Notification(
                f"landing-{prefix.strip('/').replace('/', '-')}",
                bucket=self.buckets["landing"],
                topic=topic.id,
                payload_format="NONE",
                event_types=["OBJECT_FINALIZE"],
                object_name_prefix=prefix,
                opts=pulumi.ResourceOptions(parent=trigger, depends_on=[allowed]),
            )
        trigger.done()

    def _allow(
        self, name: str, bucket: pulumi.Input[str], verb: str, condition: str, accounts: "Accounts", who: str
    ) -> None:
        limited: Any = {
            "title": name,
            "expression": pulumi.Output.from_input(bucket).apply(lambda known: condition.replace(BUCKET, known)),
        }
        gcp.storage.BucketIAMMember(
            name,
            bucket=bucket,
            role=self._roles[verb].name,
            member=accounts.member(who),
            condition=limited,
            opts=pulumi.ResourceOptions(parent=accounts.parts[who]),
        )

    def _make(self, name: StoreName) -> str:
        """Declare a store's bucket; return its URL."""
        configuration = self._configuration
        full = f"{configuration.name}-{name}"
        store = Store(f"store-{name}", self._platform)
        bucket = gcp.storage.Bucket(
            name,
            name=full,
            location=configuration.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            encryption={"default_kms_key_name": configuration.kms_key} if configuration.kms_key else None,
            lifecycle_rules=_rules(name, configuration),
            force_destroy=not configuration.keep_data,
            opts=keeping(store, configuration.keep_data),
        )
        self.buckets[name] = bucket.name
        store.done({"bucket": bucket.name})
        return f"gs://{full}"


BUCKET = "{bucket}"
"""Placeholder of the bucket's name in a condition."""


def conditions_of(access: Sequence[plan.Access]) -> dict[str, list[str]]:
    """Return verb -> conditions, each of which holds for some of the families' keys."""
    found = {
        "read": [_named(each) for each in access if each.read],
        "create": [_named(each) for each in access if each.create and not each.replace],
        "replace": [_named(each) for each in access if each.replace],
    }
    prefixes = dict.fromkeys(each.prefix for each in access)
    prefix_asked = 'api.getAttribute("storage.googleapis.com/objectListPrefix", "")'
    # A request without a prefix reads one key, and needs the right to list to be answered with 404.
    found["list"] = (
        [f'{prefix_asked} == ""', *(f'{prefix_asked}.startsWith("{prefix}")' for prefix in prefixes)] if access else []
    )
    return {verb: [" || ".join(chunk) for chunk in _chunks(clauses)] for verb, clauses in found.items() if clauses}


def _named(access: plan.Access) -> str:
    """Return a condition that holds for the names of a family's objects, and for no others.

    runs/*/*/trials/*.json and runs/*/*/result.json differ only in what is before the last name.
    """
    begins = f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/{access.prefix}")'
    names = access.pattern.split("*")
    before, ends = names[-2], names[-1]
    if len(names) > 2 and before != "/":
        return f'({begins} && resource.name.extract("{before}{{rest}}") != "")'
    return f'({begins} && resource.name.endsWith("{ends}"))' if ends else begins


def _chunks(clauses: Iterable[str]) -> Iterator[tuple[str, ...]]:
    left = iter(clauses)
    while chunk := tuple(itertools.islice(left, _CLAUSES)):
        yield chunk


def _rules(name: StoreName, configuration: Configuration) -> list[Any]:
    days = configuration.retention_days
    kept = {layout.QUARANTINE: days.quarantine, layout.PREDICTIONS: days.predictions, layout.PAYLOADS: days.payloads}
    found: list[Any] = [
        {
            "action": {"type": "Delete"},
            "condition": {"days_since_noncurrent_time": _NONCURRENT_DAYS, "with_state": "ARCHIVED"},
        }
    ]
    return found + [
        {"action": {"type": "Delete"}, "condition": {"age": each, "matches_prefixes": [family.prefix()]}}
        for family, each in kept.items()
        if family.store == name
    ]
