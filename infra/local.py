"""The stack on one machine or on premises: a home, the process that serves it, and a systemd unit file."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pulumi

from functions.runtimes.local.tls import CERTIFICATE, KEY
from infra.components import Endpoint, Platform, Store, keeping
from infra.configuration import NAMESPACE, Configuration
from infra.local_parts import File, Home, Service
from infra.local_tls import Certificate, names_of
from shared.documents import digest_of_parts
from shared.errors import ConfigurationError
from tidegate import own_process

UNIT = """[Unit]
Description=Tidegate, stack {name}
After=network-online.target

[Service]
ExecStart={command} serve --home {home}
Restart=always
RestartSec=2
WorkingDirectory={home}
NoNewPrivileges=true
ProtectSystem=strict
ReadWritePaths={home}

[Install]
WantedBy=default.target
"""


def declare(configuration: Configuration) -> None:
    """Declare a local stack. Exports: url, home, unit; kept: what outlives `down`."""
    path = home_of(configuration)
    settings = settings_of(configuration)
    platform = Platform("tidegate")
    store = Store("store", platform)
    home = Home(
        "home",
        {
            "path": str(path),
            "stack": configuration.name,
            "host": configuration.host,
            "port": configuration.port,
            "settings": settings,
        },
        keeping(store, configuration.keep_data),
    )
    store.done({"path": home.path})
    endpoint = Endpoint("endpoint", platform)
    # A process reads these once, when it starts: it is restarted when one of them changes.
    settled = msgspec.json.encode(settings, order="deterministic").decode()
    revision: pulumi.Input[str] = digest_of_parts(settled)
    needed: list[pulumi.Resource] = [home]
    if configuration.tls:
        certificate = Certificate(
            "certificate",
            {"home": home.path, "names": names_of(configuration.host, configuration.tls_names)},
            pulumi.ResourceOptions(parent=endpoint, depends_on=[home], retain_on_delete=configuration.keep_data),
        )
        certificate.warning.apply(lambda text: pulumi.log.warn(text, certificate) if text else None)
        revision = certificate.fingerprint.apply(lambda fingerprint: digest_of_parts(settled, fingerprint))
        needed.append(certificate)
        pulumi.export("certificate", home.path.apply(lambda path: f"{path}/{CERTIFICATE}"))
    service = Service(
        "service",
        {"home": home.path, "host": configuration.host, "port": configuration.port, "revision": revision},
        pulumi.ResourceOptions(parent=endpoint, depends_on=needed),
    )
    unit = File(
        "unit",
        str(path.parent / f"{configuration.name}.service"),
        UNIT.format(
            name=configuration.name,
            command=shlex.join(own_process.command("cli.main")),
            home=shlex.quote(str(path)),
        ),
        pulumi.ResourceOptions(parent=endpoint, depends_on=[home]),
    )
    endpoint.done({"url": service.url})
    platform.done()
    pulumi.export("url", service.url)
    pulumi.export("home", home.path)
    pulumi.export("unit", unit.path)
    if configuration.keep_data:
        pulumi.export("kept", home.path)


def home_of(configuration: Configuration) -> Path:
    """Return the stack's home: as configured, else beside the stack's state."""
    if configuration.home:
        return Path(configuration.home).expanduser().absolute()
    from infra.engine import stacks_folder

    return stacks_folder() / pulumi.get_stack() / "home"


def settings_of(configuration: Configuration) -> dict[str, Any]:
    """Return the settings from the configuration, in addition to those that a new home has."""
    ports = configuration.ports
    if bool(configuration.issuer) != bool(configuration.audience):
        raise ConfigurationError(f"{NAMESPACE}issuer and {NAMESPACE}audience go together: give both, or neither")
    given: dict[str, Any] = {
        "monitor_every_s": configuration.monitor_every_s,
        "reconcile_every_s": configuration.reconcile_every_s,
        "place": configuration.place,
        "placement": configuration.placement,
        "tls_certificate": CERTIFICATE if configuration.tls else "",
        "tls_key": KEY if configuration.tls else "",
    }
    if configuration.issuer:
        given |= {"issuer": configuration.issuer, "audience": configuration.audience, "token_keys": {}}
    for name in ("queues", "jobs", "metrics", "secrets"):
        if getattr(ports, name):
            given[name] = getattr(ports, name)
    stores = {name: getattr(ports, name) or f"file:{name}" for name in ("landing", "system", "capture")}
    return {**given, "stores": stores}
