import numpy as np

from nextchar_server.text.activations import Activations, Chosen, WaitingActivations

CHOSEN = Chosen(0, (3,), ("hidden",))


def taken(activations: Activations) -> list[float]:
    return [float(value) for value in activations.values.ravel()]


def waiting(*values: float) -> WaitingActivations:
    """Returns those of ids with ``values``."""
    result = WaitingActivations(CHOSEN)
    for value in values:
        result.add(np.full((1, 1, 1), value, np.float32))
    return result


def test_a_character_has_the_values_of_its_last_id() -> None:
    assert taken(waiting(1, 2, 3, 4, 5, 6).take([2, 1, 3])) == [2, 3, 6]


def test_ids_wait_until_their_character_is_taken() -> None:
    ids = waiting(1, 2, 3)
    assert taken(ids.take([1])) == [1]
    assert taken(ids.take([])) == []
    ids.add(np.full((1, 1, 1), 4, np.float32))
    assert taken(ids.take([3])) == [4]


def test_a_character_without_an_id_has_the_values_of_the_one_before() -> None:
    ids = waiting(1, 2)
    assert taken(ids.take([1])) == [1]
    assert taken(ids.take([0, 1, 0])) == [1, 2, 2]
