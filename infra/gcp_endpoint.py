"""The HTTPS endpoint: an API Gateway whose closed routes require a token of the configured issuer.

The gateway calls the services as its own account, the only one that they accept, and passes the caller's token on in
X-Forwarded-Authorization. It knows no use cases: the function validates the token again.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_gcp as gcp

from functions.runtimes.http import GATEWAY
from infra.components import Endpoint, Platform
from infra.configuration import Configuration
from infra.gcp_functions import Functions
from shared.serving.routes import ROUTES

CALLER = "gateway"
GATEWAY_ROUTES_FUNCTION = "infer"
_TOKENS = "tokens"
_HOLE = re.compile(r"\{([a-z]+)\}")


def endpoint_of(platform: Platform, configuration: Configuration, functions: Functions) -> pulumi.Input[str]:
    """Declare the gateway; return the stack's base URL, "" where no function here has a route."""
    answering = {function: service for (function, target), service in functions.services.items() if target == "http"}
    if not answering:
        return ""
    part = Endpoint("endpoint", platform)
    within = pulumi.ResourceOptions(parent=part)
    name = configuration.name
    caller = gcp.serviceaccount.Account(
        CALLER, account_id=f"{name}-{CALLER}", display_name="The gateway's calls", opts=within
    )
    allowed = [
        functions.allow_calls(f"{function}-gateway", function, "http", caller.email, part) for function in answering
    ]
    api = gcp.apigateway.Api("api", api_id=name, opts=within)
    urls = {function: service.url for function, service in answering.items()}
    described = pulumi.Output.all(**urls).apply(lambda known: document(configuration, known))
    config = gcp.apigateway.ApiConfig(
        "api",
        api=api.api_id,
        api_config_id_prefix=f"{name}-",
        openapi_documents=[
            {
                "document": {
                    "path": "openapi.json",
                    "contents": described.apply(lambda text: base64.b64encode(text.encode()).decode()),
                }
            }
        ],
        gateway_config={"backend_config": {"google_service_account": caller.email}},
        opts=pulumi.ResourceOptions(parent=part, depends_on=allowed),
    )
    gateway = gcp.apigateway.Gateway(
        "api", gateway_id=name, api_config=config.id, region=configuration.region, opts=within
    )
    url = gateway.default_hostname.apply(lambda host: host if "://" in host else f"https://{host}")
    part.done({"url": url})
    return url


def document(configuration: Configuration, urls: Mapping[str, str]) -> str:
    """Return the OpenAPI 2.0 document that configures the gateway.

    Args: urls: function -> URL of its service. Source: API Gateway documentation, "OpenAPI extensions".
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        function = GATEWAY_ROUTES_FUNCTION if route.function == GATEWAY else route.function
        if function not in urls:
            continue
        operation: dict[str, Any] = {
            "operationId": route.operation,
            "summary": route.about,
            "parameters": [
                {"name": name, "in": "path", "required": True, "type": "string"} for name in _HOLE.findall(route.path)
            ],
            "responses": {"default": {"description": "See the stack's own /openapi.json."}},
            "x-google-backend": {
                "address": urls[function],
                "path_translation": "APPEND_PATH_TO_ADDRESS",
                "jwt_audience": urls[function],
                "deadline": 300.0,
            },
            "security": [] if route.action is None else [{_TOKENS: []}],
        }
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return json.dumps(
        {
            "swagger": "2.0",
            "info": {"title": configuration.name, "version": "1"},
            "schemes": ["https"],
            "paths": paths,
            "securityDefinitions": {
                _TOKENS: {
                    "type": "oauth2",
                    "flow": "implicit",
                    "authorizationUrl": "",
                    "x-google-issuer": configuration.issuer,  # its keys are found through its discovery document
                    "x-google-audiences": configuration.audience,
                }
            },
        },
        sort_keys=True,
    )
