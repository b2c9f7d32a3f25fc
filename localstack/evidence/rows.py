"""All rows of the capability table."""

from localstack.evidence import aws, azure, gcp

ROWS = [*aws.ROWS, *azure.ROWS, *gcp.ROWS]
PROVIDERS = ("aws", "azure", "gcp")
