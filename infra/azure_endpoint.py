"""The HTTPS endpoint of all apps: API Management on the Consumption tier, which costs nothing while idle.

Its closed routes require a token of the configured issuer. The apps validate the token again: API Management knows no
use cases, and the apps can also be reached by their own host names.
"""

import re
from xml.sax.saxutils import escape, quoteattr

import pulumi
import pulumi_azure_native.apimanagement as apimanagement

from functions.runtimes.http import GATEWAY
from infra.azure_apps import Apps
from infra.components import Endpoint, Platform
from infra.configuration import Configuration
from shared.serving.routes import ROUTES, Route

GATEWAY_ROUTES_FUNCTION = "infer"
_PUBLISHER = "nobody@example.com"
"""The publisher's e-mail, which the service requires, where there is no alarm address."""
_HOLE = re.compile(r"\{([a-z]+)\}")


def endpoint_of(
    platform: Platform, configuration: Configuration, group: pulumi.Input[str], apps: Apps, tags: dict[str, str]
) -> pulumi.Input[str]:
    """Declare API Management; return the stack's base URL, "" where no function here has a route."""
    routes = [(route, GATEWAY_ROUTES_FUNCTION if route.function == GATEWAY else route.function) for route in ROUTES]
    routes = [(route, function) for route, function in routes if function in apps.urls]
    if not routes:
        return ""
    part = Endpoint("endpoint", platform)
    within = pulumi.ResourceOptions(parent=part)
    service = apimanagement.ApiManagementService(
        "api",
        service_name=configuration.name,
        resource_group_name=group,
        location=configuration.region,
        publisher_name=configuration.name,
        publisher_email=configuration.alarm_address or _PUBLISHER,
        sku={"name": apimanagement.SkuType.CONSUMPTION, "capacity": 0},
        custom_properties={
            f"Microsoft.WindowsAzure.ApiManagement.Gateway.Security.{side}Protocols.{old}": "false"
            for side in ("", "Backend.")
            for old in ("Tls10", "Tls11")
        },
        tags=tags,
        opts=within,
    )
    api = apimanagement.Api(
        "api",
        api_id="tidegate",
        service_name=service.name,
        resource_group_name=group,
        display_name=configuration.name,
        path="",
        protocols=[apimanagement.Protocol.HTTPS],
        subscription_required=False,  # tokens identify callers
        opts=within,
    )
    for route, function in routes:
        operation = apimanagement.ApiOperation(
            route.operation,
            operation_id=route.operation,
            api_id=api.name,
            service_name=service.name,
            resource_group_name=group,
            display_name=route.about[:100],
            method=route.method,
            url_template=route.path,
            template_parameters=[
                {"name": name, "type": "string", "required": True} for name in _HOLE.findall(route.path)
            ],
            opts=within,
        )
        apimanagement.ApiOperationPolicy(
            route.operation,
            operation_id=operation.name,
            api_id=api.name,
            policy_id="policy",
            service_name=service.name,
            resource_group_name=group,
            format=apimanagement.PolicyContentFormat.RAWXML,
            value=apps.urls[function].apply(lambda url, route=route: policy_of(configuration, route, url)),  # type: ignore[misc]
            opts=within,
        )
    part.done({"url": service.gateway_url})
    return service.gateway_url


def policy_of(configuration: Configuration, route: Route, url: str) -> str:
    """Return a route's policy: validate the token where the route is closed, and pass the request on.

    Source: API Management policy reference, validate-jwt and set-backend-service.
    """
    discovery = configuration.issuer.rstrip("/") + "/.well-known/openid-configuration"
    validate_jwt = (
        '<validate-jwt header-name="Authorization" require-scheme="Bearer" failed-validation-httpcode="401">'
        f"<openid-config url={quoteattr(discovery)} />"
        f"<audiences><audience>{escape(configuration.audience)}</audience></audiences>"
        f"<issuers><issuer>{escape(configuration.issuer)}</issuer></issuers>"
        "</validate-jwt>"
    )
    inbound = (
        f"<base />{validate_jwt if route.action is not None else ''}<set-backend-service base-url={quoteattr(url)} />"
    )
    return (
        f"<policies><inbound>{inbound}</inbound><backend><base /></backend><outbound><base /></outbound>"
        "<on-error><base /></on-error></policies>"
    )
