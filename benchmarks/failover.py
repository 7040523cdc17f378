"""Failover: the texts that callers of three replicas receive beside kills, stops, cuts and restarts.

Every text that they receive is compared with the undisturbed one (``callers``). The faults come from a schedule with a
seed, through real processes (``replicas``) and real connections (``proxy``).
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from benchmarks.callers import Caller, Tally, make_callers, tally, undisturbed
from benchmarks.models import korean_file
from benchmarks.proxy import Proxy
from benchmarks.replicas import Replica, replicas
from benchmarks.report import Claim, claims, table
from nextchar_client import AsyncClient, channel
from nextchar_server.settings.config import PACKAGED_MODEL

TITLE = "Failover"
_REPLICAS = 3
_CALLERS = 200
_DRAINED_CALLERS = 64
_KILLS_SECONDS = 30.0
_TROUBLES_SECONDS = 12.0
_FOUND = 1.0  # seconds in which callers connect again to a server that is back
_DRAIN = 2.0
_STALLED_CALLERS = 8
_STALL = 1.0  # seconds that a server waits for a reader
_STALLED_CHARACTERS = 5_000  # with log-probabilities: several times as many bytes as a connection takes ahead
_LONG = 6_000  # characters of a text that lasts longer than a drain
_SEED = 13


@dataclass
class _Fleet:
    """Replicas with the faults that were done to them."""

    members: list[Replica]
    draw: random.Random = field(default_factory=lambda: random.Random(_SEED))  # noqa: S311 - a schedule is no secret
    serving: dict[Replica, float] = field(default_factory=dict)
    """Replicas that serve, and since when."""
    faults: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.serving.update(dict.fromkeys(self.members, 0.0))

    def count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1

    def victim(self) -> Replica | None:
        """Draws a replica that serves; None if no other one has served for so long that callers have found it."""
        found = {member for member, since in self.serving.items() if since < time.monotonic() - _FOUND}
        candidates = [member for member in self.members if member in self.serving and found - {member}]
        return self.draw.choice(candidates) if candidates else None

    async def start(self, replica: Replica) -> None:
        await asyncio.to_thread(replica.start)
        await asyncio.to_thread(replica.wait)
        self.serving[replica] = time.monotonic()

    async def kill(self, replica: Replica) -> None:
        """Kills a replica and starts it again."""
        self.count("kills")
        self.serving.pop(replica, None)
        await asyncio.to_thread(replica.kill)
        await self.start(replica)

    async def pause(self, replica: Replica, seconds: float) -> None:
        """Stops a replica with SIGSTOP, and lets it continue."""
        self.count("stops")
        self.serving.pop(replica, None)
        replica.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        replica.send(signal.SIGCONT)
        self.serving[replica] = time.monotonic()


@dataclass(frozen=True)
class _Run:
    """The texts that callers received beside some faults."""

    name: str
    faults: str
    tallies: dict[tuple[str, bool], Tally]
    """By kind of text, and whether its callers asked for tokens."""
    seconds_to_end: float = 0.0
    """From SIGTERM to the end of the process, beyond the drain timeout."""

    @property
    def total(self) -> Tally:
        return sum(self.tallies.values(), Tally())


def measure(folder: Path) -> str:
    """Measures the failover and returns the section of the results."""
    runs = asyncio.run(_measure(folder))
    wrong = [
        Claim("texts that failed", 0, sum(run.total.failed for run in runs), at_most=True, unit="texts"),
        Claim("texts that differ", 0, sum(run.total.different for run in runs), at_most=True, unit="texts"),
        Claim("characters lost", 0, sum(run.total.lost for run in runs), at_most=True, unit="characters"),
        Claim("characters repeated", 0, sum(run.total.repeated for run in runs), at_most=True, unit="characters"),
        Claim(
            "SIGTERM to the end, beyond the drain timeout",
            1,
            max(run.seconds_to_end for run in runs),
            at_most=True,
            unit="s",
        ),
    ]
    return f"{claims(wrong)}\n\n{_table(runs)}"


async def _measure(folder: Path) -> list[_Run]:
    flags = [f"--model=verse={PACKAGED_MODEL}", f"--model=jamo={korean_file(folder)}", f"--drain-timeout={_DRAIN}"]
    with replicas(folder, _REPLICAS, *flags) as members:
        runs = [await run(members) for run in (_killed, _troubled, _terminated, _restarted)]
    with replicas(folder, 1, *flags, f"--stall-timeout={_STALL}") as members:
        return [*runs, await _stalled(members)]


async def _killed(members: list[Replica]) -> _Run:
    """Kills one replica per second."""
    fleet = _Fleet(members)

    async def disturb() -> None:
        async with asyncio.TaskGroup() as restarts:
            for _ in range(int(_KILLS_SECONDS)):
                await asyncio.sleep(1)
                victim = fleet.victim()
                if victim is not None:
                    restarts.create_task(fleet.kill(victim))

    async with _client(members) as client:
        callers = await make_callers(client, _CALLERS)
        await _beside(client, callers, disturb())
    return await _compared("killed, one per second", callers, fleet)


async def _troubled(members: list[Replica]) -> _Run:
    """Kills, stops, cuts and delays; at the end connections of one replica vanish, and never say so."""
    fleet = _Fleet(members)
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Proxy(member.port)) for member in members]
        client = await stack.enter_async_context(_client(proxies))
        callers = await make_callers(client, _CALLERS)
        await _beside(client, callers, _trouble(fleet, proxies))
    return await _compared("killed, stopped, cut, delayed", callers, fleet)


async def _trouble(fleet: _Fleet, proxies: Sequence[Proxy]) -> None:
    end = time.monotonic() + _TROUBLES_SECONDS
    async with asyncio.TaskGroup() as ongoing:
        while time.monotonic() < end:
            await asyncio.sleep(fleet.draw.uniform(0.2, 0.8))
            proxy, victim = fleet.draw.choice(proxies), fleet.victim()
            match fleet.draw.choice(["kill", "stop", "cut", "delay"]):
                case "kill" if victim is not None:
                    ongoing.create_task(fleet.kill(victim))
                case "stop" if victim is not None:
                    ongoing.create_task(fleet.pause(victim, fleet.draw.uniform(0.2, 1.5)))
                case "cut" if proxy.cut():
                    fleet.count("cuts")
                case "delay":
                    proxy.delay = fleet.draw.choice([0, 0.01, 0.1])
                    fleet.count("delays")
    if fleet.draw.choice(proxies).vanish():
        fleet.count("vanished")


async def _terminated(members: list[Replica]) -> _Run:
    """Sends SIGTERM to one replica in the middle of texts that last longer than its drain."""
    async with _client(members) as client:
        callers = [Caller("plain", number, wants_tokens=number % 2 == 0) for number in range(_DRAINED_CALLERS)]
        asked = [asyncio.create_task(caller.ask(client, characters=_LONG)) for caller in callers]
        await asyncio.sleep(1)
        seconds, _ = await asyncio.to_thread(members[0].terminate, _DRAIN + 30)
        await asyncio.gather(*asked)
    fleet = _Fleet(members, faults={"SIGTERM": 1})
    await fleet.start(members[0])
    run = await _compared("SIGTERM of one", callers, fleet, characters=_LONG)
    return replace(run, seconds_to_end=seconds - _DRAIN)


async def _restarted(members: list[Replica]) -> _Run:
    """Restarts all replicas, one after another."""
    fleet = _Fleet(members)
    longest = 0.0

    async def disturb() -> None:
        nonlocal longest
        for member in members:
            await asyncio.sleep(0.5)
            fleet.count("restarts")
            seconds, _ = await asyncio.to_thread(member.terminate, _DRAIN + 30)
            longest = max(longest, seconds)
            await fleet.start(member)

    async with _client(members) as client:
        callers = [Caller("plain", number, wants_tokens=number % 2 == 0) for number in range(_DRAINED_CALLERS)]
        await _beside(client, callers, disturb())
    run = await _compared("restarted, one after another", callers, fleet)
    return replace(run, seconds_to_end=longest - _DRAIN)


async def _stalled(members: list[Replica]) -> _Run:
    """Reads nothing for much longer than the server waits, and continues.

    The connection takes little ahead, so that the server soon notices.
    """
    callers = [Caller("logprobs", number, wants_tokens=number % 2 == 0) for number in range(_STALLED_CALLERS)]
    small = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 2**14))
    with patch.object(channel, "_OPTIONS", (*channel._OPTIONS, *small)):
        client = _client(members)
    async with client:
        read = (caller.ask(client, characters=_STALLED_CHARACTERS, stall=5 * _STALL) for caller in callers)
        await asyncio.gather(*read)
    fleet = _Fleet(members, faults={"readers stalled": len(callers)})
    return await _compared("readers that stall", callers, fleet, characters=_STALLED_CHARACTERS)


def _client(servers: Iterable[Replica | Proxy]) -> AsyncClient:
    return AsyncClient(",".join(f"127.0.0.1:{server.port}" for server in servers))


async def _beside(client: AsyncClient, callers: Iterable[Caller], disturb: Coroutine[None, None, None]) -> None:
    """Keeps every caller asking until ``disturb`` has ended, and waits for their last texts."""
    disturbed = asyncio.create_task(disturb)

    async def ask(caller: Caller) -> None:
        while not disturbed.done():
            await caller.ask(client)

    await asyncio.gather(disturbed, *map(ask, callers))


async def _compared(name: str, callers: Sequence[Caller], fleet: _Fleet, *, characters: int | None = None) -> _Run:
    """Compares all texts with those of the replicas that nothing happens to any more."""
    async with _client(fleet.members) as client:
        wanted = await undisturbed(client, callers, characters=characters)
    tallies: dict[tuple[str, bool], Tally] = {}
    for caller in callers:
        group = caller.kind, caller.wants_tokens
        tallies[group] = tallies.get(group, Tally()) + tally(caller, wanted[id(caller)])
    run = _Run(name, ", ".join(f"{number} {fault}" for fault, number in fleet.faults.items()), tallies)
    print(name, run.faults, run.total, flush=True)
    for failure in {str(failure): None for caller in callers for failure in caller.failures}:
        print(f"  {failure}", flush=True)
    return run


def _table(runs: Iterable[_Run]) -> str:
    return table(
        ["beside", "faults", "texts", "tokens", "whole", "continued", "failed", "differ", "lost", "repeated"],
        [
            [run.name, run.faults, kind, "yes" if tokens else "no", *_figures(one)]
            for run in runs
            for (kind, tokens), one in run.tallies.items()
        ],
    )


def _figures(one: Tally) -> list[int]:
    return [one.whole, one.resumed, one.failed, one.different, one.lost, one.repeated]
