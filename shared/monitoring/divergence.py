"""The distance between two histograms on the same bins, and the p-value of their difference. Needs only numpy.

The distance is an effect size; the p-value says whether chance explains it. Drift needs both: small samples have a
large distance by chance, and with a hundred thousand rows every p-value is small.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.errors import InsufficientData, InvalidInput

Histogram = Sequence[int] | Sequence[float] | npt.NDArray[np.generic]
"""Counts >= 0 per bin, shape (bins,)."""

MINIMUM_EXPECTED = 5.0
"""The least expected count of a bin on either side; bins below it are pooled (Cochran 1954, section 4)."""


def jensen_shannon(p: Histogram, q: Histogram) -> float:
    """Return the Jensen-Shannon distance between two histograms.

    Args: p, q: counts >= 0, shape (bins,); need not be normalised.
    Returns: float in [0, 1], base 2.
    Raises: InsufficientData: either histogram is empty. InvalidInput: shapes differ, or a count is negative.
    Source: Lin 1991, eq. 5.1 with equal weights (square root: Endres & Schindelin 2003).

    >>> jensen_shannon([1, 1], [1, 1])
    0.0
    >>> jensen_shannon([1, 0], [0, 1])
    1.0
    """
    return math.sqrt(_divergence(*_pair(p, q)))


def excess_jensen_shannon(p: Histogram, q: Histogram) -> float:
    """Return the Jensen-Shannon distance in excess of what two samples of one distribution show by chance.

    With k bins that are not empty, two samples of n and m rows from one distribution have an expected divergence of
    (k - 1)(1/n + 1/m) / (8 ln 2) bits: to second order the divergence is sum((p - q)^2 / r) / 8 nats, and
    E(p - q)^2 = r (1 - r)(1/n + 1/m). The expected divergence is subtracted before the root is taken (not below 0), as
    Miller corrects entropies. Without it, 50 rows in 20 bins have a distance of about .25 to their own distribution.
    Args: p, q: counts of rows, shape (bins,).
    Returns: float in [0, 1], base 2, at most `jensen_shannon(p, q)`.
    Raises: as `jensen_shannon`.
    Source: Lin 1991, eq. 5.1; Miller 1955 (bias of entropies); Grosse et al. 2002, eq. 13 (of this divergence).

    >>> round(jensen_shannon([60, 40], [45, 55]), 6), round(excess_jensen_shannon([60, 40], [45, 55]), 6)
    (0.127802, 0.112812)
    >>> excess_jensen_shannon([6, 4], [5, 5])
    0.0
    """
    a, b = _pair(p, q)
    occupied = int(np.count_nonzero(a + b))
    by_chance = (occupied - 1) * (1.0 / a.sum() + 1.0 / b.sum()) / (8.0 * math.log(2.0))
    return math.sqrt(max(0.0, _divergence(a, b) - by_chance))


def homogeneity_p_value(p: Histogram, q: Histogram) -> float:
    """Return the p-value of a chi-square test that two samples come from one distribution.

    The statistic is the smaller of Pearson's and the likelihood ratio's. In the far tail, which matters when many
    columns share one false-alarm rate, each of them alone rejects up to three times too often on sparse bins:
    Pearson's when a bin has too many rows, the likelihood ratio when it has too few. The smaller one kept its level
    in every simulation. Bins with an expected count below MINIMUM_EXPECTED in either sample are pooled; if one bin
    is left, the p-value is 1. The test takes rows as independent. Rows of one day are not, so the p-value of a whole
    month is too small; it only protects the distance against chance in small samples.
    Args: p, q: counts of rows, shape (bins,).
    Returns: float in [0, 1].
    Raises: as `jensen_shannon`.
    Source: Pearson 1900 and Wilks 1935, for two samples as in Agresti 2013, section 3.2.1.

    >>> homogeneity_p_value([50, 50], [50, 50])
    1.0
    >>> round(homogeneity_p_value([60, 40], [40, 60]), 6)
    0.004678
    """
    table = _pooled(np.stack(_pair(p, q)))
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    pearson = float(((table - expected) ** 2 / expected).sum())
    occupied = table > 0.0
    likelihood_ratio = 2.0 * float(np.sum(table[occupied] * np.log(table[occupied] / expected[occupied])))
    return chi_square_survival(max(0.0, min(pearson, likelihood_ratio)), table.shape[1] - 1)


def chi_square_survival(x: float, degrees: int) -> float:
    """Return P(X >= x) for a chi-square variable: the regularised upper incomplete gamma function Q(degrees/2, x/2).

    Computed by the recurrence Q(a + 1, z) = Q(a, z) + z^a e^-z / Gamma(a + 1), from Q(1/2, z) = erfc(sqrt z) or
    Q(1, z) = e^-z: a finite sum of positive terms, without cancellation or convergence.
    Raises: InvalidInput: x negative or not a number, or no degrees of freedom.
    Source: NIST Digital Library of Mathematical Functions, 8.8.6, 8.4.6 and 8.4.5.

    >>> round(chi_square_survival(3.841458820694124, 1), 12)
    0.05
    """
    if not x >= 0.0 or degrees < 1:
        raise InvalidInput(
            "a chi-square variable is at least 0 and has degrees of freedom",
            field="x" if degrees >= 1 else "degrees",
            got=f"{x}, {degrees}",
        )
    z = x / 2.0
    if z == 0.0:
        return 1.0
    if math.isinf(z):
        return 0.0
    total = math.erfc(math.sqrt(z)) if degrees % 2 else math.exp(-z)
    start = 0.5 if degrees % 2 else 1.0
    orders = start + np.arange((degrees - 1) // 2)
    terms = (math.exp(order * math.log(z) - z - math.lgamma(order + 1.0)) for order in orders.tolist())
    return min(1.0, math.fsum((total, *terms)))


def _divergence(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the Jensen-Shannon divergence in bits, within [0, 1]."""
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2.0
    bits = 0.0
    for side in (p, q):
        occupied = side > 0.0  # 0 log 0 is 0: empty bins are left out, not filled with a tiny number
        bits += 0.5 * float(np.sum(side[occupied] * np.log2(side[occupied] / middle[occupied])))
    return min(1.0, max(0.0, bits))


def _pooled(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the table, shape (2, bins), with its rarest bins pooled until each expected count is large enough."""
    order = np.argsort(table.sum(axis=0), kind="stable")
    ranked = table[:, order]
    least_share = table.sum(axis=1).min() / table.sum()
    enough = MINIMUM_EXPECTED / least_share
    totals = ranked.sum(axis=0)
    rare = int(np.count_nonzero(totals < enough))
    if rare == 0:
        return ranked
    pooled = np.cumsum(totals)
    # If the pool of all rare bins is still too small, it also takes the next bins, at most the whole table.
    pooled_bins = max(rare, int(np.searchsorted(pooled, enough)) + 1)
    return np.concatenate([ranked[:, :pooled_bins].sum(axis=1, keepdims=True), ranked[:, pooled_bins:]], axis=1)


def _pair(p: Histogram, q: Histogram) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InvalidInput(
            "two histograms can only be compared on the same bins", field="bins", got=f"{a.shape}, {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (a >= 0).all() and (b >= 0).all()):
        raise InvalidInput("a histogram holds counts", field="counts", expected="finite numbers of at least 0")
    if not a.sum() > 0 or not b.sum() > 0:
        raise InsufficientData("a histogram without rows has no distance to another; compare larger windows")
    return a, b
