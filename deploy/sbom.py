"""Prints the bill of materials of the image in which it runs; deploy/sbom.sh runs it there.

Takes the CycloneDX document of its Python distributions, and adds Python itself and the packages of the distribution
that the image is built on.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

FIELDS = "${binary:Package}\t${Version}\t${Architecture}\n"


def system_packages() -> list[dict[str, object]]:
    """The installed Debian packages as CycloneDX components."""
    system = platform.freedesktop_os_release()
    listed = subprocess.run(["dpkg-query", "--show", "--showformat", FIELDS], check=True, capture_output=True, text=True)
    components: list[dict[str, object]] = []
    for line in listed.stdout.splitlines():
        package, number, architecture = line.split("\t")
        name = package.partition(":")[0]
        distribution = f"{system['ID']}-{system['VERSION_ID']}"
        purl = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(number)}?arch={architecture}&distro={distribution}"
        components.append({"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl})
    return components


def main(python_packages: str) -> None:
    """Prints the document. ``python_packages`` is the file with that of the Python distributions."""
    document = json.loads(Path(python_packages).read_text())
    number = platform.python_version()
    purl = f"pkg:generic/python@{number}"
    interpreter = {"type": "platform", "bom-ref": purl, "name": "python", "version": number, "purl": purl}
    document["components"] += [interpreter, *system_packages()]
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": "image",
        "name": "nextchar-server",
        "version": version("nextchar"),
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
