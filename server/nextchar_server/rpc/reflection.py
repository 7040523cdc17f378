"""Reflection: the services of the server, described for tools such as grpcurl.

Both versions, v1 and v1alpha, by one servicer: their messages are equal in all but the name of the package, so their
bytes are the same. ``grpcio-reflection`` has v1alpha only; the description of v1, which tools may ask for too, is made
from it.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

_ALPHA, _V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_SERVICE, _METHOD = "ServerReflection", "ServerReflectionInfo"

NAMES = (f"{_V1}.{_SERVICE}", f"{_ALPHA}.{_SERVICE}")
"""The names of the reflection services."""


def add_reflection(server: grpc.aio.Server, services: tuple[str, ...]) -> None:
    """Adds both versions to ``server``; they tell of ``services`` and of themselves."""
    _describe_v1()
    servicer = ReflectionServicer((*services, *NAMES))
    for name in NAMES:
        handlers = {
            _METHOD: grpc.stream_stream_rpc_method_handler(
                _writing(servicer.ServerReflectionInfo),
                reflection_pb2.ServerReflectionRequest.FromString,
                reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        server.add_registered_method_handlers(name, handlers)


def _describe_v1() -> None:
    """Adds the description of v1 to those that the servicer reads."""
    description = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(description)
    description.name = description.name.replace("v1alpha", "v1")
    description.package = _V1
    for message in description.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_V1}.")
    for method in description.service[0].method:
        method.input_type = method.input_type.replace(_ALPHA, _V1)
        method.output_type = method.output_type.replace(_ALPHA, _V1)
    descriptor_pool.Default().AddSerializedFile(description.SerializeToString())


def _writing(answer: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., Awaitable[None]]:
    """Returns a handler that writes the messages that the generator ``answer`` yields."""

    async def handle(messages: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async with aclosing(answer(messages, context)) as responses:
            async for response in responses:
                await context.write(response)

    return handle
