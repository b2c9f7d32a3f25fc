"""Reads ECS's description of a task: whether it is pending or overdue, and how it ended."""

from typing import Any

from shared.ports import JobStatus

TIMEOUT = "TIDEGATE_TIMEOUT_S"
OVERDUE = "over its time limit"
"""The reason given when an overdue task is stopped. It is read back to tell a timeout from a cancellation."""
WAITING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})
_GRACE_S = 60.0
"""The time that an overdue job has to stop itself."""
_SIGNALLED = 128


def is_overdue(task: Any, now: float) -> bool:
    """Return whether a task has exceeded its time limit. Args: now: epoch seconds."""
    started, limit_s = task.get("startedAt"), 0.0
    for container in task.get("overrides", {}).get("containerOverrides", []):
        for variable in container.get("environment", []):
            if variable["name"] == TIMEOUT and variable["value"].isdecimal():
                limit_s = float(variable["value"])
    return bool(started) and limit_s > 0 and started.timestamp() + limit_s + _GRACE_S < now


def ended(task: Any, container: str) -> JobStatus:
    """Return how a stopped task ended."""
    reason = str(task.get("stoppedReason", ""))
    if task.get("stopCode") == "UserInitiated":
        if reason == OVERDUE:
            return JobStatus("failed", None, "it was stopped: it was over its time limit")
        return JobStatus("cancelled")
    ran: Any = next((each for each in task.get("containers", []) if each["name"] == container), {})
    code = ran.get("exitCode")
    if code == 0:
        return JobStatus("succeeded", 0)
    why = str(ran.get("reason", "") or reason)
    if code is None:
        return JobStatus("failed", None, f"it did not run to its end: {why or 'ECS gave no reason'}")
    if code > _SIGNALLED:
        killed = f"it was ended by signal {code - _SIGNALLED}; with 9, memory ran out"
        return JobStatus("failed", None, f"{killed} ({why})" if why else killed)
    return JobStatus("failed", int(code), f"it ended with exit code {code}; its log says why")
