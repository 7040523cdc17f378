"""Which endpoints the client takes, and the remedy for others."""

import pytest

from nextchar_client.endpoint import DEFAULT_ENDPOINT, endpoint_complaint


@pytest.mark.parametrize(
    "endpoint",
    [
        *(DEFAULT_ENDPOINT, "localhost:50051", "[::1]:50051", "dns:///nextchar:50051", "dns://8.8.8.8/nextchar:50051"),
        *("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv6:[::1]:1", "unix:/tmp/n", "unix:///tmp/n", "unix-abstract:n"),
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
        ("https://a.b", "'https://a.b' is a web address; it must be HOST:PORT, such as a.b:50051"),
    ],
)
def test_a_likely_mistake_is_named_with_an_example_that_works(endpoint: str, complaint: str) -> None:
    assert endpoint_complaint(endpoint) == complaint
    assert endpoint_complaint(complaint.rpartition(" ")[2]) is None


@pytest.mark.parametrize("endpoint", ["localhost:", "localhost:http", "dns:///localhost", ":50051", " ", "a b:1/"])
def test_any_other_endpoint_that_grpc_would_misread_is_refused(endpoint: str) -> None:
    complaint = endpoint_complaint(endpoint)
    assert complaint is not None
    assert complaint.endswith("is invalid; it must be HOST:PORT or another target of gRPC, such as dns:///HOST:PORT")
