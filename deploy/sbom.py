"""Prints the bill of materials of the image in which it runs; deploy/sbom.sh runs it there.

Joins the CycloneDX documents of its Python environments, adds Python itself and the packages of the system, and checks
the result against the schema.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

UNDECLARED = {"protobuf": "BSD-3-Clause", "python": "PSF-2.0"}
"""Licences of components in which the tool that lists them finds none."""


def component(kind: str, name: str, number: str, purl: str) -> dict[str, str]:
    """A CycloneDX component of type ``kind`` with the package URL ``purl``."""
    return {"type": kind, "bom-ref": purl, "name": name, "version": number, "purl": purl}


def system_packages() -> list[dict[str, str]]:
    """The installed Debian packages."""
    system = platform.freedesktop_os_release()
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n"],
        check=True,
        capture_output=True,
        text=True,
    )
    components = []
    for line in listed.stdout.splitlines():
        name, number, architecture = line.split("\t")
        package = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(number)}"
        purl = f"{package}?arch={architecture}&distro={system['ID']}-{system['VERSION_ID']}"
        components.append(component("library", name, number, purl))
    return components


def joined(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The last document, with the components of the others that it lacks."""
    document = documents[-1]
    for other in documents[:-1]:
        known = {each["bom-ref"] for each in document["components"]}
        document["components"] += [each for each in other["components"] if each["bom-ref"] not in known]
        document["dependencies"] += [each for each in other["dependencies"] if each["ref"] not in known]
    return document


def main(paths: list[str]) -> None:
    """Prints the document. ``paths`` are those of the Python environments, that of the project last."""
    document = joined([json.loads(Path(path).read_text()) for path in paths])
    (project,) = (each for each in document["components"] if each["name"] == "nextchar")
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": "image",
        "name": "nextchar-server",
        "version": project["version"],
    }
    number = platform.python_version()
    interpreter = component("platform", "python", number, f"pkg:generic/python@{number}")
    document["components"] += [interpreter, *system_packages()]
    for each in document["components"]:
        if not each.get("licenses") and each["name"] in UNDECLARED:
            each["licenses"] = [{"license": {"id": UNDECLARED[each["name"]]}}]
    text = json.dumps(document, indent=2)
    if error := JsonStrictValidator(SchemaVersion.from_version(document["specVersion"])).validate_str(text):
        sys.exit(f"sbom.py: the document isn't valid CycloneDX: {error}")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
