"""The server's image on a real engine: its contents, and how far a process gets that a caller has taken over."""

import json
from typing import Any

import pytest

from tests.support.compose import Project, run

pytestmark = pytest.mark.docker

TEMPORARY = {"tmpfs", "devpts", "mqueue"}
"""Types of file systems that keep nothing."""

DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps([[each.name, each.version] for each in distributions()]))
"""


@pytest.fixture(scope="module")
def bill(stack: Project) -> dict[str, Any]:
    """The bill of the image of the running server."""
    document: dict[str, Any] = json.loads(run("deploy/sbom.sh", stack.image("server"), timeout=300))
    return document


def listed(bill: dict[str, Any], kind: str = "") -> set[tuple[str, str]]:
    """Name and version of each component, or of each whose package URL is of ``kind``."""
    components = [each for each in bill["components"] if not kind or each.get("purl", "").startswith(f"pkg:{kind}/")]
    return {(each["name"], each["version"]) for each in components}


def installed(stack: Project) -> set[tuple[str, str]]:
    """Name and version of each distribution of the server, as Python itself finds them."""
    found = json.loads(stack.inside("server", "python", "-c", DISTRIBUTIONS).stdout)
    return {(name, version) for name, version in found}


def test_the_bill_lists_each_python_distribution_of_the_server_with_its_version(
    stack: Project, bill: dict[str, Any]
) -> None:
    assert {"nextchar", "onnxruntime"} <= {name for name, _ in installed(stack)}
    assert installed(stack) <= listed(bill)


def test_the_bill_names_the_licence_of_each_python_distribution_of_the_server(
    stack: Project, bill: dict[str, Any]
) -> None:
    licensed = {(each["name"], each["version"]) for each in bill["components"] if each.get("licenses")}
    assert installed(stack) <= licensed


def test_the_bill_lists_each_debian_package_of_the_image_with_its_version(stack: Project, bill: dict[str, Any]) -> None:
    packages = stack.inside("server", "dpkg-query", "--show", "--showformat", "${Package} ${Version}\n").stdout
    assert listed(bill, "deb") == {(name, version) for name, version in map(str.split, packages.splitlines())}


def test_nothing_of_torch_and_no_tool_that_made_the_bill_is_in_it(bill: dict[str, Any]) -> None:
    names = {each["name"].lower() for each in bill["components"]}
    assert not {name for name in names if name.startswith(("torch", "nvidia", "triton", "cyclonedx"))}


def alone(project: Project, *command: str, user: str = "10001") -> str:
    """The output of a command in a fresh container of the server's image, without any confinement by Compose."""
    program, *arguments = command
    options = ("--rm", "--user", user, "--entrypoint", program)
    return run("docker", "run", *options, project.image("server"), *arguments)


@pytest.mark.parametrize("service", ["server", "prometheus"])
def test_no_process_has_a_capability_or_can_gain_privileges(stack: Project, service: str) -> None:
    answer = stack.inside(service, "sh", "-c", "grep -hE '^(Cap|NoNewPrivs)' /proc/[0-9]*/status")
    values = {tuple(line.split(":\t")) for line in answer.stdout.splitlines()}
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert values == {(name, "0" * 16) for name in sets} | {("NoNewPrivs", "1")}


@pytest.mark.parametrize("service", ["server", "prometheus"])
def test_only_file_systems_that_keep_nothing_can_be_written(stack: Project, service: str) -> None:
    mounts = [line.split() for line in stack.inside(service, "cat", "/proc/mounts").stdout.splitlines()]
    kept = {
        place
        for _, place, kind, options, *_ in mounts
        if "rw" in options.split(",") and kind not in TEMPORARY and not place.startswith(("/proc", "/sys"))
    }
    assert kept == ({"/prometheus"} if service == "prometheus" else set())


def test_nothing_in_the_writable_folder_of_the_server_can_be_run(stack: Project) -> None:
    answer = stack.inside("server", "sh", "-c", "cp /bin/true /tmp/probe && /tmp/probe")
    assert answer.returncode == 126
    assert "Permission denied" in answer.stderr


def test_the_server_image_has_no_program_that_runs_as_somebody_else(stack: Project) -> None:
    assert alone(stack, "find", "/", "-xdev", "-type", "f", "-perm", "/6000", user="root") == ""


def test_the_server_cannot_write_its_code_even_in_a_container_that_is_not_read_only(stack: Project) -> None:
    assert alone(stack, "find", "/opt", "/usr", "-writable", "-not", "-type", "l") == ""


def test_the_server_image_runs_as_a_user_without_a_name_to_log_in(stack: Project) -> None:
    user = json.loads(run("docker", "image", "inspect", "--format", "{{json .Config.User}}", stack.image("server")))
    assert user == "10001:10001"
    assert "nologin" in alone(stack, "grep", "^nextchar:", "/etc/passwd")
