"""A stand-in for a provider's plugin: it speaks the engine's protocol, checks every input against the SDK, and has each
resource carried out by what stands for its type.

The plugins themselves are not in any package index. What they do beyond this (defaults, their own checks, waiting) is
not shown by tests that use a stand-in.
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
"""More than the engine asks for at a time, so that what a test holds keeps nobody else waiting."""
_ARCHIVE_PATH = "path"


class Refused(Exception):
    """What stands for the cloud says no, in its words."""


class Kind:
    """How resources of one type are carried out. Keys are the SDK's, in camelBack.

    This one keeps them in memory: `outputs` says what the cloud adds to what was asked for. `replaces`: the properties
    that cannot be changed in place, by the provider's documentation.
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
        """Return what the cloud would not have, though the types fit: (property, reason). Values may be unknown."""
        return []

    def planned(self, inputs: Properties) -> Properties:
        """Return what is known of one before it is made: by default what was asked for."""
        return inputs

    def seen(self, found: Properties, asked: Properties) -> Properties:
        """Return what was found in the words of what was asked for."""
        return {key: found.get(key, value) for key, value in asked.items()}

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        """Make one. Args: name: its logical name. Returns: its id, and all that is known of it. Raises: Refused."""
        with self._lock:
            id_ = self.id_of(inputs) if self.id_of else f"{name}-{next(self._numbers)}"
            if id_ in self.existing:
                raise Refused(f"{id_} is there already")
            self.existing[id_] = {**inputs, **self.outputs(id_, inputs)}
            return id_, self.existing[id_]

    def read(self, id_: str, properties: Properties) -> Properties | None:
        """Return what there is, None where there is none."""
        return self.existing.get(id_)

    def update(self, id_: str, before: Properties, inputs: Properties) -> Properties:
        """Change one to these inputs. Returns: all that is known of it."""
        if id_ not in self.existing:
            raise Refused(f"{id_} is not there")
        self.existing[id_] = {**inputs, **self.outputs(id_, inputs)}
        return self.existing[id_]

    def delete(self, id_: str, properties: Properties) -> None:
        """Remove one; it may be gone."""
        self.existing.pop(id_, None)


@dataclass(frozen=True)
class Planned:
    """A resource that a program declared, as the provider was given it. Values may be unknown in a preview."""

    type: str
    name: str
    inputs: Properties


@dataclass
class StandIn:
    """A provider that is served. `planned`: URN -> what was last declared; `log`: what was done, in order."""

    package: str
    kinds: Mapping[str, Kind]
    invokes: Mapping[str, Callable[[Properties], Properties]]
    port: int = 0
    planned: dict[str, Planned] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, type, name): what is "create", "update" or "delete"."""
    configured: Properties = field(default_factory=dict)
    """What the program gave the provider itself."""
    before_create: Callable[[str, str], None] | None = None
    """Called with type and name before each creation: a test may end the engine in it, or raise Refused."""

    @property
    def environment(self) -> dict[str, str]:
        """Return the variable that lets the engine find it."""
        return {"PULUMI_DEBUG_PROVIDERS": f"{self.package}:{self.port}"}

    def existing(self) -> dict[str, list[str]]:
        """Return type -> ids of what is kept in memory and still there."""
        return {token: sorted(kind.existing) for token, kind in self.kinds.items() if kind.existing}


@contextmanager
def stand_in(
    package: str,
    kinds: Mapping[str, Kind],
    invokes: Mapping[str, Callable[[Properties], Properties]] | None = None,
) -> Iterator[StandIn]:
    """Serve a stand-in on loopback until the block ends. Args: package: "aws", "azure-native" or "gcp".

    kinds: type token ("aws:sqs/queue:Queue") -> what carries it out; any other type fails the run. invokes: the same
    for functions of the provider.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own words about itself, when it is imported
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
    """Return where the file of a FileArchive or FileAsset is."""
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
    """Return a provider's property as it was given: structures come as JSON."""
    return json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else value


def _carried_out(context: Any, what: str, act: Callable[[], Any]) -> Any:
    """Return what `act` does; what goes wrong becomes the provider's error, with the cloud's own words."""
    try:
        return act()
    except Exception as error:
        said = str(error) if isinstance(error, Refused) else f"{error}\n{traceback.format_exc()}"
        context.abort(grpc.StatusCode.UNKNOWN, f"{what}: {said}")


def _type_and_name(urn: str) -> tuple[str, str]:
    """Return a URN's own type, without its parents', and its logical name."""
    _, _, types, name = urn.split("::", 3)
    return types.split("$")[-1], name


def _failed(wrong: list[tuple[str, str]]) -> Any:
    failures = [provider_pb2.CheckFailure(property=name, reason=f"{name} {reason}".strip()) for name, reason in wrong]
    return provider_pb2.CheckResponse(failures=failures)


def _struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    found = struct_pb2.Struct()
    found.update(dict(properties))
    return found
