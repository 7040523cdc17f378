"""The server's start and stop, without a model: the ports are checked before any model is loaded."""

import socket

import pytest

from nextchar_model.description import ModelFileError
from nextchar_server.listening import StartError
from nextchar_server.server import Server
from nextchar_server.settings.config import Config


async def test_stopping_a_server_that_was_not_started_does_nothing() -> None:
    server = Server(Config())
    server.hurry()
    await server.stop()


async def test_a_server_that_could_not_start_can_be_stopped() -> None:
    server = Server(Config(model=("none.onnx",), grpc_port=0, http_port=0))
    with pytest.raises(ModelFileError):
        await server.start()
    await server.stop()


@pytest.mark.parametrize(("port", "protocol"), [("grpc_port", "gRPC"), ("http_port", "HTTP")])
async def test_a_port_in_use_is_named_with_the_option_that_chooses_another(port: str, protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ports = {"grpc_port": 0, "http_port": 0, port: number}
        with pytest.raises(StartError) as caught:
            await Server(Config(**ports)).start()
    reason = f"the port is in use; choose another one with --{port.replace('_', '-')}"
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{number} for {protocol}: {reason}"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no.such.host.invalid", "no.such.host.invalid:0 for gRPC: the host can't be resolved: "),
        ("192.0.2.1", "192.0.2.1:0 for gRPC: this machine doesn't have that address"),
        ("2001:db8::1", "[2001:db8::1]:0 for gRPC: "),
    ],
)
async def test_a_host_that_is_not_this_machine_is_named_with_the_reason(host: str, reason: str) -> None:
    with pytest.raises(StartError) as caught:
        await Server(Config(host=host, grpc_port=0, http_port=0)).start()
    assert str(caught.value).startswith(f"cannot listen on {reason}")
    assert "\n" not in str(caught.value)
