"""Metrics for Cloud Monitoring over OpenTelemetry: to Google's OTLP address with a token, or to a collector."""

from typing import TYPE_CHECKING, Any

from adapters.addresses import read_address
from adapters.gcp.sdk import PROVIDER, credentials, is_emulator, new_session, with_sdk
from adapters.otlp import OtlpMetrics, check_installed, metrics_address
from shared.ports import Clock

FORM = "cloudmonitoring://telemetry.googleapis.com or cloudmonitoring://HOST:PORT[/v1/metrics]"
WHERE_TO_LOOK = "look in Cloud Monitoring (Metrics explorer, or its PromQL interface)"
_GOOGLE = ".googleapis.com"


class CloudMonitoringMetrics(OtlpMetrics):
    """The metrics of this process, sent to one OTLP address. Only Google's own addresses get the account's token.

    Google needs the project in the environment: OTEL_RESOURCE_ATTRIBUTES=gcp.project_id=PROJECT.
    """

    def __init__(self, address: str, host: str) -> None:
        def session() -> Any:
            held = credentials("")
            return with_sdk(lambda: new_session(held, emulator=False))

        google = host.partition(":")[0].endswith(_GOOGLE)
        super().__init__(address, provider=PROVIDER, where_to_look=WHERE_TO_LOOK, session=session if google else None)


def from_url(url: str, clock: Clock | None = None) -> CloudMonitoringMetrics:
    """Return the metrics of `cloudmonitoring://HOST[:PORT]`. OpenTelemetry uses its own clock.

    Raises: ConfigurationError: not such a URL. MissingDependency.
    """
    address = read_address(url, FORM)
    endpoint = address.options.get("endpoint", "")
    is_emulator(endpoint)
    check_installed(PROVIDER)
    host = "" if endpoint else address.host
    return CloudMonitoringMetrics(metrics_address(address.host, address.path, endpoint, FORM), host)


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = CloudMonitoringMetrics
