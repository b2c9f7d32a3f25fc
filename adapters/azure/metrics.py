"""Metrics for Azure Monitor over OpenTelemetry: to an OTLP endpoint of Application Insights, or to a collector."""

from typing import TYPE_CHECKING

from adapters.addresses import check_encrypted, read_address
from adapters.azure.failures import PROVIDER
from adapters.otlp import OtlpMetrics, check_installed, metrics_address
from shared.ports import Clock

FORM = "azuremonitor://HOST[:PORT][/v1/metrics][?endpoint=http://127.0.0.1:4318]"
WHERE_TO_LOOK = "look in Application Insights (Logs, customMetrics), or query its Log Analytics workspace"


class AzureMetrics(OtlpMetrics):
    """The metrics of this process, sent to one OTLP address."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint, provider=PROVIDER, where_to_look=WHERE_TO_LOOK)


def from_url(url: str, clock: Clock | None = None) -> AzureMetrics:
    """Return the metrics of `azuremonitor://HOST:PORT`. OpenTelemetry uses its own clock.

    Raises: ConfigurationError: not such a URL. MissingDependency.
    """
    address = read_address(url, FORM)
    endpoint = address.options.get("endpoint", "")
    check_encrypted(endpoint)
    check_installed(PROVIDER)
    return AzureMetrics(metrics_address(address.host, address.path, endpoint, FORM))


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = AzureMetrics
