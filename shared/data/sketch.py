"""Mergeable sketches with exact integer counts: a histogram of numbers of any scale, and a sample of text values.

The bytes of a sketch do not depend on the order or the chunks of its values: it holds only integers, and no
floating-point sum, whose last digits depend on the order.
"""

import hashlib
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from shared.errors import InsufficientData, InvalidInput

Counts = npt.NDArray[np.int64]

RELATIVE_ACCURACY = 1 / 128
"""Relative error of a bucket's middle for every number in it (except numbers below 2.3e-308)."""
MAX_VALUES = 1_000
"""The most distinct text values in a sketch."""
MAX_VALUE_CHARACTERS = 120

_SHIFT = 46  # of the 52 bits of the mantissa, the first 6 select one of 64 buckets between two powers of two
_HASH_SPACE = 2.0**64


class Buckets(msgspec.Struct, frozen=True):
    """Counts of magnitudes by bucket, sorted by index; `indices` and `counts` have equal lengths."""

    indices: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()


class NumberSketch(msgspec.Struct, frozen=True, kw_only=True):
    """A histogram of finite numbers whose buckets grow with the magnitude, like DDSketch.

    Bucket i holds the magnitudes whose float64 bits, shifted right by 46, are i: 64 equal parts between two powers of
    two. The relative error is bounded, and no logarithm is needed, which processors round differently.
    Source: Masson, Rim, Lee 2019, "DDSketch", sections 2 and 4 (their gamma is 1 + 1/64 at most here).
    """

    zeros: int = 0
    positive: Buckets = Buckets()
    negative: Buckets = Buckets()


class TextSketch(msgspec.Struct, frozen=True, kw_only=True):
    """Values with exact counts: all of them, or if `overflowed` the MAX_VALUES distinct values with the smallest hash.

    Which values are kept depends only on the values, so merging in any order keeps the same ones. The count of a kept
    value is exact: a part that dropped it would have had MAX_VALUES values with smaller hashes. Long values are
    shortened and get a digest (`sketch_key`).
    Source: Bar-Yossef et al. 2002 (k minimum values); Cohen and Kaplan 2007, "Summarizing data using bottom-k".
    """

    values: dict[str, int] = {}
    overflowed: bool = False


def sketch_numbers(values: npt.NDArray[np.float64]) -> NumberSketch:
    """Return the sketch of numbers, shape (rows,). Raises: InvalidInput: NaN or infinity.

    >>> sketch_numbers(np.array([0.0, 1.0, 1.0, -2.0])).positive.counts
    (2,)
    """
    if len(values) and not np.isfinite(values).all():
        raise InvalidInput("only finite numbers can be summarised", field="values", expected="no NaN, no infinity")
    return NumberSketch(
        zeros=int(np.count_nonzero(values == 0.0)),
        positive=_buckets(values[values > 0.0]),
        negative=_buckets(-values[values < 0.0]),
    )


def merge_numbers(a: NumberSketch, b: NumberSketch) -> NumberSketch:
    """Return the sketch of both together. Associative and commutative; `NumberSketch()` is the identity."""
    return NumberSketch(
        zeros=a.zeros + b.zeros,
        positive=_merge_buckets(a.positive, b.positive),
        negative=_merge_buckets(a.negative, b.negative),
    )


def ordinals(sketch: NumberSketch) -> tuple[Counts, Counts]:
    """Return (ordinals, counts) of the buckets in ascending order of their numbers, each int64 of shape (buckets,).

    The ordinal of zero is 0, of bucket i of positive numbers i + 1, of negative numbers -(i + 1), in every sketch.
    """
    positive, negative = sketch.positive, sketch.negative
    zero = ((0,), (sketch.zeros,)) if sketch.zeros else ((), ())
    order = [-(index + 1) for index in reversed(negative.indices)]
    order += [*zero[0], *(index + 1 for index in positive.indices)]
    counts = [*reversed(negative.counts), *zero[1], *positive.counts]
    return np.array(order, dtype=np.int64), np.array(counts, dtype=np.int64)


def representatives(order: Counts, *, integral: bool = False) -> npt.NDArray[np.float64]:
    """Return the middle of each ordinal's bucket; if `integral`, the middle of the integers in it.

    >>> representatives(np.array([0, 1 + (np.float64(100.0).view(np.int64) >> 46)]), integral=True)
    array([  0., 100.])
    """
    index = np.abs(order) - 1
    low = (np.maximum(index, 0) << _SHIFT).view(np.float64)
    high = np.minimum(((np.maximum(index, 0) + 1) << _SHIFT).view(np.float64), np.finfo(np.float64).max)
    if integral:
        low, high = np.ceil(low), np.maximum(np.ceil(high) - 1.0, np.ceil(low))
    middle = np.where(order == 0, 0.0, low + (high - low) / 2)
    return np.asarray(np.sign(order) * middle, dtype=np.float64)


def sketch_text(counts: Iterable[tuple[str, int]]) -> TextSketch:
    """Return the sketch of text values. Args: counts: (distinct value, its count).

    >>> sketch_text([("a", 2), ("b", 1)]).values
    {'a': 2, 'b': 1}
    """
    values: dict[str, int] = {}
    for value, count in counts:
        key = sketch_key(value)
        values[key] = values.get(key, 0) + count
    return _smallest(values, overflowed=False)


def merge_text(a: TextSketch, b: TextSketch) -> TextSketch:
    """Return the sketch of both together. Associative and commutative; `TextSketch()` is the identity."""
    values = dict(a.values)
    for value, count in b.values.items():
        values[value] = values.get(value, 0) + count
    return _smallest(values, overflowed=a.overflowed or b.overflowed)


def sketch_key(value: str) -> str:
    """Return the key of a value in a sketch: the value, or if it is long, its start and a digest."""
    if len(value) <= MAX_VALUE_CHARACTERS:
        return value
    digest = hashlib.blake2b(value.encode(), digest_size=8).hexdigest()
    return f"{value[: MAX_VALUE_CHARACTERS - 20]}…{digest}"


def is_shortened(key: str) -> bool:
    """Return whether a key of a sketch is that of a longer value."""
    return len(key) == MAX_VALUE_CHARACTERS - 3 and key[-17] == "…"


def distinct_values(sketch: TextSketch) -> float:
    """Return the number of distinct values: exact, or estimated to about 3 % if the sketch overflowed.

    Source: Bar-Yossef et al. 2002, (k - 1) / U_k; its relative standard error is 1 / sqrt(k - 2).
    """
    if not sketch.overflowed:
        return float(len(sketch.values))
    return (len(sketch.values) - 1) / (threshold(sketch) / _HASH_SPACE)


def threshold(sketch: TextSketch) -> int:
    """Return the hash up to which the sketch has all values. Raises: InsufficientData: overflowed, without values."""
    if not sketch.overflowed:
        return 2**64 - 1
    if not sketch.values:
        raise InsufficientData("a sketch that overflowed holds values; this one holds none")
    return max(hash_of(value) for value in sketch.values)


def hash_of(value: str) -> int:
    """Return a 64-bit hash of a value, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big")


def _smallest(values: dict[str, int], *, overflowed: bool) -> TextSketch:
    if len(values) <= MAX_VALUES:
        return TextSketch(values=dict(sorted(values.items())), overflowed=overflowed)
    kept = sorted(values, key=lambda value: (hash_of(value), value))[:MAX_VALUES]
    return TextSketch(values={value: values[value] for value in sorted(kept)}, overflowed=True)


def _buckets(magnitudes: npt.NDArray[np.float64]) -> Buckets:
    if not len(magnitudes):
        return Buckets()
    counts = np.bincount(magnitudes.view(np.int64) >> _SHIFT)
    indices = np.flatnonzero(counts)
    return Buckets(tuple(indices.tolist()), tuple(counts[indices].tolist()))


def _merge_buckets(a: Buckets, b: Buckets) -> Buckets:
    if not a.indices or not b.indices:
        return a if a.indices else b
    total = dict(zip(a.indices, a.counts, strict=True))
    for index, count in zip(b.indices, b.counts, strict=True):
        total[index] = total.get(index, 0) + count
    indices = tuple(sorted(total))
    return Buckets(indices, tuple(total[index] for index in indices))
