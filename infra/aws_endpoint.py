"""The HTTPS address: an HTTP API that lets no request pass to a closed route without a token of the issuer.

Whose token it is, and for which use case, the function judges again: the API knows no use cases.
"""

from functools import cache

import pulumi
import pulumi_aws as aws

from functions.runtimes.http import GATEWAY
from infra.aws_functions import Functions, log_days
from infra.components import Endpoint, Platform
from infra.configuration import Configuration
from shared.serving.routes import ROUTES

ANSWERS_OPEN_ROUTES = "infer"
"""Routes of the gateway's own are answered by every function that answers any."""
_REQUESTS_A_SECOND, _BURST = 100, 200
_LOGGED = {
    "at": "$context.requestTime",
    "id": "$context.requestId",
    "route": "$context.routeKey",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "refused": "$context.authorizer.error",
}
"""Neither paths, which name use cases, nor addresses, nor tokens."""


class Endpoints:
    """The API. `url`: where clients reach the stack, "" where no function here answers any."""

    def __init__(self, platform: Platform, configuration: Configuration, functions: Functions) -> None:
        self.url: pulumi.Input[str] = ""
        routes = [(route, _function_of(route.function)) for route in ROUTES]
        routes = [(route, function) for route, function in routes if function in functions.names]
        if not routes:
            return
        part = Endpoint("endpoint", platform)
        within = pulumi.ResourceOptions(parent=part)
        name = configuration.name
        api = aws.apigatewayv2.Api("api", name=name, protocol_type="HTTP", opts=within)
        authorizer = aws.apigatewayv2.Authorizer(
            "tokens",
            api_id=api.id,
            name="tokens",
            authorizer_type="JWT",
            identity_sources=["$request.header.Authorization"],
            jwt_configuration={"issuer": configuration.issuer, "audiences": [configuration.audience]},
            opts=within,
        )

        @cache
        def integration(function: str) -> pulumi.Output[str]:
            aws.lambda_.Permission(
                f"api-{function}",
                action="lambda:InvokeFunction",
                function=functions.names[function],
                principal="apigateway.amazonaws.com",
                source_arn=api.execution_arn.apply(lambda arn: f"{arn}/*/*"),
                opts=within,
            )
            made = aws.apigatewayv2.Integration(
                function,
                api_id=api.id,
                integration_type="AWS_PROXY",
                integration_uri=functions.arns[function],
                payload_format_version="2.0",
                opts=within,
            )
            return made.id.apply(lambda id_: f"integrations/{id_}")

        for route, function in routes:
            closed = route.action is not None
            aws.apigatewayv2.Route(
                route.operation,
                api_id=api.id,
                route_key=f"{route.method} {route.path}",
                target=integration(function),
                authorization_type="JWT" if closed else "NONE",
                authorizer_id=authorizer.id if closed else None,
                opts=within,
            )
        log = aws.cloudwatch.LogGroup(
            "api", name=f"/{name}/api", retention_in_days=log_days(configuration), opts=within
        )
        aws.apigatewayv2.Stage(
            "api",
            api_id=api.id,
            name="$default",
            auto_deploy=True,
            default_route_settings={
                "throttling_rate_limit": _REQUESTS_A_SECOND,
                "throttling_burst_limit": _BURST,
            },
            access_log_settings={"destination_arn": log.arn, "format": pulumi.Output.json_dumps(_LOGGED)},
            opts=within,
        )
        self.url = api.api_endpoint
        part.done({"url": api.api_endpoint})


def _function_of(name: str) -> str:
    return ANSWERS_OPEN_ROUTES if name == GATEWAY else name
