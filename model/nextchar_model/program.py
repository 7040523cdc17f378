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
        "006b506a9922eb55a0bb990be448fdcf",
        "016dc0e1d90795901b8f4e9335a963c9",
        "03a6ba1c1c06bb7efbe47739280d29b6",
        "0a75b7806c84440f64ae4313e380503a",
        "0a891c6d5ad264790202bc0806887892",
        "0ad1033e67e3121f5f43857e50609fbf",
        "0ad3b83876160111f7dda7beb61d590a",
        "0c8c54b4cf85655b3e17b9df2675581e",
        "0cffc78c8144cdccff8ad3b1f3fa7c97",
        "0ea4612a554dc9f48d09921d670b8cb1",
        "0ec10b0a4a0c4fe236e3b1e6d636b490",
        "0eeac1dde8504857c5746478380dce8d",
        "0f3eeb74d07e018bd7b64b077872b846",
        "1137e8de0b81208d48beddcbe06fe084",
        "12beb5da9856c5b58009a89d8842a443",
        "18b296a2623abfc9c8aae2b8df4dece3",
        "19e22fef3818ed4cb4c574639584b598",
        "1a168eeea8d7259a3e87e470815ff043",
        "1a3453b316d412cd9503e8ddecf21465",
        "1bd1e4176270df552b731ea32a2da88b",
        "1e99ba17f48445ec2195bcb4bc0f055e",
        "1fe2dfe16ae83ca4bdf5e1e3b23ff12b",
        "21b700a43377f363ee6900fa2ff633a1",
        "2448c61cd00cbd5dd283d1ecdc33d2f5",
        "24a486ccf5c9259384f88bf2d09d2ef6",
        "25a6e29b4898102871b62699acd65a0b",
        "26b9154a9a00e15983d30c7e49ecf582",
        "26ff2915e58743ac3114317ea7f35e38",
        "271afde276fc9bdb999ebebbd0c78658",
        "27898571744dcfe69d040650e2d3b61e",
        "297eba878cbb7062a38a2c8536e97a05",
        "29867df3ab8fb3df445cd6081e806673",
        "2e59344557a70b36eea984df3e6e1dc6",
        "2eb1341ce0d1c4d581168d7c9d42939e",
        "30aaf5c512ab086bf7239a38f7e3da2b",
        "335fa8e2460f58a24b3d3fb372b395a7",
        "33bf6d433a5ede012b4b09acb21ae12a",
        "33efd193023054c3dbd3c0b12c0a9c35",
        "3bc5534a09433a539f56de12328f4d7d",
        "3d4d5321042b7cb155ca461a4fdf841f",
        "3e5152155098d5ee3e8f1c1bcb25067c",
        "3f56896d0fca608f1c23a620cd16fdcd",
        "3f6e4c3b3c109c269e90445f86f3867c",
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
        "53f38aeb8cafe240231cd592028e569e",
        "56255fa4b2d8d72e1f3599354a557538",
        "59a9bb3595c9381dbed447e77daddb76",
        "5ad94e8a16a61bd34e4f8322508a76b7",
        "5e4f47a083c88883ad13ec65d362e873",
        "5e9abeef840813a517316e34207345e1",
        "60e009c3208be76ebc0f4e577942c5fb",
        "615acb73aed0146b648354410b913970",
        "64b776e62501243c8d4761cbf2a9bfe8",
        "6532e963863562efe70ec60de4d21225",
        "6695f05549da18455950c63eef66f317",
        "679a1246d1c3fba2241f3db27270693c",
        "67bfabcb4289169d7883c1348dfdbd00",
        "684836e15bc57a7c3198d575ba5ce092",
        "6933596ef54562ac398987b2932dde3f",
        "6ca7e06c78bb1b1034a7a14ead7bb955",
        "6fd3a8a21816caf89fdd1839b4b672ef",
        "7095546721affefc1353a08273eade28",
        "73b51b7f8f02c55fe641e490d5029dca",
        "7664b8cdd47874c3bd4b105b9179400f",
        "77b86562a9a4a455ee8de92a12493f8f",
        "7a3daef74091148a5ff72c4e21a49235",
        "7e2f5545adf758149035dea6fede43f8",
        "7f06d3d91130fecec7d4caaee9b7a255",
        "7f203f3b54dace409cad4beb224ba721",
        "81107bae73439ea2de5cde3deba52715",
        "83365613762ae72d3c823e59c0b9b601",
        "83d7bd3cf4773b1b2d825ba3bd50fa9e",
        "8596f02d140126ae7b656292471e798a",
        "85edce2b4eb3f3109c03f6388ba9acfb",
        "88b28f42f9b5da309c09b96f19571da7",
        "89cb68b28ffc96e19d79fcb79130c1a1",
        "8e3acb08d634bb319025901b54e63433",
        "9059013e81dac74d3c8bf812dd242441",
        "9124b1c92c59ae896381e2f9e5cd901f",
        "9155ef12de047b38dbb119f2c7438aed",
        "91674d9c3e289b10c6868404a5784b31",
        "918467a49783e912751b3cfa968248b3",
        "95063cc063bc051d8c26171f42629c4d",
        "96ce75cff48fd40ba913150bb4e917e9",
        "981e82a19b199fb2a20a0afd4c671d23",
        "98fcf3f34e54e0bee3eea6992b269eae",
        "9968f72f0ea4d0c169dda3a2ac93a33d",
        "99fa126490267f3f5b8ecad6b9c2df9b",
        "9a722ee28e23f859b279b628964b4884",
        "9c7de405932d654cfda1b7068da82cc9",
        "9de2db199c218897f4467c3ebe96feff",
        "9ed0c84ef1c3c88c91ad97ccf864eb85",
        "9f1fb3b0c38838aeece220632290169c",
        "a0320e4ec42cb04222319fe12421dca1",
        "a1bb1af0ec853b077debe3eccc3c2ae0",
        "a2bd46b9a6ccfeff580c37403949b996",
        "a3e6b38b663493d9309366c4cb55268e",
        "a5290402222a07f6d16aeb1df8601c55",
        "a63717d8d3051e9e0646c38b8444d2af",
        "a69e56879683baddbc54cca89357f932",
        "ab402c88d7b17f3b043adb89f02f78df",
        "ab6888d2535c08d8c148012e882bb522",
        "abd392d1e1fc447d4c5adccabddb8788",
        "ad28d73ea1e223ed82c5077f525911ca",
        "ae9e47d2a4e77bc8e08de8f0bd45f373",
        "aedc0a58e14bc759c646fe2ad4947e03",
        "af7089c9ab89ef432507696c79b73833",
        "b2c3eeb4ccbb2a9c13f687a254fb9e48",
        "b3298893b31fdbf7471306b38a0c21ff",
        "b44434cd950aa59580f78f4c7dc68ca7",
        "b47eaef0ce31424d07c9fe5cb3fe6d04",
        "b6cb646bcf0bf5bbe11180cfa77fb523",
        "b72751ac8f056c1bedd4e9d78d173a06",
        "b988eb48ea6b9df9352289c0e908807b",
        "bc0612750b2683bc3bc0d7a99f314d89",
        "bc4fde616047e5c02276c7107d89fa99",
        "be5dbe6c79a4a24b0f0e602f970d12c9",
        "c07486d6a146648a4c2e858eb84b0ddf",
        "c40489099b0e6154ed85a7fefdfcf556",
        "c65715b309685fe91b6554a999a7f264",
        "c6e9bc2b30b3cdf4901f4329f1735e34",
        "c738cd3b839afb93d7eaa83551994b05",
        "c99b99dd02f42ef7f3f6d05e0d94897a",
        "cf8df1b3fde850e62c46cc02942d38ea",
        "d1a4e6f9fcc263c9abe07202f504dd79",
        "d8820814d4cba48ba95ba48f4ded173e",
        "d899edabd34da29ef406f709648e88ff",
        "d9ee25eb227e5e5f89d902bd49f2bbd9",
        "da4fa9c9ed69d50633d73d6ee38e7b10",
        "da5f6fdaa5d1802237845d4b3d9516a7",
        "dc0b719607058931469c1c40b4ec57db",
        "dd786ffbac76b189b0d55cb8ba19d107",
        "ddc733a530cec07369e2ce118bf2d598",
        "df87f2cf4cddc06fa4a71cff0dee5759",
        "dfeaf6f6df9663facbe9f3389efe686e",
        "e184d7b2b7da11bdba14ca1b82ca4871",
        "e1f66620d0c002e5a39ffee6efefa63b",
        "e277998c4563aa5215bf5cfbc9acf982",
        "e3f280f8939f06012ab2eb970fa0b374",
        "e4f467277f276cccd1679ed3ca72f89a",
        "e5b8a56358296f6ab1ece45b1e1ca65e",
        "e84bc4763e15bf4544e915a8d8e01a78",
        "e84d57c1e660aa11203d3b43906174b7",
        "eaaed702b4bc8cfcdf0ccfeac448a984",
        "eb8eb57cdb3c2eaf02f6ae1ced2fad96",
        "f1d7b74524e80a288077608b21789951",
        "f3a9b79e8b102d5e1e6663c7da137c95",
        "f4faf0fd0115eed6dea11f9dee0404a9",
        "f618f307a02974de66ac620d1050186d",
        "f6a784e54be3b31e95bb2b45ea07d29a",
        "f77fc1793dbd41d1b47c87fce606af3b",
        "f86cc390c0c90958a0c278ca18b54615",
        "f94f0f435bc14e45ea5dd5ac2f21fd12",
        "f98e176cddcdee3b56c9a3c7cfa0e3a7",
        "fb55ab5f9a83bb23a35c3e6a7d51316a",
        "ff598c79c6cec03aee598def06d6ee3c",
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
