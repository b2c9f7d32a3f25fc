"""The HTTPS endpoint: an HTTP API whose closed routes require a token of the configured issuer.

The API knows no use cases. The function validates the token again, and checks its use case.
"""

from functools import cache

import pulumi
import pulumi_aws as aws

from functions.runtimes.http import GATEWAY
from infra.aws_functions import Functions, log_days
from infra.components import Endpoint, Platform
from infra.configuration import Configuration
from shared.serving.routes import ROUTES

GATEWAY_ROUTES_FUNCTION = "infer"
"""Any function with routes can answer the gateway's own routes; this one does."""
_REQUESTS_A_SECOND, _BURST = 100, 200
_LOG_FIELDS = {
    "at": "$context.requestTime",
    "id": "$context.requestId",
    "route": "$context.routeKey",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "refused": "$context.authorizer.error",
}
"""The fields of the access log. It has no paths, which name use cases, no addresses and no tokens."""


class Endpoints:
    """The API. `url`: the stack's base URL, "" where no function here has a route."""

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
            target = aws.apigatewayv2.Integration(
                function,
                api_id=api.id,
                integration_type="AWS_PROXY",
                integration_uri=functions.arns[function],
                payload_format_version="2.0",
                opts=within,
            )
            return target.id.apply(lambda id_: f"integrations/{id_}")

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
            access_log_settings={"destination_arn": log.arn, "format": pulumi.Output.json_dumps(_LOG_FIELDS)},
            opts=within,
        )
        self.url = api.api_endpoint
        part.done({"url": api.api_endpoint})


def _function_of(name: str) -> str:
    return GATEWAY_ROUTES_FUNCTION if name == GATEWAY else name
