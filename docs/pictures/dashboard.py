"""Pictures of the dashboard, for the docs: `python docs/pictures/dashboard.py` writes dashboard.png beside this file,
and its first rows as dashboard-first.png.

Needs `.[dev]` and Debian's Prometheus. Two servers run under a load that swells for a minute and a half, and a
Prometheus scrapes them. Grafana isn't there: the panels are placed as in the dashboard's file, filled by its queries,
and drawn by matplotlib, so colours and letters differ from Grafana's.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import random
import re
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from tests.support.pages import ROOT
from tests.support.prometheus import Prometheus, prometheus, query_of_panel
from tests.support.server_process import started

PICTURE = Path(__file__).with_suffix(".png")
FIRST_ROWS = PICTURE.with_stem("dashboard-first")
FIRST_LEFT_OUT = "Capacity"  # title of the row
BOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "nextchar.json").read_text())
COLOURS = 128
SECONDS = 90
CALLERS = 40
UNITS = {"s": "s", "bytes": "B", "reqps": "/s", "short": ""}


async def caller(stub: Any, number: int) -> None:
    """Calls for a while that depends on its ``number``, so that the load swells and ebbs."""
    draw = random.Random(number)  # noqa: S311 - a load, made up
    began = time.monotonic()
    await asyncio.sleep(number / CALLERS * SECONDS / 2)
    while time.monotonic() < began + SECONDS - number / CALLERS * SECONDS / 3:
        with suppress(grpc.aio.AioRpcError):
            await one_call(stub, draw)
        await asyncio.sleep(0.2)


async def one_call(stub: Any, draw: random.Random) -> None:
    """Makes one call of some kind."""
    length = int(draw.lognormvariate(6, 1))
    parameters = pb.GenerationParameters(max_characters=length)
    match draw.randrange(6):
        case 0:
            await stub.Complete(pb.CompleteRequest(prompt="To be, or not to b"))
        case 1:
            await stub.Score(pb.ScoreRequest(text="But, soft! what light " * draw.randint(1, 40)))
        case 2:
            constrained = pb.GenerationParameters(regex=draw.choice(("[A-Z][a-z]{4,8}", "[0-9]+ ducats", "(")))
            await stub.Generate(pb.GenerateRequest(parameters=constrained))
        case _:
            prompt = "It is the east, and Juliet is the sun. " * draw.randint(1, 5)
            async for _ in stub.GenerateStream(pb.GenerateStreamRequest(prompt=prompt, parameters=parameters)):
                pass


async def load(ports: list[int]) -> None:
    """Runs all callers."""
    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports[number % len(ports)]}")
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            group.create_task(caller(stub, number))


def legend(text: str, labels: dict[str, str]) -> str:
    """Returns the legend of a line, with its labels filled in."""
    filled = re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), text)
    return filled if len(filled) <= 32 else f"{filled[:31]}…"


def draw_lines(axes: Axes, panel: dict[str, Any], seen: Prometheus, begin: float, end: float) -> None:
    """Draws a panel of lines."""
    for target in panel["targets"]:
        for series in seen.query_range(query_of_panel(target["expr"]), begin, end):
            points = [(float(at) - begin, float(value)) for at, value in series["values"]]
            kept = [(at, value) for at, value in points if not math.isnan(value)]
            label = legend(target["legendFormat"], series["metric"])
            axes.plot([at for at, _ in kept], [value for _, value in kept], label=label, linewidth=1)
    axes.set_xlim(0, end - begin)
    axes.set_ylim(bottom=0)
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(PercentFormatter(1) if unit == "percentunit" else EngFormatter(UNITS[unit]))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=5.5, loc="upper left", ncols=2, framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="gray")


def draw_number(axes: Axes, panel: dict[str, Any], seen: Prometheus, end: float) -> None:
    """Draws a panel of one number, as it is two thirds on."""
    found = seen.query(query_of_panel(panel["targets"][0]["expr"]), at=end - SECONDS / 3)
    shown = f"{float(found[0]['value'][1]):,.0f}" if found else panel["fieldConfig"]["defaults"]["noValue"]
    axes.text(0.5, 0.45, shown, transform=axes.transAxes, ha="center", va="center", fontsize=20, color="green")
    axes.set_xticks([])
    axes.set_yticks([])


def main() -> None:
    """Runs the servers, and draws the picture."""
    mpl.rcParams.update({"font.size": 7, "axes.titlesize": 8, "axes.titlelocation": "left"})
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = ("--max-batch", "8", "--queue-size", "6", "--lanes", "1")
        rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
        seen = stack.enter_context(prometheus(folder, rules))
        servers = [stack.enter_context(started(*options)) for _ in range(2)]
        for server in servers:
            stack.enter_context(seen.scraping(server.http_port))
        seen.until("sum(up) == 2")
        begin = time.time()
        asyncio.run(load([server.grpc_port for server in servers]))
        end = time.time()
        rows = max(panel["gridPos"].get("y", 0) + panel["gridPos"]["h"] for panel in BOARD["panels"])
        figure = Figure(figsize=(16, rows * 0.34), layout=None)
        for panel in BOARD["panels"]:
            place = panel["gridPos"]
            left, top = place.get("x", 0) / 24, 1 - place.get("y", 0) / rows
            if panel["type"] == "row":
                figure.text(left + 0.004, top - 0.6 / rows, panel["title"], fontsize=11, weight="bold", va="center")
                continue
            width, height = place["w"] / 24, place["h"] / rows
            axes = figure.add_axes((left + 0.035, top - height + 0.75 / rows, width - 0.043, height - 1.75 / rows))
            axes.set_title(panel["title"])
            if panel["type"] == "stat":
                draw_number(axes, panel, seen, end)
            else:
                draw_lines(axes, panel, seen, begin, end)
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=90)
        picture = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(PICTURE, optimize=True)
        below = next(panel["gridPos"]["y"] for panel in BOARD["panels"] if panel["title"] == FIRST_LEFT_OUT)
        picture.crop((0, 0, picture.width, below * picture.height // rows)).save(FIRST_ROWS, optimize=True)


if __name__ == "__main__":
    main()
