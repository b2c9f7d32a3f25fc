"""The cloud that TIDEGATE_LIVE names."""

from collections.abc import Mapping

from tests.live import on_aws, on_azure, on_gcp
from tests.live.account import Asked, Cloud, asked

NEEDS = {"aws": on_aws.NEEDS, "azure": on_azure.NEEDS, "gcp": on_gcp.NEEDS}
LEFT_OUT = {"aws": on_aws.LEFT_OUT, "azure": on_azure.LEFT_OUT, "gcp": on_gcp.LEFT_OUT}
"""Provider -> clause -> why it is not run on a real account; on the emulator it is."""


def read(environ: Mapping[str, str]) -> Asked:
    """Return what the environment asks for. Raises: pytest.UsageError: something is missing."""
    return asked(environ, NEEDS)


def cloud_of(found: Asked) -> Cloud:
    """Return the cloud; its SDK looks for credentials where it always does."""
    clouds: dict[str, type[Cloud]] = {"aws": on_aws.Aws, "azure": on_azure.Azure, "gcp": on_gcp.Gcp}
    return clouds[found.provider](found)  # type: ignore[call-arg]
