"""A file dropped by hand is read once its writer is done, however slowly it writes."""

import time
from pathlib import Path

import msgspec

from functions.runtimes.dispatch import deliver
from functions.runtimes.local.home import SETTINGS, create_home, open_home
from functions.runtimes.local.platform import compose_all
from shared.documents import encode
from shared.events import NO_USECASE, ScheduleFired, first_event
from shared.settings import read_settings


def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home", port=0)
    settings = read_settings((home.path / SETTINGS).read_bytes())
    (home.path / SETTINGS).write_bytes(encode(msgspec.structs.replace(settings, settle_s=0.0)))
    local = compose_all(open_home(home.path), "test")
    folder = home.path / "landing" / "drops" / "flights"
    folder.mkdir(parents=True)
    tick = first_event(
        ScheduleFired(function="reconcile"), usecase=NO_USECASE, source="/schedule", origin="tick", at=time.time()
    )
    with (folder / "slow.csv").open("w") as file:
        file.write("half a li")
        file.flush()
        deliver("reconcile", tick, local.platform)
        assert local.consumers["validate"].depth()[0] == 0
    deliver("reconcile", tick, local.platform)
    assert local.consumers["validate"].depth()[0] == 1
