"""The list of tokens: which lines are read, and how a wrong one is refused."""

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from nextchar_server.access.callers import Identity, Limits
from nextchar_server.access.token_list import TokenList, digest, read_token_list
from nextchar_server.listening import StartError
from tests.support.pages import ROOT

DEFAULT = Limits(streams=4, rate=100)
A, B = (sha256(token).hexdigest() for token in (b"a", b"b"))


def read(folder: Path, text: str) -> TokenList:
    (folder / "tokens").write_text(text, encoding="utf-8")
    return read_token_list(folder / "tokens", DEFAULT)


def test_a_line_has_a_name_a_digest_and_the_limits_that_differ(tmp_path: Path) -> None:
    listed = read(tmp_path, f"# callers\n\n  ann {A}\nbob {B.upper()} rate=0 streams=9\n")
    assert listed == {
        digest("a"): Identity("ann", DEFAULT, is_listed=True),
        digest("b"): Identity("bob", Limits(streams=9, rate=0), is_listed=True),
    }


def test_a_caller_has_several_tokens_while_one_is_replaced(tmp_path: Path) -> None:
    listed = read(tmp_path, f"ann {A} rate=7\nann {B} rate=7\n")
    assert listed[digest("a")] == listed[digest("b")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s3cret", "it has one word; write NAME SHA256HEX"),
        ("ann s3cret", "its second word isn't a SHA-256 of 64 hexadecimal digits"),
        (f"ann {A[:-2]}", "its second word isn't a SHA-256 of 64 hexadecimal digits"),
        (f"{'n' * 256} {A}", "its name has an invisible character, or more than 255 bytes"),
        (f"a\x1b[2J {A}", "its name has an invisible character, or more than 255 bytes"),
        (f"ann {A} s3cret", "after the digest it may have streams=NUMBER and rate=NUMBER, each once"),
        (f"ann {A} rate=1 rate=2", "after the digest it may have streams=NUMBER and rate=NUMBER, each once"),
        (f"ann {A} rate=s3cret", "its rate isn't a number of at most 9 digits; 0 is no limit"),
        (f"ann {A} streams=-1", "its streams isn't a number of at most 9 digits; 0 is no limit"),
        (f"ann {B}", "its token is on an earlier line already"),
        (f"bob {A} rate=2", "its limits differ from those of an earlier line of the same name; write the same"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_unshown(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(StartError) as caught:
        read(tmp_path, f"bob {B} rate=1\n{line}\n")
    assert str(caught.value) == f"--auth-tokens-file {tmp_path}/tokens: line 2: {message}"


def test_an_empty_list_is_refused_because_it_may_be_half_written(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="has no token; write a line: NAME SHA256HEX"):
        read(tmp_path, "# nobody\n")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_documented_commands_make_a_line(tmp_path: Path) -> None:
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    block = next(part for part in page.split("```bash\n") if part.startswith("token=$(openssl")).split("```")[0]
    command = block + 'printf %s "$token"'
    token = subprocess.run(["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (listed,) = read_token_list(tmp_path / "tokens", DEFAULT).items()
    assert listed == (digest(token), Identity("alice", DEFAULT, is_listed=True))
