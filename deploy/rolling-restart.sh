#!/usr/bin/env bash
# Replaces the replicas of docker-compose.yml one after another, each by a container of the present image and settings.
# Callers of several replicas lose nothing: each drains, and its texts are continued by the others.
#
#   deploy/rolling-restart.sh [COMMAND]     COMMAND is that of Compose: docker-compose by default
#
# Run it with the variables of the `up` that began the replicas, because Compose takes the new ones' from them.
set -euo pipefail
compose=("${@:-docker-compose}")

# Waits until the container $1 is healthy.
await_health() {
  local state
  for _ in $(seq 240); do
    state=$(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$1")
    case $state in
      "running healthy") return ;;
      "running "*) sleep 0.5 ;;
      *) break ;;
    esac
  done
  echo "rolling-restart.sh: $1 is $state instead of running healthy; the other replicas stay as they are" >&2
  exit 1
}

mapfile -t replicas < <("${compose[@]}" ps --quiet server)
if [ "${#replicas[@]}" -lt 2 ]; then
  echo "rolling-restart.sh: there are ${#replicas[@]} replicas; without another one, nobody would serve meanwhile" >&2
  exit 1
fi
for old in "${replicas[@]}"; do
  docker stop "$old" >/dev/null # waits for the drain, for stop_grace_period at most
  docker rm "$old" >/dev/null
  "${compose[@]}" up --detach --no-deps --no-recreate --scale "server=${#replicas[@]}" server
  for new in $("${compose[@]}" ps --quiet server); do
    await_health "$new"
  done
done
