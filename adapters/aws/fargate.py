"""The sizes of Fargate tasks. A requested size is rounded up to the next one."""

import math

from shared.errors import InvalidInput

GIB = 1024
_SIZES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (256, (512, 1024, 2048)),
    (512, tuple(range(1 * GIB, 4 * GIB + 1, GIB))),
    (1024, tuple(range(2 * GIB, 8 * GIB + 1, GIB))),
    (2048, tuple(range(4 * GIB, 16 * GIB + 1, GIB))),
    (4096, tuple(range(8 * GIB, 30 * GIB + 1, GIB))),
    (8192, tuple(range(16 * GIB, 60 * GIB + 1, 4 * GIB))),
    (16384, tuple(range(32 * GIB, 120 * GIB + 1, 8 * GIB))),
)


def is_fargate_size(units: int, memory_mb: int) -> bool:
    """Return whether Fargate has this size."""
    return memory_mb in dict(_SIZES).get(units, ())


def fargate_size(cpu: float, memory_mb: int) -> tuple[int, int]:
    """Return the smallest sufficient size: CPU units (1,024 are one processor) and memory in MiB.

    Raises: InvalidInput: Fargate has no size this large.
    Source: "Task CPU and memory" (Amazon ECS Developer Guide for AWS Fargate).

    >>> fargate_size(1.0, 2048), fargate_size(0.3, 600), fargate_size(0.25, 9000)
    ((1024, 2048), (512, 1024), (2048, 9216))
    """
    wanted = math.ceil(cpu * 1024)
    for units, memories in _SIZES:
        fitting = next((each for each in memories if each >= memory_mb), None)
        if units >= wanted and fitting is not None:
            return units, fitting
    raise InvalidInput(
        f"Fargate has no task with {cpu:g} processors and {memory_mb} MiB: use at most 16 and {120 * GIB}",
        field="memory_mb",
        got=f"{cpu:g} processors, {memory_mb} MiB",
        expected=f"at most 16 processors and {120 * GIB} MiB",
    )
