"""Variables that Kubernetes sets in every container, for services of any name that begins with nextchar."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from nextchar_server import cli
from nextchar_server.settings.config import Config
from nextchar_server.settings.variables import service_links, unknown_variables

pytestmark = pytest.mark.usefixtures("variables")

Variables = Callable[..., None]

# Services called as a setting, or as the part of one before _PORT, which is how the addresses of services end.
NAMES = sorted(
    {setting.name for setting in fields(Config)}
    | {setting.name.removesuffix("_port") for setting in fields(Config)}
    | {setting.name.partition("_")[0] for setting in fields(Config)}
    | {"", "server", "prometheus", "https"}
)


def links(service: str, address: str = "10.0.0.1", protocol: str = "tcp") -> dict[str, str]:
    """Returns all variables of a service, as the kubelet's ``envvars`` package makes them, without NEXTCHAR_."""
    prefix = f"{service.upper()}_" if service else ""
    url = f"{protocol}://[{address}]:50051" if ":" in address else f"{protocol}://{address}:50051"
    port = f"{prefix}PORT_50051_{protocol.upper()}"
    return {
        f"{prefix}SERVICE_HOST": address,
        f"{prefix}SERVICE_PORT": "50051",
        f"{prefix}SERVICE_PORT_GRPC": "50051",
        f"{prefix}PORT": url,
        port: url,
        f"{port}_PROTO": protocol,
        f"{port}_PORT": "50051",
        f"{port}_ADDR": address,
    }


@pytest.mark.parametrize(
    ("address", "protocol"), [("10.0.0.1", "tcp"), ("fd00::1", "tcp"), ("10.0.0.1", "udp"), ("10.0.0.1", "sctp")]
)
def test_services_of_any_name_set_nothing(address: str, protocol: str, variables: Variables) -> None:
    given = {key: value for name in NAMES for key, value in links(name, address, protocol).items()}
    variables(**given)
    _, bound, _ = cli.app.parse_args([], exit_on_error=False, print_error=False)
    assert (bound.arguments.get("config") or Config()) == Config()
    assert list(unknown_variables({f"NEXTCHAR_{key}": value for key, value in given.items()})) == []


def test_a_setting_that_a_service_hides_is_reported() -> None:
    environment = {f"NEXTCHAR_{key}": value for name in NAMES for key, value in links(name).items()}
    assert list(service_links(environment)) == ["NEXTCHAR_GRPC_PORT", "NEXTCHAR_HTTP_PORT"]


def test_a_port_that_is_a_number_is_no_service() -> None:
    assert list(service_links({"NEXTCHAR_GRPC_PORT": "50051", "NEXTCHAR_HTTP_PORT": ""})) == []
