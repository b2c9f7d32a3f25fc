"""A URL opens its adapter and imports nothing else; an unknown one lists the known schemes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters import urls
from adapters.clock import SystemClock
from adapters.local.store import LocalStore
from adapters.memory.store import MemoryStore
from shared.errors import ConfigurationError
from shared.ports import FunctionLimits, JobSpec

DEPLOYED = {"infer": FunctionLimits(512, 1)}
OPENERS: dict[str, Callable[[str], object]] = {
    "store": urls.open_store,
    "queue": lambda url: urls.open_queues(url, ["q"]),
    "jobs": lambda url: urls.open_jobs(url, ["true"]),
    "metrics": lambda url: urls.open_metrics(url, SystemClock()),
    "limits": lambda url: urls.open_limits(url, DEPLOYED),
    "secrets": urls.open_secrets,
}


def test_memory_urls_open_every_port() -> None:
    assert isinstance(urls.open_store("memory:landing"), MemoryStore)
    queues = urls.open_queues("memory:", ["a", "b"])
    queues["a"].send(b"1")
    assert (queues["a"].depth()[0], queues["b"].depth()[0]) == (1, 0)
    assert urls.open_jobs("memory:", []).submit(JobSpec("a", "train", b"")) == "a-1"
    urls.open_metrics("memory:", SystemClock()).counter("n")
    assert urls.open_limits("memory:", DEPLOYED).read("infer") == DEPLOYED["infer"]
    assert urls.open_secrets("memory:") is not urls.open_secrets("memory:")


def test_local_urls_open_every_port(tmp_path: Path) -> None:
    base = f"{tmp_path}/with%20space"
    store = urls.open_store(f"file://{base}/store")
    assert isinstance(store, LocalStore)
    store.put_new("k", b"1")
    assert (tmp_path / "with space" / "store" / "k").read_bytes() == b"1"
    queues = urls.open_queues(f"sqlite://{base}/queues.db", ["a", "b"])
    queues["a"].send(b"1")
    assert len(queues["a"].receive(1, 30.0)) == 1
    metrics = urls.open_metrics(f"file://{base}/metrics", SystemClock())
    metrics.counter("n")
    assert len(metrics.query("n", 0.0, 1e12)) == 1
    limits = urls.open_limits(f"file://{base}/limits", DEPLOYED)
    limits.set("infer", FunctionLimits(1, 1))
    assert limits.read("infer") == FunctionLimits(1, 1)
    assert urls.open_jobs(f"file://{base}/jobs", ["true"]) is not None
    assert urls.open_secrets(f"file://{base}/secrets") is not None


@pytest.mark.parametrize("port", OPENERS)
def test_an_unknown_scheme_lists_the_known_ones(port: str) -> None:
    known = {scheme + ":" for schemes in urls.PROVIDERS.values() for scheme in schemes[port]}
    for url in ("ftp://host/path", "", "no url", "memory", "/plain/path", ":"):
        with pytest.raises(ConfigurationError) as caught:
            OPENERS[port](url)
        assert all(scheme in caught.value.message for scheme in known)


@pytest.mark.parametrize(
    "url", ["file://host/path", "file:path", "file:", "file:///a?b", "file:///a#b", "file:///a%00b"]
)
def test_a_file_url_names_an_absolute_path(url: str) -> None:
    with pytest.raises(ConfigurationError, match="absolute/path"):
        urls.open_store(url)


def test_only_the_requested_adapter_is_imported() -> None:
    program = (
        "import sys; from adapters import urls; before = set(sys.modules); urls.open_store('memory:')\n"
        "assert 'adapters.memory.store' in sys.modules\n"
        "assert not [name for name in sys.modules if name.startswith('adapters.local')]\n"
        "assert not {'adapters.memory.store', 'adapters.memory.queue', 'sqlite3'} & before\n"
        "assert not {'adapters.memory.queue', 'sqlite3', 'subprocess'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_every_provider_has_a_module_for_every_port_it_names() -> None:
    adapters = Path(urls.__file__).parent
    for provider, schemes in urls.PROVIDERS.items():
        for port in schemes:
            assert "def from_url(" in (adapters / provider / f"{port}.py").read_text(), (provider, port)
