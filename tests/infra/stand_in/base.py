"""A stand-in for a provider's plugin: it implements the engine's protocol, checks every input against the SDK, and
passes each resource to the `Kind` of its type.

No package index has the plugins. Tests with a stand-in do not show their defaults, own checks and waits.
"""

import itertools
import json
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.infra.stand_in.schema import SDKS, UnknownType, arguments_of, faults

Properties = dict[str, Any]
_LARGEST_MESSAGE_BYTES = 400 << 20
_AT_ONCE = 64
"""More than the engine's concurrent calls, so that a call that a test holds delays no other."""
_ARCHIVE_PATH = "path"


class Refused(Exception):
    """The emulator refused; the message is its own."""


class Kind:
    """How resources of one type are created, read, changed and deleted. Keys are the SDK's, in camelCase.

    This one keeps them in memory. `outputs`: the properties that the cloud adds to the inputs. `replaces`: those that
    cannot be changed in place, by the provider's documentation.
    """

    def __init__(
        self,
        *replaces: str,
        outputs: Callable[[str, Properties], Properties] = lambda id_, inputs: {},
        id_of: Callable[[Properties], str] | None = None,
    ) -> None:
        self.replaces = frozenset(replaces)
        self.outputs = outputs
        self.id_of = id_of
        self.existing: dict[str, Properties] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        """Return what the cloud would refuse of well-typed inputs: (property, reason). Values may be unknown."""
        return []

    def planned(self, inputs: Properties) -> Properties:
        """Return the properties that are known before the creation: by default the inputs."""
        return inputs

    def seen(self, found: Properties, asked: Properties) -> Properties:
        """Return the actual properties under the names of the inputs."""
        return {key: found.get(key, value) for key, value in asked.items()}

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        """Create one. Args: name: its logical name. Returns: its id and properties. Raises: Refused."""
        with self._lock:
            id_ = self.id_of(inputs) if self.id_of else f"{name}-{next(self._numbers)}"
            if id_ in self.existing:
                raise Refused(f"{id_} exists already")
            self.existing[id_] = {**inputs, **self.outputs(id_, inputs)}
            return id_, self.existing[id_]

    def read(self, id_: str, properties: Properties) -> Properties | None:
        """Return its properties, None if it does not exist."""
        return self.existing.get(id_)

    def update(self, id_: str, before: Properties, inputs: Properties) -> Properties:
        """Change one to these inputs; return its properties."""
        if id_ not in self.existing:
            raise Refused(f"{id_} does not exist")
        self.existing[id_] = {**inputs, **self.outputs(id_, inputs)}
        return self.existing[id_]

    def delete(self, id_: str, properties: Properties) -> None:
        """Delete one; it may be gone."""
        self.existing.pop(id_, None)


@dataclass(frozen=True)
class Planned:
    """A declared resource, as the provider received it. Values may be unknown in a preview."""

    type: str
    name: str
    inputs: Properties


@dataclass
class StandIn:
    """A running stand-in. `planned`: URN -> last declared resource. `log`: the changes, in order."""

    package: str
    kinds: Mapping[str, Kind]
    invokes: Mapping[str, Callable[[Properties], Properties]]
    port: int = 0
    planned: dict[str, Planned] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, type, name): what is "create", "update" or "delete"."""
    configured: Properties = field(default_factory=dict)
    """The provider's own configuration in the program."""
    before_create: Callable[[str, str], None] | None = None
    """Called with type and name before each creation: a test may kill the engine in it, or raise Refused."""

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable by which the engine finds it."""
        return {"PULUMI_DEBUG_PROVIDERS": f"{self.package}:{self.port}"}

    def existing(self) -> dict[str, list[str]]:
        """Return type -> ids of the existing resources in memory."""
        return {token: sorted(kind.existing) for token, kind in self.kinds.items() if kind.existing}


@contextmanager
def stand_in(
    package: str,
    kinds: Mapping[str, Kind],
    invokes: Mapping[str, Callable[[Properties], Properties]] | None = None,
) -> Iterator[StandIn]:
    """Serve a stand-in on loopback until the block ends. Args: package: "aws", "azure-native" or "gcp".

    kinds: type token ("aws:sqs/queue:Queue") -> its Kind; any other type fails the run. invokes: the provider's
    functions.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own warnings at import
        for token in kinds:
            arguments_of(token)
    found = StandIn(package, kinds, invokes or {})
    options = [("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES)]
    server = grpc.server(futures.ThreadPoolExecutor(_AT_ONCE), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Provider(found), server)
    found.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield found
    finally:
        server.stop(5).wait()


def archive_path(value: Any) -> str:
    """Return the path of a FileArchive or FileAsset."""
    return str(value[_ARCHIVE_PATH])


class _Provider(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, served: StandIn) -> None:
        self._served = served

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False, accept_resources=False)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version(SDKS[self._served.package]))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        self._served.configured = {key: _plain(value) for key, value in MessageToDict(request.args).items()}
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True, acceptResources=False)

    def Invoke(self, request: Any, context: Any) -> Any:
        answer = self._served.invokes.get(request.tok)
        if answer is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.tok} is not known to the stand-in")
        return provider_pb2.InvokeResponse(**{"return": _struct(answer(MessageToDict(request.args)))})

    def Check(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)
        inputs = MessageToDict(request.news)
        kind = self._served.kinds.get(token)
        if kind is None:
            return _failed([("", f"{token} is not known to the stand-in")])
        try:
            wrong = faults(token, inputs) or kind.check(inputs)
        except UnknownType as error:
            wrong = [("", str(error))]
        if wrong:
            return _failed(wrong)
        self._served.planned[request.urn] = Planned(token, name, inputs)
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        before, after = MessageToDict(request.old_inputs), MessageToDict(request.news)
        changed = sorted(key for key in {*before, *after} - {"__defaults"} if before.get(key) != after.get(key))
        kind = self._served.kinds[_type_and_name(request.urn)[0]]
        replaces = [key for key in changed if key in kind.replaces]
        some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some, replaces=replaces, diffs=changed, deleteBeforeReplace=bool(replaces)
        )

    def Create(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)
        if request.preview:
            known = self._served.kinds[token].planned(MessageToDict(request.properties))
            return provider_pb2.CreateResponse(properties=_struct(known))

        def act() -> Any:
            if self._served.before_create is not None:
                self._served.before_create(token, name)
            id_, properties = self._served.kinds[token].create(name, MessageToDict(request.properties))
            self._served.log.append(("create", token, name))
            return provider_pb2.CreateResponse(id=id_, properties=_struct(properties))

        return _carried_out(context, f"{token} {name}", act)

    def Read(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)

        def act() -> Any:
            found = self._served.kinds[token].read(request.id, MessageToDict(request.properties))
            if found is None:
                return provider_pb2.ReadResponse()
            asked = MessageToDict(request.inputs)
            seen = self._served.kinds[token].seen(found, asked)
            return provider_pb2.ReadResponse(id=request.id, properties=_struct(found), inputs=_struct(seen))

        return _carried_out(context, f"{token} {name}", act)

    def Update(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)
        if request.preview:
            known = self._served.kinds[token].planned(MessageToDict(request.news))
            return provider_pb2.UpdateResponse(properties=_struct(known))

        def act() -> Any:
            kind = self._served.kinds[token]
            properties = kind.update(request.id, MessageToDict(request.olds), MessageToDict(request.news))
            self._served.log.append(("update", token, name))
            return provider_pb2.UpdateResponse(properties=_struct(properties))

        return _carried_out(context, f"{token} {name}", act)

    def Delete(self, request: Any, context: Any) -> Any:
        token, name = _type_and_name(request.urn)

        def act() -> Any:
            self._served.kinds[token].delete(request.id, MessageToDict(request.properties))
            self._served.log.append(("delete", token, name))
            return empty_pb2.Empty()

        return _carried_out(context, f"{token} {name}", act)

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()


def _plain(value: Any) -> Any:
    """Return a provider's property, with structures decoded from JSON."""
    return json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else value


def _carried_out(context: Any, what: str, act: Callable[[], Any]) -> Any:
    """Return the result of `act`; an exception becomes the provider's error, with the emulator's message."""
    try:
        return act()
    except Exception as error:
        said = str(error) if isinstance(error, Refused) else f"{error}\n{traceback.format_exc()}"
        context.abort(grpc.StatusCode.UNKNOWN, f"{what}: {said}")


def _type_and_name(urn: str) -> tuple[str, str]:
    """Return a URN's own type, without its parents' types, and its logical name."""
    _, _, types, name = urn.split("::", 3)
    return types.split("$")[-1], name


def _failed(wrong: list[tuple[str, str]]) -> Any:
    failures = [provider_pb2.CheckFailure(property=name, reason=f"{name} {reason}".strip()) for name, reason in wrong]
    return provider_pb2.CheckResponse(failures=failures)


def _struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    found = struct_pb2.Struct()
    found.update(dict(properties))
    return found
