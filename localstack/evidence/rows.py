"""All rows of the capability table, and all that is shown by none."""

from localstack.evidence import aws, azure, gcp

ROWS = [*aws.ROWS, *azure.ROWS, *gcp.ROWS]
GAPS = [*aws.GAPS, *azure.GAPS, *gcp.GAPS]
PROVIDERS = ("aws", "azure", "gcp")
