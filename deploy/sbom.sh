#!/usr/bin/env bash
# Prints the bill of materials of a built image of nextchar as CycloneDX JSON: every Python distribution, every Debian
# package, and Python itself.
#
#   deploy/sbom.sh IMAGE
#
# It is made in a container of that image, so it lists exactly what is there. The tool that makes it is installed into
# that container only.
set -euo pipefail
image=${1:?usage: deploy/sbom.sh IMAGE}
cd "$(dirname "$0")/.."
tar --create constraints.txt deploy/sbom.py | docker run --rm --interactive --network host --user 0 --entrypoint sh "$image" -euc '
  mkdir /sbom
  cd /sbom
  number=0
  tar --extract --no-same-owner
  base=$(python -c "import sys; print(sys._base_executable)")
  python -m venv --without-pip tool
  pip --python tool/bin/python install --quiet --constraint constraints.txt cyclonedx-bom >&2
  for python in "$base" /opt/nextchar/bin/python; do
    tool/bin/cyclonedx-py environment --output-reproducible --output-file "python$((number += 1)).json" "$python"
  done
  tool/bin/python deploy/sbom.py python*.json'
