"""What is in a deploy unit, and what is excluded from its libraries: files that Python neither imports nor links."""

import re
from pathlib import Path

from shared.topology import Unit

UNITS: tuple[Unit, ...] = ("serve", "data", "train")
PROVIDERS = ("aws", "azure", "gcp")
ARCHITECTURES = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""Of the functions' processors -> the platform whose wheels fit them."""
LOCKS = Path(__file__).with_name("locks")
OURS = ("adapters", "functions", "shared", "tidegate")
BUDGET_MB: dict[Unit, int] = {"serve": 200, "data": 260, "train": 900}
"""Megabytes (10^6 bytes) of a unit's files. Lambda's own limit, 262 MB, is checked where its functions are declared."""
IMPORTS: dict[Unit, tuple[str, ...]] = {
    "serve": ("numpy", "onnxruntime", "cryptography.hazmat.primitives.asymmetric.ed25519", "jwt"),
    "data": ("numpy", "pyarrow", "pyarrow.csv", "pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset"),
    "train": ("numpy", "onnxruntime", "pyarrow.parquet", "pandas", "sklearn.ensemble", "optuna", "skl2onnx", "onnx"),
}
"""What a unit's functions import of its libraries, when they need it."""
CLOUD_IMPORTS: dict[str, tuple[str, ...]] = {
    "aws": ("obstore", "boto3"),
    "azure": ("obstore", "azure.storage.queue", "azure.identity", "azure.keyvault.secrets", "azure.functions"),
    "gcp": (
        "google.cloud.storage",
        "google.cloud.pubsub_v1",
        "google.cloud.secretmanager",
        "google.cloud.run_v2",
        "functions_framework",
    ),
}
"""The same for a provider's adapters and runtime. The telemetry exporter is imported by name there."""
BOTOCORE_SERVICES = frozenset({"ecs", "lambda", "logs", "secretsmanager", "sqs", "ssm", "sso", "sso-oidc", "sts"})
"""Services whose descriptions are shipped: those of adapters/aws, and those that credentials come from."""
GCP_MAIN = """\"""The package's entry points, where functions-framework looks for them.\"""

from functions.runtimes.gcp.main import event, http

__all__ = ["event", "http"]
"""

_NOT_SHIPPED = re.compile(
    r"""
    (?:^|/)(?:tests?|testing/data|conftest\.py|include|benchmarks?)(?:/|$)
    | \.(?:pyi|pxd|pyx|pxi|c|cc|cpp|cxx|h|hh|hpp|hxx|cu|f|f90|a|la|lib|cmake|pc|html|map)$
    | (?:^|/)(?:__pycache__|bin|share|man)/
    | \.dist-info/(?:RECORD|INSTALLER|REQUESTED|WHEEL|direct_url\.json|sboms/.*)$
    """,
    re.VERBOSE,
)
_OF_LIBRARIES = (
    # no module that Python loads links it
    r"onnxruntime/capi/libonnxruntime\.so.*",
    r"onnxruntime/(?:transformers|quantization|tools|datasets)/.*",
    r"pyarrow/(?:src|includes)/.*",
    r"pyarrow/libarrow_(?:flight|python_flight|python_parquet_encryption|s3|gcs|azure)\.so.*",
    r"pyarrow/libarrow_python\.so(?:\.\d+\.\d+\.\d+)?",  # a duplicate: what links it asks for .so.NUMBER
    r"pyarrow/_?(?:flight|s3fs|gcsfs|azurefs|hdfs|orc|substrait|parquet_encryption)(?:\.|\b).*\.so",
    r"sklearn/datasets/(?:data|images|descr)/.*",
    r"onnx/backend/.*",
    r"(?:pip|setuptools|wheel|pkg_resources)/.*",
)
_LEFT_OUT = re.compile("|".join(f"(?:{pattern})" for pattern in _OF_LIBRARIES))
_BOTOCORE = re.compile(r"botocore/data/([^/]+)/")
_RUNTIMES = re.compile(r"^functions/runtimes/([a-z]+)/")


def is_shipped(name: str) -> bool:
    """Return whether a library's file is in a package. Args: name: from the package's root, with "/".

    >>> is_shipped("numpy/_core/tests/test_api.py"), is_shipped("numpy/_core/numeric.py")
    (False, True)
    >>> is_shipped("botocore/data/ec2/2016-11-15/service-2.json.gz"), is_shipped("botocore/data/endpoints.json")
    (False, True)
    """
    service = _BOTOCORE.match(name)
    if service is not None and service[1] not in BOTOCORE_SERVICES:
        return False
    return not (_NOT_SHIPPED.search(name) or _LEFT_OUT.fullmatch(name))


def is_ours_shipped(name: str, provider: str) -> bool:
    """Return whether a file of ours is in a provider's package. Other providers' runtimes are not.

    >>> is_ours_shipped("functions/runtimes/local/gateway.py", "aws"), is_ours_shipped("functions/infer.py", "aws")
    (False, True)
    """
    runtime = _RUNTIMES.match(name)
    return name.endswith(".py") and (runtime is None or runtime[1] == provider)
