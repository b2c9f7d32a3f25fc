"""A network that does its worst by a seed: what happens to each request that crosses it, and to each operation.

The fate of a request is drawn from the seed, the number of the operation that sent it, and its place among that
operation's requests; so an operation's bad luck does not hang on how often an earlier one was repeated.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import msgspec

from localstack.lossy_proxy import Fate, LossyProxy

Strike = Literal["request", "upload", "part", "answer", "throttled", "busy", "slow", "late"]
"""The request never came, or came in part; the answer came in part, or never; the service said that there were too
many, or that it was busy, and did nothing; the request came a little late, or after its sender had given it up."""
SLOW_S = (0.005, 0.02)
STORM_S = 0.15
"""How long an operation may go on in a storm, and when the process dies over it."""
SILENCE_S = 0.25
_READS = (b"GET ", b"HEAD ")
_DELIVERED = 0.3
"""How likely a request that was held back is to come through with the next one of anybody."""


class Chances(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each strike is for a request; how likely an operation is to meet a storm, or the process's death.

    In a storm every request of the operation is struck, or waits until its sender has given it up. A death comes in
    the middle of an operation: of its requests the first meets a strike, and no other is sent.
    """

    request: float = 0.045
    upload: float = 0.045
    part: float = 0.055
    answer: float = 0.06
    throttled: float = 0.035
    busy: float = 0.035
    slow: float = 0.02
    late: float = 0.045
    storm: float = 0.012
    death: float = 0.005


CALM = Chances(**dict.fromkeys(Chances.__struct_fields__, 0.0))
STRIKES: tuple[Strike, ...] = Strike.__args__  # type: ignore[attr-defined]
Weather = Literal["fair", "storm", "silence", "death"]


class Network:
    """What lies between a world and its cloud. `counts` holds the strikes that happened, by kind; a storm is one.

    Args: refusals: proxy -> how its service says "throttled" and "busy".
    """

    def __init__(
        self, seed: int, chances: Chances, refusals: Mapping[LossyProxy, Mapping[Literal["throttled", "busy"], bytes]]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.record: list[str] = []
        """The operations that were struck, and by what, in order: for people."""
        self._seed = seed
        self._chances = chances
        self._refusals = refusals
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._weather: Weather = "fair"
        self._acting = False
        self._asked = 0
        self._strikes: list[str] = []
        for proxy in refusals:
            proxy.decide = lambda data, proxy=proxy: self._fate(proxy, data)

    def calm(self) -> None:
        """Let nothing more be lost, and bring what was held back."""
        self._chances = CALM
        self.deliver()

    def deliver(self) -> int:
        """Bring every request that was held back to its server; return how many there were."""
        return sum(proxy.deliver() for proxy in self._refusals)

    def hang_up(self) -> None:
        """Close all connections, as the death of a process does."""
        for proxy in self._refusals:
            proxy.hang_up()

    @contextmanager
    def operation(self, number: int, name: str) -> Iterator[Weather]:
        """Let an operation cross; gives the weather that it meets. Args: name: for the record."""
        with self._lock:
            self._random = random.Random(f"{self._seed} {number}")
            self._weather = self._drawn_weather()
            self._acting, self._asked, self._strikes = True, 0, []
            weather = self._weather
        try:
            yield weather
        finally:
            with self._lock:
                self._acting = False
                if self._strikes:
                    self.record.append(f"{number} {name} in {weather} weather: {', '.join(self._strikes)}")
                if weather != "fair" and self._asked:
                    self.counts[weather] += 1

    def _drawn_weather(self) -> Weather:
        drawn = self._random.random()
        if drawn < self._chances.death:
            return "death"
        if drawn < self._chances.death + self._chances.storm:
            return self._random.choice(("storm", "storm", "silence"))
        return "fair"

    def _fate(self, proxy: LossyProxy, data: bytes) -> Fate:
        with self._lock:
            if not self._acting:
                return Fate("none")
            self._asked += 1
            strike = self._drawn_strike(data)
            brings = self._random.random() < _DELIVERED
            if strike is not None:
                self._strikes.append(strike)
                if self._weather == "fair":
                    self.counts[strike] += 1
            fate = self._as_fate(proxy, strike)
        if brings:
            self.deliver()
        return fate

    def _drawn_strike(self, data: bytes) -> Strike | None:
        if self._weather == "silence":
            return "slow"
        if self._weather == "death" and self._asked > 1:
            return "request"
        drawn = self._random.random()
        if self._weather != "fair":
            drawn *= sum(getattr(self._chances, strike) for strike in STRIKES)
        for strike in STRIKES:
            drawn -= getattr(self._chances, strike)
            if drawn < 0:
                # What reads may as well be lost: nothing comes of it when it arrives.
                return "request" if strike == "late" and data.startswith(_READS) else strike
        return None

    def _as_fate(self, proxy: LossyProxy, strike: Strike | None) -> Fate:
        if strike is None:
            return Fate("none")
        if strike in ("throttled", "busy"):
            proxy.canned = self._refusals[proxy][strike]
            return Fate("reply")
        if strike == "slow":
            return Fate("slow", SILENCE_S if self._weather == "silence" else self._random.uniform(*SLOW_S))
        return Fate(strike, self._random.random())
