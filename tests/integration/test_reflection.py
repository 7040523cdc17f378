"""Reflection: both versions list and describe all services, for tools that ask for either."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from nextchar_server.rpc.reflection import NAMES
from nextchar_server.server import SERVICE
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


async def test_an_ordinary_client_lists_the_services(serving: Serving) -> None:
    def services() -> set[str]:
        with grpc.insecure_channel(f"127.0.0.1:{serving.grpc_port}") as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert await asyncio.to_thread(services) == {SERVICE, "grpc.health.v1.Health", *NAMES}


@pytest.mark.parametrize("name", NAMES)
async def test_every_service_is_described_by_each_version(name: str, serving: Serving) -> None:
    call: Any = serving.channel.stream_stream(f"/{name}/ServerReflectionInfo")()
    for service in (SERVICE, "grpc.health.v1.Health", *NAMES):
        await call.write(ServerReflectionRequest(file_containing_symbol=service).SerializeToString())
        answer = ServerReflectionResponse.FromString(await call.read())
        files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        assert service in {f"{file.package}.{each.name}" for file in files for each in file.service}
    await call.done_writing()
