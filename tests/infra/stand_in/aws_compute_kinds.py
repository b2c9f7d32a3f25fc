"""The kinds of AWS compute and API resources on the emulator (tests/infra/stand_in/aws.py)."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from functions.runtimes.environment import SETTINGS
from tests.infra.stand_in.aws_kinds import ACCOUNT, REGION, Emulated
from tests.infra.stand_in.base import Kind, Properties, Refused

if TYPE_CHECKING:
    from tests.infra.stand_in.aws import Account


class Function(Emulated):
    """A Lambda function, from its package. The emulator only records a function that is an image."""

    def _configuration(self, inputs: Properties) -> Properties:
        variables = dict(inputs["environment"]["variables"])
        variables[SETTINGS] = self.account.here(variables[SETTINGS])
        return {
            "FunctionName": inputs["name"],
            **self._started_by(inputs),
            "Role": inputs["role"],
            "Timeout": int(inputs["timeout"]),
            "MemorySize": int(inputs["memorySize"]),
            "Environment": {"Variables": variables},
        }

    def _started_by(self, inputs: Properties) -> Properties:
        if inputs.get("packageType") == "Image":
            if wrong := {"runtime", "handler", "code"} & set(inputs):
                raise Refused(f"an image has no {', '.join(sorted(wrong))}")
            return {"ImageConfig": {"Command": list(inputs["imageConfig"]["commands"])}}
        if inputs["runtime"] != f"python{sys.version_info.major}.{sys.version_info.minor}":
            raise Refused(f"this machine has no {inputs['runtime']}")
        return {"Runtime": "provided.al2023", "Handler": inputs["handler"]}

    def _code(self, inputs: Properties) -> Properties:
        image = inputs.get("imageUri")
        return {"ImageUri": image} if image else {"ZipFile": self.account.code(inputs)}

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        aws, name = self.client("lambda"), inputs["name"]
        kind = str(inputs.get("packageType", "Zip"))
        arn = aws.create_function(Code=self._code(inputs), PackageType=kind, **self._configuration(inputs))[
            "FunctionArn"
        ]
        self._reserve(inputs)
        invoke = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"
        return name, {"arn": arn, "invokeArn": invoke}

    def _reserve(self, inputs: Properties) -> None:
        self.client("lambda").put_function_concurrency(
            FunctionName=inputs["name"], ReservedConcurrentExecutions=int(inputs["reservedConcurrentExecutions"])
        )

    def look(self, id_: str, properties: Properties) -> Properties | None:
        found = self.client("lambda").get_function_configuration(FunctionName=id_)
        return {"memorySize": found["MemorySize"], "timeout": found["Timeout"]}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("lambda").update_function_configuration(**self._configuration(inputs))
        self.client("lambda").update_function_code(FunctionName=id_, **self._code(inputs))
        self._reserve(inputs)
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").delete_function(FunctionName=id_)


class EventSource(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        made = self.client("lambda").create_event_source_mapping(
            EventSourceArn=inputs["eventSourceArn"],
            FunctionName=inputs["functionName"],
            BatchSize=int(inputs["batchSize"]),
            FunctionResponseTypes=inputs["functionResponseTypes"],
        )
        return made["UUID"], {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("lambda").get_event_source_mapping(UUID=id_)
        return {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("lambda").update_event_source_mapping(UUID=id_, BatchSize=int(inputs["batchSize"]))
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").delete_event_source_mapping(UUID=id_)


class Permission(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        name = f"{inputs['function']}-{inputs['principal'].partition('.')[0]}"
        self.client("lambda").add_permission(
            FunctionName=inputs["function"],
            StatementId=name,
            Action=inputs["action"],
            Principal=inputs["principal"],
            SourceArn=inputs["sourceArn"],
        )
        return name, {"statementId": name}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").remove_permission(FunctionName=properties["function"], StatementId=id_)


class Api(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        id_ = self.client("apigatewayv2").create_api(Name=inputs["name"], ProtocolType=inputs["protocolType"])["ApiId"]
        url = f"{self.account.url}/_aws/execute-api/{id_}/$default"
        return id_, {"apiEndpoint": url, "executionArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{id_}"}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("apigatewayv2").get_api(ApiId=id_)
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("apigatewayv2").delete_api(ApiId=id_)


class OnApi(Emulated):
    """A part of an API. Args: noun: as in the operations' names. words: property -> parameter."""

    def __init__(self, account: "Account", noun: str, words: Mapping[str, str]) -> None:
        super().__init__(account, "apiId")
        self.noun = noun
        self.words = words

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        given = {word: inputs[key] for key, word in self.words.items() if inputs.get(key) is not None}
        if "JwtConfiguration" in given:
            jwt = given["JwtConfiguration"]
            given["JwtConfiguration"] = {"Audience": jwt["audiences"], "Issuer": jwt["issuer"]}
        made = getattr(self.client("apigatewayv2"), f"create_{self.noun}")(ApiId=inputs["apiId"], **given)
        return made.get(f"{self.noun.title()}Id", inputs.get("name", "")), {}

    def remove(self, id_: str, properties: Properties) -> None:
        which = {"StageName": id_} if self.noun == "stage" else {f"{self.noun.title()}Id": id_}
        getattr(self.client("apigatewayv2"), f"delete_{self.noun}")(ApiId=properties["apiId"], **which)

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.remove(id_, inputs)
        self.make(inputs)
        return {}


class Schedule(Emulated):
    def _given(self, inputs: Properties) -> Properties:
        return {
            "Name": inputs["name"],
            "ScheduleExpression": inputs["scheduleExpression"],
            "FlexibleTimeWindow": {"Mode": inputs["flexibleTimeWindow"]["mode"]},
            "Target": {"Arn": inputs["target"]["arn"], "RoleArn": inputs["target"]["roleArn"]},
        }

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.client("scheduler").create_schedule(**self._given(inputs))
        return f"default/{inputs['name']}", {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        found = self.client("scheduler").get_schedule(Name=id_.partition("/")[2])
        return {"scheduleExpression": found["ScheduleExpression"]}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("scheduler").update_schedule(**self._given(inputs))
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("scheduler").delete_schedule(Name=id_.partition("/")[2])


class Cluster(Kind):
    """A cluster of our ECS, which deletes none: ids of deleted ones are free again."""

    def __init__(self, account: "Account") -> None:
        super().__init__("name", outputs=lambda id_, inputs: {"arn": id_})
        self.account = account

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        self.account.client("ecs").create_cluster(clusterName=inputs["name"])
        self.id_of = lambda inputs: f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{inputs['name']}"
        return super().create(name, inputs)


class TaskDefinition(Kind):
    """A task definition of our ECS; a change makes a new revision, as on ECS."""

    def __init__(self, account: "Account") -> None:
        super().__init__(
            "family", "containerDefinitions", "cpu", "memory", "taskRoleArn", "executionRoleArn", "runtimePlatform"
        )
        self.account = account

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        containers = json.loads(inputs["containerDefinitions"])
        for container in containers:
            # This machine's Python replaces the image's, and addresses are this machine's.
            container["command"] = [sys.executable, *container["command"][1:]]
            given = {each["name"]: each["value"] for each in container["environment"]}
            given = {**given, SETTINGS: self.account.here(given[SETTINGS]), **self.account.job_environment}
            container["environment"] = [{"name": key, "value": value} for key, value in given.items()]
        made = self.account.client("ecs").register_task_definition(
            family=inputs["family"],
            requiresCompatibilities=inputs["requiresCompatibilities"],
            networkMode=inputs["networkMode"],
            cpu=inputs["cpu"],
            memory=inputs["memory"],
            taskRoleArn=inputs["taskRoleArn"],
            executionRoleArn=inputs["executionRoleArn"],
            containerDefinitions=containers,
        )["taskDefinition"]
        id_, properties = super().create(name, inputs)
        properties["arn"] = made["taskDefinitionArn"]
        return id_, properties
