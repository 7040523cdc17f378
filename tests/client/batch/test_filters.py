"""Which texts are kept, and why the others are rejected."""

import random
from pathlib import Path
from typing import Any

import pytest

from nextchar_client import InvalidArgumentError
from nextchar_client.batch.filters import Filters
from nextchar_client.batch.job import Job
from nextchar_client.batch.record import Record
from nextchar_client.batch.seen import Seen
from nextchar_client.batch.source import Made


def judged(text: str, beside: Path | None = None, **fields: Any) -> Record | str:
    filters = Filters(Job(count=1, **fields), beside)
    try:
        return filters.judge(Made(3, text, "stop_sequence"))
    finally:
        filters.close()


def test_a_text_is_split_into_columns() -> None:
    record = judged("Ann|Rome", columns=("name", "city"), delimiter="|")
    assert record == Record(3, "Ann|Rome", ("Ann", "Rome"), "stop_sequence")


def test_another_number_of_fields_is_rejected() -> None:
    assert judged("Ann", columns=("name", "city")) == "fields"
    assert judged("Ann,Rome,9", columns=("name", "city")) == "fields"


def test_the_regular_expression_is_of_the_whole_text() -> None:
    assert judged("Anna", validate_regex="A.*a") == Record(3, "Anna", (), "stop_sequence")
    assert judged("Anna!", validate_regex="A.*a") == "validate-regex"


@pytest.mark.parametrize(
    "expression",
    [
        "len(text) > 3",
        "18 <= int(age) < 100 and name.istitle()",
        "all(character in 'An,20' for character in text)",
        "re.search('[0-9]', fields[1])",
        "number == 3 and finish_reason == 'stop_sequence'",
        "(lambda x: x)(len(text)) == 6",
    ],
)
def test_an_expression_that_is_true_keeps_the_text(expression: str) -> None:
    assert isinstance(judged("Ann,20", columns=("name", "age"), validate=expression), Record)


def test_an_expression_that_is_false_or_fails_rejects_it() -> None:
    assert judged("Ann", validate="len(text) > 3") == "validate"
    assert judged("Ann", validate="int(text) > 3") == "validate (ValueError)"


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("len(text", "is no expression of Python"),
        ("x = 1", "is no expression of Python"),
        ("open(text)", "there is no open; there are text, fields, number, finish_reason, re, abs"),
        ("txt", "there is no txt"),
    ],
)
def test_an_expression_that_can_not_work_is_refused_at_once(expression: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^validate: ") as caught:
        judged("Ann", validate=expression)
    assert complaint in str(caught.value)


def test_lines_of_a_file_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_bytes("\ufeffAnn\r\nCafe\u0301\n".encode())
    assert judged("Ann", not_in=str(path)) == "not-in"
    assert judged("Caf\u00e9", not_in=str(path)) == "not-in"
    assert isinstance(judged("Bob", not_in=str(path)), Record)


def test_a_text_is_unique_among_those_that_were_kept() -> None:
    filters = Filters(Job(count=1, unique=True, validate="number != 1"))
    filters.remember(["before"])
    texts = ["a", "b", "b", "a", "before"]
    reasons = [filters.judge(Made(number, text, "")) for number, text in enumerate(texts)]
    filters.close()
    assert [reason if isinstance(reason, str) else "" for reason in reasons] == ["", "validate", "", "unique", "unique"]


def test_the_set_of_texts_is_exact_and_leaves_no_file(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = ["".join(draw.choices("ab\0\u00e9\U0001f600", k=draw.randrange(6))) for _ in range(5000)]
    known: set[str] = set()
    seen = Seen(tmp_path / "seen")
    for text in texts:
        assert (text in seen) == (text in known)
        assert seen.add(text) == (text not in known)
        known.add(text)
    seen.close()
    assert not list(tmp_path.iterdir())
