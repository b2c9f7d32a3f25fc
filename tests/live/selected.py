"""The cloud that TIDEGATE_LIVE names."""

from collections.abc import Mapping

from tests.live import on_aws, on_azure, on_gcp
from tests.live.account import Cloud, LiveRun, settings_of

NEEDS = {"aws": on_aws.NEEDS, "azure": on_azure.NEEDS, "gcp": on_gcp.NEEDS}
EXCLUDED = {"aws": on_aws.EXCLUDED, "azure": on_azure.EXCLUDED, "gcp": on_gcp.EXCLUDED}
"""Provider -> clause -> why it does not run on a real account. It runs on the emulator."""


def read(environ: Mapping[str, str]) -> LiveRun:
    """Return the settings of the environment. Raises: pytest.UsageError: a variable is missing or invalid."""
    return settings_of(environ, NEEDS)


def cloud_of(found: LiveRun) -> Cloud:
    """Return the cloud. Its SDK finds the credentials by its own chain."""
    clouds: dict[str, type[Cloud]] = {"aws": on_aws.Aws, "azure": on_azure.Azure, "gcp": on_gcp.Gcp}
    return clouds[found.provider](found)  # type: ignore[call-arg]
