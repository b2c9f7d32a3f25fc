"""A stand-in for the Google Cloud provider, over the emulators.

Created there: buckets and objects on Cloud Storage's, topics and subscriptions on Pub/Sub's, the signing key in our
Secret Manager. In memory, after the check of their types, since no emulator has them: accounts and IAM, functions, the
gateway, schedules, the job, alerts and dashboard. Subscriptions are created without push, which the emulator lacks.
"""

import itertools
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from tests.infra.stand_in.base import Kind, Properties, Refused

PROJECT, REGION, NUMBER = "emulated", "europe-west4", "111122223333"


class Bucket(Kind):
    """A bucket. The emulator has its name; its other properties are in memory."""

    def __init__(self, url: str) -> None:
        super().__init__("name", "location", "project", id_of=lambda inputs: inputs["name"])
        self.url = url
        self.outputs = lambda id_, inputs: {"url": f"gs://{id_}", "selfLink": f"{url}/b/{id_}"}

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        ask(f"{self.url}/storage/v1/b?project={PROJECT}", {"name": inputs["name"]})
        return super().create(name, inputs)

    def read(self, id_: str, properties: Properties) -> Properties | None:
        try:
            ask(f"{self.url}/storage/v1/b/{id_}")
        except Refused:
            self.existing.pop(id_, None)
            return None
        return super().read(id_, properties)

    def delete(self, id_: str, properties: Properties) -> None:
        found = ask(f"{self.url}/storage/v1/b/{id_}/o").get("items", [])
        if found and not properties.get("forceDestroy"):
            raise Refused(f"bucket {id_} is not empty")
        for each in found:
            ask(f"{self.url}/storage/v1/b/{id_}/o/{urllib.parse.quote(each['name'], safe='')}", method="DELETE")
        ask(f"{self.url}/storage/v1/b/{id_}", method="DELETE")
        super().delete(id_, properties)


class OnPubSub(Kind):
    """A topic or a subscription. Args: noun: as in its path. body: returns the emulator's request."""

    def __init__(self, url: str, noun: str, body: Callable[[Properties], Properties], *replaces: str) -> None:
        super().__init__("name", *replaces, id_of=lambda inputs: f"projects/{PROJECT}/{noun}/{inputs['name']}")
        self.url = url
        self.body = body

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        assert self.id_of is not None
        ask(f"{self.url}/v1/{self.id_of(inputs)}", self.body(inputs), method="PUT")
        return super().create(name, inputs)

    def read(self, id_: str, properties: Properties) -> Properties | None:
        try:
            ask(f"{self.url}/v1/{id_}")
        except Refused:
            self.existing.pop(id_, None)
            return None
        return super().read(id_, properties)

    def delete(self, id_: str, properties: Properties) -> None:
        ask(f"{self.url}/v1/{id_}", method="DELETE")
        super().delete(id_, properties)


class Project:
    """The emulated project. Args: storage, broker: the emulators' addresses. secrets: our Secret Manager's."""

    def __init__(self, storage: str, broker: str, secrets: str) -> None:
        self.storage = storage
        self.broker = broker
        self.secrets = secrets

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of the engine's processes."""
        return {"TIDEGATE_SECRET_MANAGER": self.secrets, "GOOGLE_CLOUD_PROJECT": PROJECT}

    def kinds(self) -> dict[str, Kind]:
        """Return type -> Kind."""
        member = ("member", "role", "condition")
        named = _named
        path = f"projects/{PROJECT}/locations/{REGION}"
        return {
            "gcp:storage/bucket:Bucket": Bucket(self.storage),
            "gcp:storage/bucketObject:BucketObject": Kind("bucket", "name", "source", id_of=_name),
            "gcp:storage/bucketIAMMember:BucketIAMMember": Kind("bucket", *member),
            "gcp:storage/notification:Notification": Kind(
                "bucket", "topic", "objectNamePrefix", "eventTypes", "payloadFormat"
            ),
            "gcp:pubsub/topic:Topic": OnPubSub(self.broker, "topics", lambda given: {}),
            "gcp:pubsub/subscription:Subscription": OnPubSub(self.broker, "subscriptions", _subscription, "topic"),
            "gcp:pubsub/topicIAMMember:TopicIAMMember": Kind("topic", *member),
            "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": Kind("subscription", *member),
            "gcp:projects/iAMCustomRole:IAMCustomRole": Kind(
                "roleId", outputs=lambda id_, given: {"name": f"projects/{PROJECT}/roles/{given['roleId']}"}
            ),
            "gcp:projects/iAMMember:IAMMember": Kind("project", *member),
            "gcp:serviceaccount/account:Account": Kind(
                "accountId",
                outputs=lambda id_, given: {
                    "email": f"{given['accountId']}@{PROJECT}.iam.gserviceaccount.com",
                    "name": f"projects/{PROJECT}/serviceAccounts/{given['accountId']}",
                },
            ),
            "gcp:serviceaccount/iAMMember:IAMMember": Kind("serviceAccountId", *member),
            "gcp:cloudfunctionsv2/function:Function": Kind(
                "name",
                "location",
                outputs=lambda id_, given: {"url": f"https://{given['name']}-{NUMBER}.{REGION}.run.app"},
            ),
            "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": Kind("name", "location", *member),
            "gcp:cloudrunv2/job:Job": Kind("name", "location", id_of=named(f"{path}/jobs")),
            "gcp:cloudrunv2/jobIamMember:JobIamMember": Kind("name", "location", *member),
            "gcp:cloudscheduler/job:Job": Kind("name", "region", id_of=named(f"{path}/jobs")),
            "gcp:secretmanager/secret:Secret": Kind(
                "secretId",
                "replication",
                id_of=lambda given: f"projects/{PROJECT}/secrets/{given['secretId']}",
                outputs=lambda id_, given: {"name": id_},
            ),
            "gcp:secretmanager/secretIamMember:SecretIamMember": Kind("secretId", *member),
            "gcp:apigateway/api:Api": Kind("apiId"),
            "gcp:apigateway/apiConfig:ApiConfig": ApiConfig(),
            "gcp:apigateway/gateway:Gateway": Kind(
                "gatewayId",
                "region",
                outputs=lambda id_, given: {"defaultHostname": f"{given['gatewayId']}-x.ew.gateway.dev"},
            ),
            "gcp:monitoring/notificationChannel:NotificationChannel": Kind(
                "type", outputs=lambda id_, given: {"name": f"projects/{PROJECT}/notificationChannels/{id_}"}
            ),
            "gcp:monitoring/alertPolicy:AlertPolicy": Kind(),
            "gcp:monitoring/dashboard:Dashboard": Kind(),
        }

    def invokes(self) -> dict[str, Callable[[Properties], Properties]]:
        """Return the provider's functions."""
        agent = f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
        return {
            "gcp:organizations/getProject:getProject": lambda given: {"number": NUMBER, "projectId": PROJECT},
            "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": lambda given: {"emailAddress": agent},
        }

    def left(self) -> dict[str, list[str]]:
        """Return the emulators' resources."""
        found = {
            "buckets": [
                each["name"] for each in ask(f"{self.storage}/storage/v1/b?project={PROJECT}").get("items", [])
            ],
            "topics": [each["name"] for each in self._list("topics")],
            "subscriptions": [each["name"] for each in self._list("subscriptions")],
        }
        return {kind: sorted(names) for kind, names in found.items() if names}

    def _list(self, noun: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = ask(f"{self.broker}/v1/projects/{PROJECT}/{noun}?pageSize=1000").get(noun, [])
        return found


class ApiConfig(Kind):
    """A gateway's configuration, which is immutable: a change replaces it."""

    def __init__(self) -> None:
        super().__init__("api", "openapiDocuments", "gatewayConfig")
        self._numbers_ = itertools.count(1)
        self.id_of = lambda inputs: f"{inputs['api']}/configs/{next(self._numbers_)}"


def ask(url: str, body: Any = None, *, method: str = "") -> dict[str, Any]:
    """Return an emulator's response. Raises: Refused: it refused."""
    data = None if body is None else json.dumps(body).encode()
    method = method or ("GET" if data is None else "POST")
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            found: dict[str, Any] = json.loads(text) if text else {}
            return found
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(f"{error.code} {error.read().decode(errors='replace')[:300]}") from error


def _subscription(given: Properties) -> Properties:
    body = {
        "name": f"projects/{PROJECT}/subscriptions/{given['name']}",
        "topic": given["topic"],
        "ackDeadlineSeconds": int(given.get("ackDeadlineSeconds", 10)),
    }
    if policy := given.get("deadLetterPolicy"):
        attempts = int(policy["maxDeliveryAttempts"])
        body["deadLetterPolicy"] = {"deadLetterTopic": policy["deadLetterTopic"], "maxDeliveryAttempts": attempts}
    return body


def _name(given: Properties) -> str:
    return str(given["name"])


def _named(path: str) -> Callable[[Properties], str]:
    return lambda given: f"{path}/{given['name']}"
