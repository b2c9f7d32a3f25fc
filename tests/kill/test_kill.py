"""At least fifty times kill -9 of a process of a local stack: nothing acknowledged is lost, and fsck is clean.

Real processes on a real disk run the whole loop, while a seeded killer picks a process and a moment. The supervisor
restarts what is killed. The test restarts the supervisor, as an init system would.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.client import Client
from functions.runtimes.local.home import SETTINGS, Home, create_home, issue_token, open_home
from functions.runtimes.local.platform import compose_all
from functions.runtimes.local.supervisor import Stack, start
from functions.trigger import SUBMIT_LEASE_S
from shared import layout
from shared.documents import digest_of, encode
from shared.errors import InvalidTransition, NotFound, TidegateError, Unavailable
from shared.monitoring.fsck import fsck
from shared.pipeline.records import TrainingDecision
from shared.registry.ledger import Ledger
from shared.registry.signatures import trusted_keys
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.settings import read_settings
from shared.topology import queue_names
from shared.usecase.charter import Charter, CharterVersion, Retraining, Signature, Training
from shared.usecase.effective import charters
from tests.simulation.material import CHARTER, USECASE, csv, rows
from tests.waiting import until

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("TIDEGATE_KILL_SEED", "7"))
KILLS = 50
MAX_ROUNDS = 1000
CHANGES = 12
"""Promotions and rollbacks that are requested during the kills."""
STARTING = 0.8
"""Probability that a stack that still starts is spared."""
IDLE_S = 120.0
QUIET_S = 3.0
"""The stack is idle when it has done nothing for so long."""
SETTLE_S = IDLE_S + 3 * SUBMIT_LEASE_S
"""A kill during the submission of a job leaves a lease. The training waits for its end and then runs."""
MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]
ACTIONS = ("infer", "label", "upload", "read", "release")


class Killer:
    """Kills a random process of the home at random moments, until it has killed enough."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._chance = random.Random(SEED)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.killed: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def satisfied(self) -> bool:
        return len(self.killed) >= KILLS

    def _run(self) -> None:
        while not self.satisfied and not self._done.wait(self._chance.uniform(0.05, 0.9)):
            victims = processes_of(self._home.path)
            if len(victims) < 3 and self._chance.random() < STARTING:
                continue  # still starting: mostly spared, or nothing else would ever happen
            if victims:
                pid, role = self._chance.choice(victims)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed.append(role)


def processes_of(home: Path) -> list[tuple[int, str]]:
    """Return (process id, module) of each process that was started for this home."""
    found = []
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        starter = next((place for place, word in enumerate(words) if word.endswith(b"/own_process.py")), None)
        if starter is not None and any(str(home).encode() in word for word in words):
            found.append((int(folder.name), words[starter + 1].decode().rpartition(".")[2]))
    return found


class Team:
    """A team's requests to the stack, each repeated until there is an answer."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.acknowledged: list[str] = []
        self.stack: Stack | None = None
        self.restarts = 0
        self.answers = 0
        self.changes = 0

    def up(self) -> Client:
        """Return a client of the stack, started again if it is down."""
        while self.stack is None or self.stack.process.poll() is not None:
            self.restarts += 1
            try:
                self.stack = start(self.home, 0)
            except TidegateError:
                self.stack = None
        token = issue_token(self.home, "team", [f"{USECASE}:{action}" for action in ACTIONS], time.time(), 3600)
        return Client(self.stack.url, token)

    def request(self, ask: Callable[[Client], Any]) -> Any:
        """Send a request until it is answered. Return None for "not found"."""
        answers: list[Any] = []

        def answered() -> bool:
            try:
                with self.up() as client:
                    answers.append(ask(client))
            except Unavailable:
                return False
            except NotFound:
                answers.append(None)
                return True
            self.answers += 1
            return True

        until(answered, IDLE_S, pause_s=0.1)
        return answers[-1]

    def upload_and_predict(self, month: str, number: int) -> None:
        """Upload a month, request predictions for some of its rows, and report their labels."""
        table = rows(month, count=120, shift=0.1 * number)
        name = f"{month}-{number}.csv"
        accepted = self.request(lambda client: client.put(f"/v1/usecases/{USECASE}/uploads/{name}", csv(table)))
        self.acknowledged.append(accepted["receipt"])
        some = table[:30]
        body = {
            "id": f"{month}-{number}",
            "parameters": {"at": 1.36e9 + number, "ids": {"row": [row["row"] for row in some]}},
            "inputs": [
                {"name": name, "datatype": kind, "shape": [len(some)], "data": [row[name] for row in some]}
                for name, kind in (("level", "FP32"), ("wind", "FP32"), ("moon", "BYTES"))
            ],
        }
        self.request(lambda client: client.post(f"/v2/models/{USECASE}/infer", body))
        labels = {"labels": [{"ids": {"row": row["row"]}, "value": row["shut"]} for row in some]}
        self.request(lambda client: client.post(f"/v1/usecases/{USECASE}/labels", labels))

    def change(self, number: int) -> None:
        """Promote one of the two models, or roll back."""
        body: dict[str, Any] = {"action": "rollback", "reason": f"change {number}"}
        if number % 3:
            body |= {"action": "promote", "model": number % 3}
        self.request(lambda client: self._release(client, body, f"change-{number}"))

    def _release(self, client: Client, body: dict[str, Any], key: str) -> None:
        try:
            client.post(f"/v1/usecases/{USECASE}/release", body, key)
        except InvalidTransition:  # the model serves already, or there is no earlier champion
            return
        self.changes += 1


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = create_home(tmp_path / "home", port=0)
    settings = read_settings((made.path / SETTINGS).read_bytes())
    quick = msgspec.structs.replace(
        settings,
        lease_s=2.0,
        reconcile_every_s=0.5,
        settle_s=0.5,
        stop_timeout_s=5.0,
        max_restart_delay_s=0.2,
        monitor_every_s=1.0,
    )
    (made.path / SETTINGS).write_bytes(encode(quick))
    return open_home(made.path)


def sign(home: Home, charter: Charter) -> None:
    version = CharterVersion(
        charter=charter,
        digest=digest_of(encode(charter)),
        signatures=tuple(Signature(role, "somebody", 0.0) for role in charter.sign_off),
    )
    charters(compose_all(home, "test").platform.system, USECASE).append(lambda _: version)


def test_fifty_kills_lose_nothing(home: Home, summary_line: Callable[[str], None]) -> None:
    sign(
        home,
        msgspec.structs.replace(
            CHARTER,
            training=Training(trials=2, minimum_windows=2, timeout_s=30),
            retraining=Retraining(on=("new_data", "drift", "performance"), cooldown_days=0, trainings_per_year=1000),
        ),
    )
    team, killer = Team(home), Killer(home)
    team.up().close()
    killer.start()
    number = 0
    try:
        while not killer.satisfied:
            team.upload_and_predict(MONTHS[number % 12], number)
            number += 1
            assert number < MAX_ROUNDS, f"only {len(killer.killed)} kills"
    finally:
        killer.stop()
    local = compose_all(home, "test")
    platform = local.platform
    again = Killer(home)
    try:
        team.up().close()
        wait_until_idle(home, local)
        while Ledger(platform.system, layout.MODELS, USECASE, ModelVersion).tail_number() < 2:
            team.upload_and_predict(MONTHS[number % 12], number)  # promotions need two models
            number += 1
            assert number < MAX_ROUNDS
            wait_until_idle(home, local)
        again.start()
        for number in range(1, CHANGES + 1):
            team.change(number)
        again.stop()
        team.up().close()
        wait_until_idle(home, local)
    finally:
        again.stop()
        if team.stack is not None:
            team.stack.stop()
    report = fsck(platform.landing, platform.system, platform.capture, trusted_keys(home.settings.trust_roots))
    assert report.findings == ()
    for receipt in team.acknowledged:
        assert platform.system.head(layout.RECEIPTS.key(usecase=USECASE, receipt=receipt)) is not None
    models = list(Ledger(platform.system, layout.MODELS, USECASE, ModelVersion).entries())
    assert models
    releases = Ledger(platform.system, layout.RELEASES, USECASE, ReleaseDecision).entries()
    changed = [entry.document.reason for entry in releases if entry.document.action in ("rollback", "promote")]
    assert len(changed) == len(set(changed)) == team.changes > 0  # requested until answered, done once
    roles = {role: killer.killed.count(role) for role in sorted(set(killer.killed))}
    summary_line(
        f"kill -9: {len(killer.killed)} and {len(again.killed)} with seed {SEED} ({roles}); "
        f"{team.restarts} starts of the stack, {len(team.acknowledged)} uploads, {team.answers} answers, "
        f"{len(models)} models, {team.changes} promotions and rollbacks",
    )


def wait_until_idle(home: Home, local: Any) -> None:
    """Wait until no message but a schedule's is in flight, no job runs, and each training that was granted has ended.

    A worker that is killed while it submits a job leaves a lease. The training waits for its end, and nothing shows it.
    """
    idle_at: list[float] = []

    def idle() -> bool:
        for name in queue_names():  # an operator puts dead letters back
            for letter in list(local.consumers[name].dead_letters()):
                local.consumers[name].redrive(letter.id)
        busy = [
            name for name in queue_names() if name not in ("reconcile", "monitor") and local.consumers[name].depth()[0]
        ]
        jobs = [role for _, role in processes_of(home.path) if role not in ("supervisor", "gateway", "worker")]
        if busy or jobs or unended(local.platform.system):
            idle_at.clear()
            return False
        idle_at.append(time.monotonic())
        return idle_at[-1] - idle_at[0] >= QUIET_S

    until(idle, SETTLE_S, pause_s=0.3)


def unended(system: Any) -> list[str]:
    """Return the keys of the trainings that were granted and have no result yet."""
    decisions = (entry.document for entry in Ledger(system, layout.TRAININGS, USECASE, TrainingDecision).entries())
    keys = [decision.key for decision in decisions if decision.key is not None]
    return [key for key in keys if system.head(layout.RESULTS.key(usecase=USECASE, key=key)) is None]
