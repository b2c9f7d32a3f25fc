"""The clauses of each port by name, for authors of adapters in other distributions (docs/add-a-provider.md)."""

from tests.conformance.clauses import Clause
from tests.conformance.job_clauses import JOBS as _JOBS
from tests.conformance.queue_clauses import SENDING
from tests.conformance.queue_receive_clauses import RECEIVING
from tests.conformance.small_clauses import LIMITS as _LIMITS
from tests.conformance.small_clauses import METRICS as _METRICS
from tests.conformance.small_clauses import SECRETS as _SECRETS
from tests.conformance.store_clauses import READING
from tests.conformance.store_list_clauses import LISTING
from tests.conformance.store_write_clauses import WRITING

STORE: dict[str, Clause] = {**READING.clauses, **WRITING.clauses, **LISTING.clauses}
"""Each takes a rigs.StoreRig."""
QUEUE: dict[str, Clause] = {**SENDING.clauses, **RECEIVING.clauses}
"""Each takes a rigs.QueueRig."""
JOBS: dict[str, Clause] = _JOBS.clauses
"""Each takes a job_rigs.JobsRig."""
METRICS: dict[str, Clause] = _METRICS.clauses
"""Each takes a rigs.MetricsRig."""
LIMITS: dict[str, Clause] = _LIMITS.clauses
"""Each takes a rigs.LimitsRig."""
SECRETS: dict[str, Clause] = _SECRETS.clauses
"""Each takes a rigs.SecretsRig."""
