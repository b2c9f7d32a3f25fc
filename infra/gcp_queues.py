"""Queues as Pub/Sub topics, each with a dead-letter topic; subscriptions push to the subscribed function.

Pub/Sub signs each call as the subscriptions' service account, the only one that Cloud Run accepts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from infra import plan
from infra.components import Platform, Queue, Trigger
from infra.configuration import Configuration
from shared.events import UploadReceived
from shared.topology import MAX_RECEIVES, Function, subscribers

if TYPE_CHECKING:
    from infra.gcp_functions import Accounts, Functions

LANDING = "landing"
"""The topic of the landing bucket's events."""
PUSHER = "push"
_MAX_ACK_DEADLINE_S = 600
"""Pub/Sub's longest deadline. A push that is not answered within it is delivered again."""
_RETENTION = "2678400s"
"""31 days, the longest retention of Pub/Sub."""
_AGENT = "service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"


class Queues:
    """The topics. `topics`: function -> topic. `dead`: function -> name of its dead-letter subscription. `landing`: the
    topic of the landing bucket's events, None without a subscriber here."""

    def __init__(self, platform: Platform, configuration: Configuration, functions: Sequence[Function]) -> None:
        self._platform = platform
        self._configuration = configuration
        self.topics: dict[str, gcp.pubsub.Topic] = {}
        self.dead: dict[str, str] = {}
        self.landing: gcp.pubsub.Topic | None = None
        self._dead_topics: dict[str, gcp.pubsub.Topic] = {}
        self._rules = {each.name: each for each in plan.queues(functions)}
        if not self._rules:
            return
        part = Queue("subscriptions", platform)
        within = pulumi.ResourceOptions(parent=part)
        project = gcp.organizations.get_project_output(
            project_id=configuration.project, opts=pulumi.InvokeOutputOptions(parent=part)
        )
        self._agent = project.number.apply(lambda number: f"serviceAccount:{_AGENT.format(number=number)}")
        self._pusher = gcp.serviceaccount.Account(
            PUSHER, account_id=f"{configuration.name}-{PUSHER}", display_name="Pushes of the subscriptions", opts=within
        )
        gcp.serviceaccount.IAMMember(
            PUSHER,
            service_account_id=self._pusher.name,
            role="roles/iam.serviceAccountTokenCreator",
            member=self._agent,
            opts=within,
        )
        part.done()
        for name in self._rules:
            self.topics[name] = self._make(name)
        if any(name in self._rules for name in subscribers(UploadReceived.TYPE)):
            self.landing = self._make(LANDING)

    @property
    def url(self) -> str:
        """Return the port's URL."""
        given = self._configuration.ports.queues
        return given or f"pubsub://{self._configuration.project}/{self._configuration.name}-"

    def grant(self, function: Function, accounts: "Accounts", account: str = "") -> None:
        """Let a function's account publish the function's events. Args: account: another account in its place."""
        who = account or function.name
        for name in plan.sends_to(function):
            if name in self.topics:
                gcp.pubsub.TopicIAMMember(
                    f"{who}-{function.name}-{name}" if account else f"{who}-{name}",
                    topic=self.topics[name].id,
                    role="roles/pubsub.publisher",
                    member=accounts.member(who),
                    opts=pulumi.ResourceOptions(parent=accounts.parts[who]),
                )

    def trigger(self, functions: "Functions") -> None:
        """Push each topic's messages to its function."""
        pushed = [(name, topic, name) for name, topic in self.topics.items()]
        if self.landing is not None:
            pushed += [
                (LANDING, self.landing, name) for name in subscribers(UploadReceived.TYPE) if name in self._rules
            ]
        for name, topic, function in pushed:
            self._push(name, topic, function, functions)

    def _make(self, name: str) -> gcp.pubsub.Topic:
        full = f"{self._configuration.name}-{name}"
        part = Queue(f"queue-{name}", self._platform)
        within = pulumi.ResourceOptions(parent=part)
        key = self._configuration.kms_key or None
        dead = gcp.pubsub.Topic(f"{name}-dead", name=f"{full}-dead", kms_key_name=key, opts=within)
        self._dead_topics[name] = dead
        self.dead[name] = f"{full}-dead"
        gcp.pubsub.Subscription(
            f"{name}-dead",
            name=f"{full}-dead",
            topic=dead.id,
            message_retention_duration=_RETENTION,
            expiration_policy={"ttl": ""},
            opts=within,
        )
        gcp.pubsub.TopicIAMMember(
            f"{name}-dead-agent", topic=dead.id, role="roles/pubsub.publisher", member=self._agent, opts=within
        )
        topic = gcp.pubsub.Topic(name, name=full, kms_key_name=key, opts=within)
        part.done({"topic": topic.id})
        return topic

    def _push(self, name: str, topic: gcp.pubsub.Topic, function: str, functions: "Functions") -> None:
        trigger = Trigger(f"trigger-{name}-push", self._platform)
        within = pulumi.ResourceOptions(parent=trigger)
        service = functions.services[function, "event"]
        allowed = functions.allow_calls(f"{name}-push", function, "event", self._pusher.email, trigger)
        subscription = gcp.pubsub.Subscription(
            name,
            name=f"{self._configuration.name}-{name}",
            topic=topic.id,
            ack_deadline_seconds=min(_MAX_ACK_DEADLINE_S, self._rules[function].visibility_s),
            message_retention_duration=_RETENTION,
            expiration_policy={"ttl": ""},
            push_config={
                "push_endpoint": service.url,
                "oidc_token": {"service_account_email": self._pusher.email, "audience": service.url},
            },
            dead_letter_policy={
                "dead_letter_topic": self._dead_topics[name].id,
                "max_delivery_attempts": max(5, MAX_RECEIVES),
            },
            retry_policy={"minimum_backoff": "10s", "maximum_backoff": "600s"},
            opts=pulumi.ResourceOptions(parent=trigger, depends_on=[allowed]),
        )
        gcp.pubsub.SubscriptionIAMMember(
            f"{name}-agent",
            subscription=subscription.id,
            role="roles/pubsub.subscriber",
            member=self._agent,
            opts=within,
        )
        trigger.done()
