"""A stack's configuration: valid values, and errors before any resource is created."""

from pathlib import Path
from typing import Any

import pytest

from infra.configuration import NAMESPACE, PROVIDERS, Configuration, read_configuration
from shared.errors import ConfigurationError
from shared.usecase.yaml_tree import read_yaml

FOLDER = Path(__file__).resolve().parents[2] / "infra"

CLOUD = {
    "provider": "aws",
    "region": "eu-west-1",
    "issuer": "https://login.example.com",
    "audience": "harbour",
    "jobImage": "registry.example.com/train@sha256:" + "0" * 64,
}


def test_a_local_stack_needs_nothing_but_its_provider() -> None:
    found = read_configuration({"provider": "local"}, "dev")
    assert found == Configuration(provider="local", name="tidegate-dev")
    assert found.keep_data


def test_values_come_as_texts_and_as_structures() -> None:
    given = {
        **CLOUD,
        "name": "harbour",
        "port": "0",
        "keepData": "false",
        "memoryMb": {"infer": 1024},
        "retentionDays": {"logs": 7},
        "tags": {"team": "tides"},
        "ports": {"queues": "sqs://eu-west-1/h-"},
    }
    found = read_configuration(given, "prod")
    assert (found.name, found.port, found.keep_data, found.memory_mb) == ("harbour", 0, False, {"infer": 1024})
    assert (found.retention_days.logs, found.retention_days.quarantine) == (7, 90)
    assert (found.tags, found.ports.queues) == ({"team": "tides"}, "sqs://eu-west-1/h-")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, r"tidegate:provider is 'nothing'.*local, aws, azure, gcp"),
        ({"provider": "awz"}, r"tidegate:provider is 'awz'"),
        ({**CLOUD, "regoin": "x"}, r"tidegate:regoin is not a setting, did you mean region\?"),
        ({**CLOUD, "region": ""}, r"tidegate:region is missing.*pulumi config set tidegate:region"),
        ({**CLOUD, "region": "Eu West"}, r"tidegate:region is 'Eu West'"),
        ({**CLOUD, "issuer": "http://login.example.com"}, r"tidegate:issuer is .*https://"),
        ({**CLOUD, "jobImage": "train:latest"}, r"tidegate:jobImage is 'train:latest'.*digest"),
        ({**CLOUD, "audience": ""}, r"tidegate:audience is missing"),
        ({**CLOUD, "provider": "gcp"}, r"tidegate:project is missing"),
        ({**CLOUD, "name": "Harbour"}, r"tidegate:name is 'Harbour': write 3 to 24"),
        ({**CLOUD, "name": ""}, r"tidegate:name is ''"),
        ({**CLOUD, "alarmAddress": "nobody"}, r"tidegate:alarmAddress is 'nobody'.*e-mail"),
        ({**CLOUD, "port": "many"}, r"tidegate:port: Expected `int`"),
        ({**CLOUD, "port": 65536}, r"tidegate:port is 65536"),
        ({**CLOUD, "architecture": "mips"}, r"tidegate:architecture"),
        ({**CLOUD, "memoryMb": {"inffer": 512}}, r"tidegate:memoryMb names 'inffer'.*did you mean infer\?"),
        ({**CLOUD, "memoryMb": {"infer": 64}}, r"tidegate:memoryMb gives infer 64 MB: write 256 to 10240"),
        ({**CLOUD, "placement": {"inffer": "home"}}, r"tidegate:placement names 'inffer'.*did you mean infer\?"),
        ({**CLOUD, "retentionDays": {"logs": 0}}, r"tidegate:retentionDays\.logs is 0"),
        ({**CLOUD, "retentionDays": {"log": 1}}, r"tidegate:retentionDays: .*log"),
        ({**CLOUD, "tags": {"a b": "x"}}, r"tidegate:tags has 'a b'"),
        ({**CLOUD, "tags": "team"}, r"tidegate:tags: Expected `object`"),
    ],
)
def test_an_invalid_value_is_refused_with_its_remedy(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_configuration(given, "dev")
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("file", sorted(FOLDER.glob("Pulumi.*.yaml")), ids=lambda file: file.name)
def test_the_files_that_are_there_can_be_read(file: Path) -> None:
    tree = read_yaml(file.read_bytes(), file.name).plain()
    given = {key.removeprefix(NAMESPACE): value for key, value in tree["config"].items()}
    provider = file.name.split(".")[1]
    assert read_configuration(given, "prod").provider == provider
    assert all(key.startswith(NAMESPACE) for key in tree["config"])


def test_there_is_an_example_for_every_provider() -> None:
    assert {file.name.split(".")[1] for file in FOLDER.glob("Pulumi.*.yaml")} == set(PROVIDERS)
