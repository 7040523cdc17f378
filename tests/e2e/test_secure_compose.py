"""deploy/compose.secure.yml on top of docker-compose.yml, on a real engine, with files that deploy/secrets.sh makes."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextchar_client import Client, UnauthenticatedError, UnavailableError
from tests.support.compose import Project, project, run
from tests.support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, with a caller named alice beside prometheus."""
    folder = tmp_path_factory.mktemp("secrets")
    secrets(folder, "make")
    secrets(folder, "caller", "alice")
    return folder


@pytest.fixture(scope="module")
def secure(compose: tuple[str, ...], folder: Path) -> Iterator[Project]:
    """A project whose server and Prometheus run with them."""
    with project(compose, "deploy/compose.secure.yml", NEXTCHAR_SECRETS=str(folder)) as secure:
        yield secure


def secrets(folder: Path, *arguments: str) -> None:
    run("deploy/secrets.sh", *arguments, variables={"NEXTCHAR_SECRETS": str(folder)})


def is_served(secure: Project, folder: Path, token: str | None) -> bool:
    """Whether a caller with ``token`` gets a text over TLS."""
    endpoint = f"grpcs://{secure.address('server', 50051)}"
    with Client(endpoint, tls_ca=folder / "ca.crt", token=token, timeout=60) as client:
        try:
            return len(client.generate("ROMEO:", max_characters=40, seed=7).text) == 40
        except UnauthenticatedError:
            return False


def token_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.token").read_text().strip()


def metrics(secure: Project, folder: Path, token: str | None) -> int:
    """The status of a scrape."""
    request = urllib.request.Request(f"https://{secure.address('server', 8080)}/metrics")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def certificate(secure: Project) -> str:
    """The certificate that a new connection to the HTTP port gets, in PEM."""
    host, port = secure.address("server", 8080).split(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10)


def test_up_returns_with_a_server_that_is_healthy_over_tls(secure: Project) -> None:
    health = run("docker", "inspect", "--format", "{{.State.Health.Status}}", secure.container("server"))
    assert health.strip() == "healthy"


def test_a_caller_with_the_authority_and_a_token_is_served(secure: Project, folder: Path) -> None:
    assert is_served(secure, folder, token_of(folder, "alice"))


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_caller_without_a_token_of_the_list_is_refused(secure: Project, folder: Path, token: str | None) -> None:
    assert not is_served(secure, folder, token)


@pytest.mark.parametrize("scheme", ["grpc", "grpcs"])
def test_a_caller_without_tls_or_without_the_authority_is_not_served(secure: Project, scheme: str) -> None:
    endpoint = secure.address("server", 50051)
    with (
        Client(f"grpcs://{endpoint}" if scheme == "grpcs" else endpoint, timeout=30) as client,
        pytest.raises(UnavailableError),
    ):
        client.models()


async def test_prometheus_scrapes_over_tls_with_its_token(secure: Project) -> None:
    query = urllib.parse.urlencode({"query": 'up{job="nextchar"} == 1'})
    url = f"http://{secure.address('prometheus', 9090)}/api/v1/query?{query}"

    def has_scraped() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bool(json.load(answer)["data"]["result"])
        except OSError:  # it does not listen yet
            return False

    await until(has_scraped)


def test_a_scrape_without_a_token_is_refused(secure: Project, folder: Path) -> None:
    assert metrics(secure, folder, None) == 401
    assert metrics(secure, folder, token_of(folder, "prometheus")) == 200


async def test_a_renewed_certificate_is_served_without_a_restart(secure: Project, folder: Path) -> None:
    container, before = secure.container("server"), certificate(secure)
    secrets(folder, "renew")
    await until(lambda: certificate(secure) != before)
    assert is_served(secure, folder, token_of(folder, "alice"))
    assert secure.container("server") == container


async def test_callers_come_and_go_without_a_restart(secure: Project, folder: Path) -> None:
    container = secure.container("server")
    secrets(folder, "caller", "bob")
    token = token_of(folder, "bob")
    await until(lambda: is_served(secure, folder, token))
    secrets(folder, "revoke", "bob")
    await until(lambda: not is_served(secure, folder, token))
    assert secure.container("server") == container


def test_no_secret_is_in_the_environment_or_the_log_of_the_server(secure: Project, folder: Path) -> None:
    container = secure.container("server")
    said = run("docker", "inspect", container) + run("sh", "-c", f"docker logs {container} 2>&1")
    secret = [path.read_text().strip() for path in (*folder.glob("*.token"), folder / "resume-keys")]
    assert "serving" in said
    assert not [value for value in secret if value in said]
