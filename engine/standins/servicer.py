"""The plugin protocol around a stand-in: the SDK's servicer, with clean errors and assets kept whole."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import Any

import grpc.aio
from google.protobuf import empty_pb2, struct_pb2
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from .engine_log import EngineLog
from .properties import ARCHIVE, ASSET, KIND_KEY, SIGNATURE_KEY, Failure

METHODS = ("CheckConfig", "DiffConfig", "Configure", "Check", "Diff", "Create", "Read", "Update", "Delete", "Invoke")


def rename_signatures(struct: struct_pb2.Struct, old: str, new: str) -> None:
    """Rename the key that marks assets and archives, at any depth; leave those of secrets and outputs."""
    mark = struct.fields.get(old)
    if mark is not None and mark.string_value in (ASSET, ARCHIVE):
        struct.fields[new].string_value = mark.string_value
        del struct.fields[old]
    for value in struct.fields.values():
        _rename_in_value(value, old, new)


def _rename_in_value(value: struct_pb2.Value, old: str, new: str) -> None:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        rename_signatures(value.struct_value, old, new)
    elif kind == "list_value":
        for item in value.list_value.values:
            _rename_in_value(item, old, new)


def _rename_in_message(message: Any, old: str, new: str) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct":
            rename_signatures(value, old, new)


def _wrapped(name: str) -> Any:
    inherited = getattr(ProviderServicer, name)

    async def method(self: ProviderServicer, request: Any, context: Any) -> Any:
        _rename_in_message(request, SIGNATURE_KEY, KIND_KEY)
        try:
            response = await inherited(self, request, context)
        except Exception as error:
            # The SDK raises a new Exception whose text is ours plus a Python traceback.
            cause = error if isinstance(error, Failure) else error.__context__
            if isinstance(cause, Failure):
                await context.abort(grpc.StatusCode.UNKNOWN, str(cause))
            raise
        _rename_in_message(response, KIND_KEY, SIGNATURE_KEY)
        return response

    return method


class Servicer(ProviderServicer):
    """Answers the engine; each request runs as its own task, so they wait for each other nowhere but in CPU."""

    async def Attach(self, request: provider_pb2.PluginAttach, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    async def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema="{}")


for _name in METHODS:
    setattr(Servicer, _name, _wrapped(_name))


def serve(provider_class: type[Provider], plugin_version: str) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", nargs="?", default="", help="the engine's own address, for log lines")
    engine_address = parser.parse_known_args()[0].engine

    async def run() -> None:
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        provider = provider_class(EngineLog(engine_address))
        servicer = Servicer(sys.argv[1:], plugin_version, provider, engine_address)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)  # how the engine learns where to call
        await server.wait_for_termination()

    with contextlib.suppress(KeyboardInterrupt):  # the engine sends Cancel first, then ends the process itself
        asyncio.run(run())
