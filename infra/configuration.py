"""A stack's configuration: the keys under `tidegate:`, all validated before any resource is created.

Set a key by `pulumi config set tidegate:region eu-west-1`, or in the stack's Pulumi.NAME.yaml. Lists and mappings are
YAML there (`tidegate:tags: {team: harbour}`).
"""

import ipaddress
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec

from shared.errors import ConfigurationError
from shared.topology import BY_NAME, FUNCTIONS

PROVIDERS = ("local", "aws", "azure", "gcp")
NAMESPACE = "tidegate:"
CALLED_UNITS: list[str] = sorted({function.unit for function in FUNCTIONS if not function.job})
MIN_MEMORY_MB, MAX_MEMORY_MB = 256, 10_240
_NAME = re.compile("[a-z][a-z0-9-]{1,22}[a-z0-9]")
_REGION = re.compile("[a-z][a-z0-9-]{1,30}")
_MAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}\.[^@\s.]{2,}")
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]{2,256}@sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_TAG = re.compile("[A-Za-z][A-Za-z0-9_-]{0,62}")


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Retention in days: of quarantined uploads, captured predictions, claim checks of messages, and logs."""

    quarantine: int = 90
    predictions: int = 400
    payloads: int = 14
    logs: int = 30


class Ports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """URLs of existing ports that the stack uses in place of its own (docs/clouds.md)."""

    landing: str = ""
    system: str = ""
    capture: str = ""
    queues: str = ""
    jobs: str = ""
    metrics: str = ""
    secrets: str = ""


def _about(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One stack's configuration. Its keys are camelCase in YAML (`alarmAddress`).

    docs/configuration.md is generated from these fields.
    """

    provider: Annotated[Literal["local", "aws", "azure", "gcp"], _about("The stack's provider. Required.")]
    name: Annotated[str, _about("Prefix of the names of all resources; `tidegate-STACK` by default.")]
    region: Annotated[str, _about("The provider's region, such as `eu-west-1`. Required on clouds.")] = ""
    project: Annotated[str, _about("The id of the project. Required on Google Cloud.")] = ""
    issuer: Annotated[str, _about("URL of the OpenID Connect issuer of the tokens. Required on clouds.")] = ""
    audience: Annotated[str, _about("The audience that these tokens must have. Required on clouds.")] = ""
    alarm_address: Annotated[
        str, _about("The e-mail address that receives alarms; without it, alarms send no e-mail.")
    ] = ""
    architecture: Annotated[Literal["x86_64", "arm64"], _about("The processor architecture of the functions.")] = (
        "x86_64"
    )
    memory_mb: Annotated[dict[str, int], _about("Function to memory in MB, in place of the topology's.")] = {}
    retention_days: Annotated[Retention, _about("Retention in days; see below.")] = Retention()
    tags: Annotated[dict[str, str], _about("Tags of all resources that can have them.")] = {}
    kms_key: Annotated[
        str, _about("A customer-managed key that encrypts the stores, by the provider's name for it.")
    ] = ""
    ports: Annotated[Ports, _about("URLs of existing ports that the stack uses in place of its own; see below.")] = (
        Ports()
    )
    place: Annotated[str, _about("The name of this place, for a stack that is spread over several.")] = "here"
    placement: Annotated[
        dict[str, str], _about("Function to the place where it runs; any other runs at every place.")
    ] = {}
    monitor_every_s: Annotated[float, _about("How often production is monitored, in seconds; 0 for never.")] = 3600.0
    reconcile_every_s: Annotated[float, _about("How often missed work is reconciled, in seconds; 0 for never.")] = 900.0
    packages: Annotated[str, _about("The folder of built units (`tidegate package`), relative to infra/.")] = "../dist"
    job_image: Annotated[str, _about("The train unit's image, with its digest. Required on clouds.")] = ""
    function_images: Annotated[
        dict[str, str],
        _about("On AWS: deploy unit to its image with its digest, for a unit that is too large for a zip."),
    ] = {}
    home: Annotated[
        str, _about("Local stacks: the folder with the stack's state; by default beside Pulumi's state.")
    ] = ""
    host: Annotated[str, _about("Local stacks: the address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _about("Local stacks: the port; 0 for any free one.")] = 8080
    tls: Annotated[bool, _about("Local stacks: serve HTTPS, with a certificate in the home.")] = False
    tls_names: Annotated[
        list[str], _about("Local stacks with `tls`: the names and addresses by which clients on other hosts call it.")
    ] = []
    keep_data: Annotated[bool, _about("`tidegate down` and `pulumi destroy` keep resources with data.")] = True


def read_configuration(given: Mapping[str, Any], stack: str) -> Configuration:
    """Return the configuration of a stack.

    Args: given: key without `tidegate:` -> value, with lists and mappings decoded. stack: its name, from which the
        default of `name` is made.
    Raises: ConfigurationError: a key is unknown or a value is invalid; the message has the key and the remedy.
    """
    known = [field.encode_name for field in msgspec.structs.fields(Configuration)]
    for key in given:
        if key not in known:
            raise ConfigurationError(
                f"{NAMESPACE}{key} is not a setting{_instead(key, known)}; settings are {_list(known)}"
            )
    if given.get("provider") not in PROVIDERS:
        said = given.get("provider", "nothing")
        raise ConfigurationError(
            f"{NAMESPACE}provider is {said!r}: write one of {_list(PROVIDERS)}, as in "
            "`pulumi config set tidegate:provider local`"
        )
    try:
        found = msgspec.convert({"name": f"tidegate-{stack}", **given}, Configuration, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{NAMESPACE}{_place_of(error)}") from error
    _check(found)
    return found


def value_of(text: str) -> Any:
    """Return the value of a text: a list or mapping if it is JSON of one, else the text itself."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _check(found: Configuration) -> None:
    for key, value, pattern, wanted in (
        ("name", found.name, _NAME, "3 to 24 lower-case letters, digits and hyphens, a letter first"),
        ("region", found.region, _REGION, "a region of the provider, like eu-west-1, westeurope or europe-west1"),
        ("alarmAddress", found.alarm_address, _MAIL, "an e-mail address"),
    ):
        if (value or key == "name") and not pattern.fullmatch(value):
            raise ConfigurationError(f"{NAMESPACE}{key} is {value[:80]!r}: write {wanted}")
    if found.provider != "local":
        for key, value in (("region", found.region), ("issuer", found.issuer), ("audience", found.audience)):
            if not value:
                raise ConfigurationError(
                    f"{NAMESPACE}{key} is missing; a stack on {found.provider} needs it: "
                    f"`pulumi config set tidegate:{key} ...`"
                )
        if not found.issuer.startswith(("https://", "http://127.0.0.1:")):  # the latter is an emulator
            raise ConfigurationError(f"{NAMESPACE}issuer is {found.issuer[:80]!r}: write an https:// address")
        if "@sha256:" not in found.job_image:
            raise ConfigurationError(
                f"{NAMESPACE}jobImage is {found.job_image[:120]!r}: write the image of the train unit with its digest, "
                "REGISTRY/NAME@sha256:..., as it was pushed (docs/packages.md)"
            )
    if found.provider == "gcp" and not found.project:
        raise ConfigurationError(f"{NAMESPACE}project is missing: `pulumi config set tidegate:project ID`")
    for unit, image in found.function_images.items():
        if unit not in CALLED_UNITS:
            raise ConfigurationError(
                f"{NAMESPACE}functionImages names {unit!r}, which is not a unit of functions"
                f"{_instead(unit, CALLED_UNITS)}; units are {_list(CALLED_UNITS)}"
            )
        if found.provider != "aws" or not _ECR.fullmatch(image) or f".ecr.{found.region}." not in image:
            raise ConfigurationError(
                f"{NAMESPACE}functionImages.{unit} is {image[:120]!r} on {found.provider}: write an image of AWS's "
                "registry in the stack's region, ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:... "
                "(docs/packages.md); other providers accept zips of any size"
            )
    for function, megabytes in found.memory_mb.items():
        if function not in BY_NAME:
            hint = _instead(function, list(BY_NAME))
            raise ConfigurationError(f"{NAMESPACE}memoryMb names {function!r}, which is not a function{hint}")
        if not MIN_MEMORY_MB <= megabytes <= MAX_MEMORY_MB:
            raise ConfigurationError(
                f"{NAMESPACE}memoryMb gives {function} {megabytes} MB: write {MIN_MEMORY_MB} to {MAX_MEMORY_MB}"
            )
    for function in found.placement:
        if function not in BY_NAME:
            raise ConfigurationError(f"{NAMESPACE}placement names {function!r}{_instead(function, list(BY_NAME))}")
    for kind, days in msgspec.structs.asdict(found.retention_days).items():
        if not 1 <= days <= 3650:
            raise ConfigurationError(f"{NAMESPACE}retentionDays.{kind} is {days}: write 1 to 3650 days")
    for tag in found.tags:
        if not _TAG.fullmatch(tag):
            raise ConfigurationError(f"{NAMESPACE}tags has {tag[:80]!r}: write letters, digits, _ and -")
    for name in found.tls_names:
        address = _address(name)
        if address.is_unspecified if address else not _HOST.fullmatch(name):
            raise ConfigurationError(f"{NAMESPACE}tlsNames has {name[:80]!r}: write names of hosts, or addresses")
    listens = _address(found.host)
    if found.tls and listens and listens.is_unspecified and not found.tls_names:
        raise ConfigurationError(
            f"{NAMESPACE}host is {found.host}, any address of this machine, and {NAMESPACE}tlsNames is empty: set it "
            "to the names by which clients call the stack, like [stack.example, 192.0.2.7], for its certificate"
        )
    if not 0 <= found.port <= 65_535:
        raise ConfigurationError(f"{NAMESPACE}port is {found.port}: write 0 (any free one) to 65535")


def _address(text: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _instead(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _place_of(error: msgspec.ValidationError) -> str:
    """Return the error with the key first: "port: Expected `int`, got `str`"."""
    text, _, place = str(error).partition(" - at `$.")
    return f"{place.rstrip('`')}: {text}" if place else text


def _list(names: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(names)
