"""The program: a graph's nodes without its weights and sizes, by which a graph is recognized as one of ours.

``screen`` refuses every other. Our programs differ in their cell, their precision, the place of the first layer's input
weights (a table or, for large alphabets, an embedding) and the form of the draw. All layers from the second on are
alike, so programs of one and of two layers stand for those of any number.

Invariant: graphs with the same digest differ in weights, sizes and the number of layers only, and perhaps in the order
in which they list the states of further layers.
"""

from __future__ import annotations

import hashlib
import re

from .wire import Message

PROGRAMS = frozenset(
    [
        "0a75b7806c84440f64ae4313e380503a",
        "0a891c6d5ad264790202bc0806887892",
        "0c8c54b4cf85655b3e17b9df2675581e",
        "0eeac1dde8504857c5746478380dce8d",
        "1137e8de0b81208d48beddcbe06fe084",
        "18b296a2623abfc9c8aae2b8df4dece3",
        "19e22fef3818ed4cb4c574639584b598",
        "1a168eeea8d7259a3e87e470815ff043",
        "1a3453b316d412cd9503e8ddecf21465",
        "1bd1e4176270df552b731ea32a2da88b",
        "1e99ba17f48445ec2195bcb4bc0f055e",
        "2448c61cd00cbd5dd283d1ecdc33d2f5",
        "24a486ccf5c9259384f88bf2d09d2ef6",
        "25a6e29b4898102871b62699acd65a0b",
        "26ff2915e58743ac3114317ea7f35e38",
        "271afde276fc9bdb999ebebbd0c78658",
        "29867df3ab8fb3df445cd6081e806673",
        "30aaf5c512ab086bf7239a38f7e3da2b",
        "335fa8e2460f58a24b3d3fb372b395a7",
        "33bf6d433a5ede012b4b09acb21ae12a",
        "3bc5534a09433a539f56de12328f4d7d",
        "3d4d5321042b7cb155ca461a4fdf841f",
        "3e5152155098d5ee3e8f1c1bcb25067c",
        "3f56896d0fca608f1c23a620cd16fdcd",
        "42252d634a573e38ea73a0b6c79d8551",
        "42d1bc41f41a3d9acede057c0da421c7",
        "4331288297514cb696d45a4590c230f6",
        "4431c5331ff56ce5194e083451c81e9f",
        "483a726a73ab197c39f4e6dedefe898a",
        "489689250b046c93b2920088a968625b",
        "496be0f9f4fc1f2a354120c20e8fe5b0",
        "4bf8a3e51ad33a15735ef04d7c10a0ca",
        "4cecdc62870f404ef8f23d9f2229cfd5",
        "4f3fc99d26e474caa73cf953b991d386",
        "506044f1c476d8cf2ec60a8423cda71c",
        "51e5762ecc0235840c33a1bb3bdf80eb",
        "52ce459216448621d298e047add08845",
        "56255fa4b2d8d72e1f3599354a557538",
        "59a9bb3595c9381dbed447e77daddb76",
        "5e9abeef840813a517316e34207345e1",
        "615acb73aed0146b648354410b913970",
        "64b776e62501243c8d4761cbf2a9bfe8",
        "6532e963863562efe70ec60de4d21225",
        "6695f05549da18455950c63eef66f317",
        "684836e15bc57a7c3198d575ba5ce092",
        "6933596ef54562ac398987b2932dde3f",
        "6ca7e06c78bb1b1034a7a14ead7bb955",
        "7095546721affefc1353a08273eade28",
        "7664b8cdd47874c3bd4b105b9179400f",
        "7a3daef74091148a5ff72c4e21a49235",
        "7f06d3d91130fecec7d4caaee9b7a255",
        "9059013e81dac74d3c8bf812dd242441",
        "9124b1c92c59ae896381e2f9e5cd901f",
        "918467a49783e912751b3cfa968248b3",
        "96ce75cff48fd40ba913150bb4e917e9",
        "98fcf3f34e54e0bee3eea6992b269eae",
        "9a722ee28e23f859b279b628964b4884",
        "9c7de405932d654cfda1b7068da82cc9",
        "9f1fb3b0c38838aeece220632290169c",
        "a5290402222a07f6d16aeb1df8601c55",
        "a63717d8d3051e9e0646c38b8444d2af",
        "ab6888d2535c08d8c148012e882bb522",
        "ae9e47d2a4e77bc8e08de8f0bd45f373",
        "aedc0a58e14bc759c646fe2ad4947e03",
        "b2c3eeb4ccbb2a9c13f687a254fb9e48",
        "b3298893b31fdbf7471306b38a0c21ff",
        "b44434cd950aa59580f78f4c7dc68ca7",
        "b47eaef0ce31424d07c9fe5cb3fe6d04",
        "b72751ac8f056c1bedd4e9d78d173a06",
        "bc0612750b2683bc3bc0d7a99f314d89",
        "bc4fde616047e5c02276c7107d89fa99",
        "c07486d6a146648a4c2e858eb84b0ddf",
        "c40489099b0e6154ed85a7fefdfcf556",
        "c65715b309685fe91b6554a999a7f264",
        "c738cd3b839afb93d7eaa83551994b05",
        "c99b99dd02f42ef7f3f6d05e0d94897a",
        "cf8df1b3fde850e62c46cc02942d38ea",
        "d1a4e6f9fcc263c9abe07202f504dd79",
        "d8820814d4cba48ba95ba48f4ded173e",
        "d9ee25eb227e5e5f89d902bd49f2bbd9",
        "da5f6fdaa5d1802237845d4b3d9516a7",
        "dc0b719607058931469c1c40b4ec57db",
        "ddc733a530cec07369e2ce118bf2d598",
        "df87f2cf4cddc06fa4a71cff0dee5759",
        "dfeaf6f6df9663facbe9f3389efe686e",
        "e1f66620d0c002e5a39ffee6efefa63b",
        "e5b8a56358296f6ab1ece45b1e1ca65e",
        "e84bc4763e15bf4544e915a8d8e01a78",
        "f1d7b74524e80a288077608b21789951",
        "f3a9b79e8b102d5e1e6663c7da137c95",
        "f4faf0fd0115eed6dea11f9dee0404a9",
        "f77fc1793dbd41d1b47c87fce606af3b",
        "f86cc390c0c90958a0c278ca18b54615",
        "f94f0f435bc14e45ea5dd5ac2f21fd12",
        "f98e176cddcdee3b56c9a3c7cfa0e3a7",
        "fb55ab5f9a83bb23a35c3e6a7d51316a",
    ]
)
"""The digests of all programs that ``nextchar_training.export.graph`` has written since format 2. A test of it builds
them all and says which one is missing."""

_LAYERED = re.compile(rb"(?!axis_)(.+?)_(\d{1,9})(_.+)?")  # a name that belongs to the layer of that number


def digest(model: Message, layers: int) -> str:
    """Returns the beginning of the SHA-256 of the program of ``model``, in hexadecimal."""
    programs = [_program(graph, layers) for graph in model.get("graph", [])]
    return hashlib.sha256(repr((model.get("ir_version"), model.get("operators"), programs)).encode()).hexdigest()[:32]


def _program(graph: Message, layers: int) -> list[object]:
    """Returns the names of the inputs and outputs of ``graph`` and its nodes, of two layers at most.

    The nodes of a further layer follow if they aren't those of the second, which no program of ours has.
    """
    values = [[value.get("name", [b""])[0] for value in graph.get(side, [])] for side in ("input", "output")]
    program: list[object] = [_of_two_layers(names, layers) for names in values]
    nodes_of: dict[int, list[object]] = {}
    for node in graph.get("node", []):
        layer = _layer(node.get("output", [b""])[0])
        one = _node(node, layer, layers)
        nodes_of.setdefault(layer, []).append(one)
        if layer < 2:
            program.append(one)
    return [*program, *(nodes for layer, nodes in nodes_of.items() if layer > 1 and nodes != nodes_of.get(1))]


def _node(node: Message, layer: int, layers: int) -> tuple[object, ...]:
    """Returns the parts of ``node``, which makes a value of ``layer``, with the names that they have in two layers."""
    attributes = [
        [attribute.get(part) for part in ("name", "type", "i", "ints", "f")]
        + [_program(body, layers) for body in attribute.get("graph", [])]
        for attribute in node.get("attribute", [])
    ]
    sides = [node.get(side, []) for side in ("input", "output")]
    if layer < 2:
        names = [_of_two_layers(side, layers) for side in sides]
    else:
        names = [[_moved(name, {layer: 1, layer - 1: 0}) for name in side] for side in sides]
    return node.get("domain", [b""]), node.get("operator"), *names, attributes


def _of_two_layers(names: list[bytes], layers: int) -> list[bytes]:
    """Returns ``names`` without those of further layers, if the second layer's is among them too.

    If it isn't, a name of the last layer becomes that of the second: the readout reads the last one.
    """
    kept = []
    for name in names:
        second = _moved(name, {layer: 1}) if (layer := _layer(name)) > 1 else name
        if second == name or second not in names or names.count(name) > 1:
            kept.append(_moved(name, {max(layers - 1, 1): 1}))
    return kept


def _moved(name: bytes, layers: dict[int, int]) -> bytes:
    """Returns the name that stands for ``name`` in another layer, from ``layers``; the same if they don't say."""
    found = _LAYERED.fullmatch(name)
    if not found or int(found[2]) not in layers:
        return name
    return b"%s_%d%s" % (found[1], layers[int(found[2])], found[3] or b"")


def _layer(name: bytes) -> int:
    """Returns the number of the layer that ``name`` belongs to, or 0 if it belongs to none."""
    found = _LAYERED.fullmatch(name)
    return int(found[2]) if found else 0
