"""Which endpoints the client takes, and the remedy for others."""

import pytest

from nextchar_client.endpoint import (
    DEFAULT_ENDPOINT,
    endpoint_complaint,
    endpoints_of,
    is_local,
    stays_here,
    target_of,
)


@pytest.mark.parametrize(
    "endpoint",
    [
        *(DEFAULT_ENDPOINT, "localhost:50051", "[::1]:50051", "dns:///nextchar:50051", "dns://8.8.8.8/nextchar:50051"),
        *("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv6:[::1]:1", "unix:/tmp/n", "unix:///tmp/n", "unix-abstract:n"),
        *("grpcs://a.b:1", "https://a_b:65535", "grpcs://[::1]:1"),
    ],
)
def test_targets_of_grpc_are_endpoints(endpoint: str) -> None:
    assert endpoint_complaint(endpoint) is None


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("", "it is empty; it must be HOST:PORT, such as 127.0.0.1:50051"),
        ("localhost", "'localhost' has no port; it must be HOST:PORT, such as localhost:50051"),
        ("http://localhost:1/x", "'http://localhost:1/x' is a web address; it must be HOST:PORT, such as localhost:1"),
        ("https://a.b", "'https://a.b' is invalid; it must be https://HOST:PORT, such as https://a.b:50051"),
        ("grpcs://a:1/x", "'grpcs://a:1/x' is invalid; it must be grpcs://HOST:PORT, such as grpcs://a:1"),
        (
            "grpcs://dns:///a:1",
            "'grpcs://dns:///a:1' is invalid; it must be grpcs://HOST:PORT, such as grpcs://localhost:50051",
        ),
    ],
)
def test_a_likely_mistake_is_named_with_an_example_that_works(endpoint: str, complaint: str) -> None:
    assert endpoint_complaint(endpoint) == complaint
    assert endpoint_complaint(complaint.rpartition(" ")[2]) is None


@pytest.mark.parametrize(
    "endpoint",
    [
        *("localhost:", "localhost:http", "dns:///localhost", ":50051", " ", "a b:1/"),
        *(" localhost:1", "localhost:1\n", "a b:1", "localhost:５０"),
    ],
)
def test_any_other_endpoint_that_grpc_would_misread_is_refused(endpoint: str) -> None:
    complaint = endpoint_complaint(endpoint)
    assert complaint is not None
    assert complaint.endswith("is invalid; it must be HOST:PORT or another target of gRPC, such as dns:///HOST:PORT")


@pytest.mark.parametrize(
    ("endpoint", "endpoints"),
    [
        ("a:1", ("a:1",)),
        ("a:1,b:2", ("a:1", "b:2")),
        (["a:1", "b:2,c:3"], ("a:1", "b:2", "c:3")),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", ("ipv4:10.0.0.1:1,10.0.0.2:1",)),
        ("unix:/tmp/a,b", ("unix:/tmp/a,b",)),
        ("a:1,", ("a:1", "")),
        ([], ("",)),
    ],
)
def test_commas_stand_between_endpoints_unless_they_belong_to_a_target(
    endpoint: str | list[str], endpoints: tuple[str, ...]
) -> None:
    assert endpoints_of(endpoint) == endpoints


@pytest.mark.parametrize("port", ["0", "65536", "99999", "9" * 5000])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    assert "port outside 1 to 65535" in (endpoint_complaint(f"grpcs://localhost:{port}") or "")
    assert "port outside 1 to 65535" in (endpoint_complaint(f"localhost:{port}") or "")
    assert "port outside 1 to 65535" in (endpoint_complaint(f"ipv4:10.0.0.1:1,10.0.0.2:{port}") or "")


@pytest.mark.parametrize(
    "endpoint",
    [
        *(
            DEFAULT_ENDPOINT,
            "localhost:1",
            "LOCALHOST.:1",
            "a.localhost:1",
            "ip6-localhost:1",
            "127.9.9.9:1",
            "127.1:1",
        ),
        *("[::1]:1", "ipv6:[::1]:1", "ipv6:%5B::1%5D:1", "[::ffff:127.0.0.1]:1", "0.0.0.0:1", "[::]:1"),
        *(
            "dns:///localhost:1",
            "dns://8.8.8.8/localhost:1",
            "ipv4:10.0.0.1:1,127.0.0.1:1",
            "unix:/n",
            "unix-abstract:n",
        ),
    ],
)
def test_an_endpoint_of_this_machine_is_local(endpoint: str) -> None:
    assert is_local(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["10.0.0.1:1", "nextchar:1", "localhost.example.com:1", "dns:///nextchar:1", "[fd00::1]:1"]
)
def test_any_other_endpoint_is_not_local(endpoint: str) -> None:
    assert not is_local(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("a:1", ("a:1", False)),
        ("dns:///a:1", ("dns:///a:1", False)),
        ("grpcs://a:1", ("a:1", True)),
        ("https://[::1]:1", ("[::1]:1", True)),
    ],
)
def test_the_notation_of_an_endpoint_asks_for_tls(endpoint: str, target: tuple[str, bool]) -> None:
    assert target_of(endpoint) == target


@pytest.mark.parametrize(
    "target", ["localhost:1", "[::1]:1", "127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.2:1", "dns:///localhost:1", "unix:/n"]
)
def test_a_target_with_addresses_of_this_machine_alone_stays_here(target: str) -> None:
    assert stays_here(target)


@pytest.mark.parametrize("target", ["a:1", "ipv4:127.0.0.1:1,10.0.0.1:1", "dns://8.8.8.8/localhost:1", "localhost"])
def test_a_target_that_another_machine_may_see_does_not_stay_here(target: str) -> None:
    assert not stays_here(target)
