import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_training.insight.page import write_page

TEXT = "a <b> & c\nd{{data}}"
SPAN = re.compile(r'<span class="t(-?\d+)">(.*?)</span>', re.DOTALL)


@pytest.fixture
def cells() -> NDArray[np.float32]:
    values = np.random.default_rng(0).uniform(-1, 1, (2, len(TEXT), 5))
    values[1, :, 3] = np.linspace(-1, 1, len(TEXT))
    return values.astype(np.float32)


def written(cells: NDArray[np.float32], path: Path, *, unit: int = 3, **options: int) -> str:
    write_page(TEXT, cells, path, title="cells <1>", layer=1, unit=unit, **options)
    return path.read_text()


def data_of(page: str) -> dict[str, Any]:
    return dict(json.loads(page[page.index('id="data">') + 10 : page.index("</script>")]))


def test_the_page_shows_each_character_on_the_tint_of_the_first_cell(
    cells: NDArray[np.float32], tmp_path: Path
) -> None:
    page = written(cells, tmp_path / "cells.html")
    spans = SPAN.findall(page[page.index("<pre") : page.index("</pre>")])
    assert [shown for _, shown in spans[:12]] == [
        "a",
        " ",
        "&lt;",
        "b",
        "&gt;",
        " ",
        "&amp;",
        " ",
        "c",
        "↵\n",
        "d",
        "{",
    ]
    assert [int(step) for step, _ in spans] == np.rint(10 * np.linspace(-1, 1, len(TEXT))).tolist()
    assert "cells &lt;1&gt;" in page


def test_the_page_holds_the_values_of_every_cell(cells: NDArray[np.float32], tmp_path: Path) -> None:
    data = data_of(written(cells, tmp_path / "cells.html"))
    assert data["first"] == "1:3"
    for layer in data["layers"]:
        values = np.frombuffer(b64decode(layer["values"]), np.int8).reshape(-1, len(TEXT)) / 100
        assert sorted(layer["units"]) == [0, 1, 2, 3, 4]
        assert values == pytest.approx(cells[layer["layer"]][:, layer["units"]].T, abs=0.0051)


def test_a_page_of_a_long_text_holds_fewer_cells_and_the_first_among_them(
    cells: NDArray[np.float32], tmp_path: Path
) -> None:
    for unit in range(5):
        page = written(cells, tmp_path / "cells.html", unit=unit, most=2 * 2 * len(TEXT))
        of_layers = [layer["units"] for layer in data_of(page)["layers"]]
        assert list(map(len, of_layers)) == [2, 2]
        assert unit in of_layers[1]
        assert "2 of 5 cells" in page


def test_the_page_names_no_other_host_and_forbids_requests(cells: NDArray[np.float32], tmp_path: Path) -> None:
    page = written(cells, tmp_path / "cells.html")
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|src=[\"'](?!data:)|@import|url\(", page)
