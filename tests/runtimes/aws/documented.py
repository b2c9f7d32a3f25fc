"""AWS events and a context from its documentation, each with its source."""

import base64
import json
from dataclasses import dataclass
from typing import Any

BUCKET = "files"


@dataclass
class Invocation:
    """What awslambdaric gives to a handler, as far as ours uses it."""

    aws_request_id: str = "8f507cfc-1a2b-4c3d-9e8f-000000000001"
    left_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


def request(
    path: str = "/v2/health/live",
    method: str = "GET",
    *,
    body: bytes | str | None = None,
    query: str = "",
    headers: dict[str, str] | None = None,
    stage: str = "$default",
    domain: str = "id.execute-api.us-east-1.amazonaws.com",
    **changes: Any,
) -> dict[str, Any]:
    """Return a request in payload format 2.0; a body of bytes travels as base64.

    Source: API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", example 2.0; a function
    URL's differs in its domain name (Lambda Developer Guide, "Invoking Lambda function URLs").
    """
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "cookies": ["cookie1", "cookie2"],
        "headers": {"header1": "value1", "header2": "value1,value2", **(headers or {})},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "authentication": None,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "agent",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "isBase64Encoded": isinstance(body, bytes),
        "stageVariables": None,
    }
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return {**event, **changes}


REST_REQUEST: dict[str, Any] = {
    "version": "1.0",
    "resource": "/my/path",
    "path": "/my/path",
    "httpMethod": "GET",
    "headers": {"header1": "value1"},
    "multiValueHeaders": {"header1": ["value1"]},
    "queryStringParameters": None,
    "requestContext": {"accountId": "123456789012", "httpMethod": "GET", "path": "/my/path", "stage": "$default"},
    "body": "Hello from Lambda!",
    "isBase64Encoded": False,
}
"""Source: the same page, example 1.0."""

BALANCER_REQUEST: dict[str, Any] = {
    "requestContext": {
        "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1"}
    },
    "httpMethod": "GET",
    "path": "/lambda",
    "queryStringParameters": {},
    "headers": {"accept": "text/html"},
    "body": "",
    "isBase64Encoded": False,
}
"""Source: Elastic Load Balancing User Guide, "Use Lambda functions as targets"."""


def batch(*bodies: str, **attributes: str) -> dict[str, Any]:
    """Return an SQS batch, its messages named m0, m1, ....

    Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", example of a standard queue.
    """
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                    **attributes,
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:my-queue",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def s3_record(key: str, bucket: str = BUCKET, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """Return a record of an S3 notification. Args: key: as it travels, URL-encoded.

    Source: Amazon S3 User Guide, "Event message structure", version 2.6.
    """
    return {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


def s3_notification(*records: dict[str, Any]) -> str:
    """Return the text of the message that S3 sends."""
    return json.dumps({"Records": records})


TEST_MESSAGE = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z",
        "Bucket": BUCKET,
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    }
)
"""Source: Amazon S3 User Guide, "Event notification types and destinations", the test message."""

RULE_FIRED: dict[str, Any] = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2015-10-08T16:53:06Z",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/my-schedule"],
    "detail": {},
}
"""Source: AWS Lambda Developer Guide, "Invoke a Lambda function on a schedule", and EventBridge's "Schedule a rule"."""

SCHEDULE_FIRED: dict[str, Any] = {
    **RULE_FIRED,
    "source": "aws.scheduler",
    "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/watch"],
    "detail": "{}",
}
"""What Lambda gets without an input configured. Source: EventBridge Scheduler User Guide, "Using templated targets"."""


def configured(time: str = "2022-03-22T18:59:43Z", schedule: str = "watch") -> dict[str, str]:
    """Return what a schedule sends whose input our deployment configured.

    Source of the time's form: EventBridge Scheduler User Guide, "Adding context attributes".
    """
    return {"schedule": schedule, "time": time}
