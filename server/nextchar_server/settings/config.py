"""The configuration: options and ``NEXTCHAR_*`` variables, checked once, then frozen.

An option takes precedence over its variable, and a variable over the default. ``cli`` reads both into ``Config``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from cyclopts import Parameter
from pydantic import AllowInfNan, ConfigDict, field_validator, model_validator
from pydantic.dataclasses import dataclass

from nextchar_cli.wording import quoted

from .. import cores
from ..listening import plain_host
from ..shares import MOST_LANES, MOST_WORKERS
from ..tls.certificate import CertificateFiles
from .model_paths import check_name, name_and_path, split_at_commas

_ORIGIN = re.compile(r"https?://[^/?#@\s]+")
_EXEMPT_PARTS = ("metrics", "reflection", "models")

PACKAGED_MODEL = Path(__file__).parents[1] / "models" / "shakespeare.onnx"


def _split_at_commas(hint: Any, value: str, *, delimiter: str | None = None) -> list[str]:
    """Splits the value of a variable. Its signature is that of cyclopts."""
    return split_at_commas(value)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Config:
    """All settings of a server."""

    model: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="[NAME=]PATH",
            show_default="the packaged shakespeare.onnx, unless --models-dir is given",
            env_var_split=_split_at_commas,
            help="Model file. Repeat the option to serve several; the first is the default model. NAME is the file's "
            "name without .onnx unless given. A value that exists as a file is that file, even with = in it. In "
            "NEXTCHAR_MODEL, commas separate several models. A file that is replaced is loaded while the server runs. "
            "NAME@10% is a version that serves 10 % of the requests for NAME.",
        ),
    ] = ()
    """Model files, each [NAME=]PATH."""
    models_dir: Annotated[Path | None, Parameter(metavar="PATH", show_default="none")] = None
    """Folder of which every NAME.onnx is served. Files that are added, replaced or removed are noticed while the server
    runs; rename them into place. NAME@10%.onnx is a version that serves 10 % of the requests for NAME."""
    keep_versions: Annotated[int, Ge(0), Le(64), Parameter(metavar="NUMBER")] = 1
    """Versions of a model that stay loaded after they were replaced, for their resume tokens and for requests that name
    them as NAME@DIGEST."""
    host: Annotated[str, MinLen(1), Parameter(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 means every IPv4 address of this machine."""
    grpc_port: Annotated[int, Ge(0), Le(65535), Parameter(metavar="PORT")] = 50051
    """Port of gRPC; 0 means any free port."""
    http_port: Annotated[int, Ge(0), Le(65535), Parameter(metavar="PORT")] = 8080
    """Port of the HTTP API, the playground, /metrics, /healthz and /readyz; 0 means any free port."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run. auto: CUDA if this machine has it and the model is fp32; the log says which and why."""
    workers: Annotated[
        Annotated[int, Ge(1), Le(MOST_WORKERS)] | Literal["auto"],
        Parameter(metavar="NUMBER|auto", show_choices=False),
    ] = 1
    """Processes that share the ports, each with its own event loop, lanes and cores. auto: one per core, as far as
    memory allows."""
    lanes: Annotated[
        int | None,
        Ge(1),
        Le(cores.MOST),
        Parameter(metavar="NUMBER", show_default=f"one per core, {MOST_LANES} at most"),
    ] = None
    """Threads per model and worker. Each advances a batch of its own."""
    threads_per_lane: Annotated[int, Ge(1), Le(256), Parameter(metavar="NUMBER")] = 1
    """Threads that share the work of one step of a lane."""
    max_batch: Annotated[int, Ge(1), Le(4096), Parameter(metavar="NUMBER")] = 1024
    """Most texts that one lane advances at once."""
    queue_size: Annotated[int, Ge(0), Parameter(metavar="NUMBER")] = 1024
    """Most requests per model that wait for a place in a batch; more are refused."""
    turn_budget: Annotated[float, Gt(0), Le(1), AllowInfNan(False), Parameter(metavar="SECONDS")] = 0.005
    """Length of a lane's turn, which is about how long a new request waits. A turn has at least 16 steps."""
    drain_timeout: Annotated[float, Ge(0), Le(86_400), AllowInfNan(False), Parameter(metavar="SECONDS")] = 30.0
    """Time that running texts have to finish after SIGTERM."""
    lame_duck: Annotated[float, Ge(0), Le(86_400), AllowInfNan(False), Parameter(metavar="SECONDS")] = 0.0
    """Time after SIGTERM in which calls are still taken, though health says that they aren't, so that balancers have
    sent them elsewhere before the drain begins. In Kubernetes, 5."""
    max_characters: Annotated[int, Ge(1), Le(2**31), Parameter(metavar="NUMBER")] = 100_000
    """Most characters that one request may generate."""
    max_prompt_characters: Annotated[int, Ge(1), Le(2**20), Parameter(metavar="NUMBER")] = 65_536
    """Most characters of a prompt or of a text to score."""
    stall_timeout: Annotated[float, Gt(0), Le(86_400), AllowInfNan(False), Parameter(metavar="SECONDS")] = 60.0
    """Time after which a stream ends whose reader takes nothing. Sooner if its place is needed for others."""
    memory_budget: Annotated[int, Ge(16), Le(2**20), Parameter(metavar="MIB")] = 256
    """Memory for all calls together, in MiB: messages, prompts, outboxes and answers. It comes on top of the models.
    A call that doesn't fit is refused."""
    prefix_cache: Annotated[int, Ge(0), Le(2**20), Parameter(metavar="MIB")] = 64
    """Memory per model for states after prompts, in MiB, so that a prompt which repeats or extends another one isn't
    read from its start. It comes on top of the memory budget; 0 keeps none."""
    token_key_file: Annotated[Path | None, Parameter(metavar="PATH", show_default="a random key")] = None
    """File with the keys of resume tokens: one per line, of at least 32 bytes of any text. The first one signs; all are
    accepted. Replicas with a common key continue each other's texts. Without it, NEXTCHAR_TOKEN_KEY has the keys."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """Form of a line of the log. console: for people, in colours on a terminal."""

    # Bounds of connections and calls.
    max_connections: Annotated[int, Ge(1), Le(2**20), Parameter(metavar="NUMBER")] = 2048
    """Most connections to the gRPC port at once; one more is closed at once. Fewer if the process may open few
    files."""
    max_http_connections: Annotated[int, Ge(1), Le(4096), Parameter(metavar="NUMBER")] = 64
    """Most connections to the HTTP port at once that the API isn't answering on; one more closes the oldest."""
    max_http_requests: Annotated[int, Ge(1), Le(2**20), Parameter(metavar="NUMBER")] = 512
    """Most requests of the HTTP API at once, streams included; more are refused."""
    http_cors_origin: Annotated[
        tuple[str, ...],
        Parameter(metavar="ORIGIN", show_default="none", env_var_split=_split_at_commas),
    ] = ()
    """Origin whose pages may call the HTTP API from a browser, such as https://example.org, or *. Repeat the option for
    several."""
    max_calls_per_connection: Annotated[int, Ge(1), Le(2**20), Parameter(metavar="NUMBER")] = 6000
    """Most calls of one connection at once. Clients wait with the next one, or use another connection."""
    max_watches_per_connection: Annotated[int, Ge(1), Le(4096), Parameter(metavar="NUMBER")] = 8
    """Most calls of one connection that watch the health. Clients need one for each service that they watch."""
    handshake_timeout: Annotated[float, Gt(0), Le(3600), AllowInfNan(False), Parameter(metavar="SECONDS")] = 3.0
    """Time after which a connection to the gRPC port is closed that hasn't begun to speak HTTP/2."""
    connection_idle: Annotated[float, Ge(1), Le(86_400), AllowInfNan(False), Parameter(metavar="SECONDS")] = 60.0
    """Time after which a connection without calls is told to go away. Its client connects again when it has a call."""
    connection_age: Annotated[
        float | None, Ge(1), Le(10**6), AllowInfNan(False), Parameter(metavar="SECONDS", show_default="any age")
    ] = None
    """Age, 10 % more or less, at which a connection is told to go away, so that clients find new replicas. Its calls
    continue."""
    connection_age_grace: Annotated[
        float | None, Ge(1), Le(10**6), AllowInfNan(False), Parameter(metavar="SECONDS", show_default="no end")
    ] = None
    """Time after which such a connection is closed, even if it has calls."""
    message_timeout: Annotated[float, Gt(0), Le(3600), AllowInfNan(False), Parameter(metavar="SECONDS")] = 20.0
    """Time in which a request message must arrive: with 20 s, the largest one over a line of 50 KB per second."""

    # TLS.
    tls_cert: Annotated[Path | None, Parameter(metavar="PATH", show_default="no TLS")] = None
    """File in PEM with the certificate for both ports, and after it the intermediate ones. It is read again when it
    changes, and on SIGHUP."""
    tls_key: Annotated[Path | None, Parameter(metavar="PATH", show_default="no TLS")] = None
    """File in PEM with the key of that certificate, without a password."""
    tls_client_ca: Annotated[Path | None, Parameter(metavar="PATH", show_default="callers need no certificate")] = None
    """File in PEM with the certificates of those who sign the certificates of callers. With it, a caller needs a
    certificate on both ports, except for /healthz and /readyz."""

    # Callers.
    auth_tokens_file: Annotated[Path | None, Parameter(metavar="PATH", show_default="everybody may call")] = None
    """File with the callers that may call: per line a name, the SHA-256 of its token in hexadecimal, and, if its limits
    aren't the default ones, streams=NUMBER and rate=NUMBER. It is read again when it changes, and on SIGHUP."""
    auth_jwks_file: Annotated[Path | None, Parameter(metavar="PATH", show_default="no signed tokens")] = None
    """File with the public keys of an issuer of JSON Web Tokens, as a JSON Web Key Set, so that whoever has such a
    token may call. The caller is its subject. It is read again likewise."""
    auth_jwt_issuer: Annotated[str, Parameter(metavar="NAME")] = ""
    """Issuer that these tokens must name."""
    auth_jwt_audience: Annotated[str, Parameter(metavar="NAME")] = ""
    """Audience that these tokens must name."""
    auth_exempt: Annotated[str, Parameter(metavar="NAMES", show_default="none")] = ""
    """Parts that need no token, separated by commas: metrics (/metrics), reflection, models (GetModel, ListModels,
    /v1/models). The
    health service, /healthz and /readyz never need one."""
    caller_streams: Annotated[int, Ge(0), Le(10**9), Parameter(metavar="NUMBER")] = 0
    """Most texts of one caller at once, scores included; more are refused. 0 is no limit."""
    caller_rate: Annotated[int, Ge(0), Le(10**9), Parameter(metavar="NUMBER")] = 0
    """Most characters of one caller per second: of prompts, generated, and scored. Beyond it, its texts are slowed and
    new ones refused. 0 is no limit."""

    @field_validator("model")
    @classmethod
    def _check_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        names = [name for name, _ in map(name_and_path, values)]
        for value, name in zip(values, names, strict=True):
            check_name(value, name)
            if names.count(name) > 1:
                raise ValueError(f"two models are named {name!r}; name one of them with NAME=PATH")
        return values

    @field_validator("workers", mode="before")
    @classmethod
    def _check_workers(cls, value: object) -> object:
        if value == "auto" or isinstance(value, int) or re.fullmatch(r"[+-]?\d+", str(value), re.ASCII):
            return value
        raise ValueError(f"{quoted(value)} is invalid; it must be a whole number or auto")

    @field_validator("http_cors_origin")
    @classmethod
    def _check_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if value != "*" and not _ORIGIN.fullmatch(value):
                raise ValueError(f"{value!r} is not an origin; write it as https://example.org, without a path")
        return values

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        return plain_host(value)

    @model_validator(mode="after")
    def _check_ports(self) -> Config:
        if self.grpc_port == self.http_port != 0:
            raise ValueError(f"--grpc-port and --http-port are both {self.grpc_port}; choose another one for HTTP")
        return self

    @model_validator(mode="after")
    def _check_age(self) -> Config:
        if self.connection_age is None and self.connection_age_grace is not None:
            raise ValueError("--connection-age-grace needs --connection-age, after which it begins")
        return self

    @model_validator(mode="after")
    def _check_tls(self) -> Config:
        if (self.tls_cert is None) != (self.tls_key is None):
            given, absent = ("--tls-cert", "--tls-key") if self.tls_key is None else ("--tls-key", "--tls-cert")
            raise ValueError(f"{given} needs {absent}: a certificate and its key belong together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key, because only TLS asks for certificates")
        return self

    @field_validator("auth_exempt")
    @classmethod
    def _check_exempt(cls, value: str) -> str:
        for part in filter(None, value.split(",")):
            if part not in _EXEMPT_PARTS:
                raise ValueError(f"{part!r} can't be exempt; {', '.join(_EXEMPT_PARTS)} can")
        return value

    @model_validator(mode="after")
    def _check_callers(self) -> Config:
        signed = {
            "--auth-jwks-file": self.auth_jwks_file,
            "--auth-jwt-issuer": self.auth_jwt_issuer,
            "--auth-jwt-audience": self.auth_jwt_audience,
        }
        if any(signed.values()) and (absent := [name for name, value in signed.items() if not value]):
            raise ValueError(f"signed tokens also need {' and '.join(absent)}")
        if not self.has_callers and (self.auth_exempt or self.caller_streams or self.caller_rate):
            name = (
                "--auth-exempt" if self.auth_exempt else "--caller-streams" if self.caller_streams else "--caller-rate"
            )
            raise ValueError(f"{name} needs --auth-tokens-file or --auth-jwks-file, which tell callers apart")
        return self

    @property
    def has_callers(self) -> bool:
        """Whether calls need a credential."""
        return self.auth_tokens_file is not None or self.auth_jwks_file is not None

    @property
    def exempt(self) -> frozenset[str]:
        """The parts that need none even so."""
        return frozenset(filter(None, self.auth_exempt.split(",")))

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """The files of TLS; None without it."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return CertificateFiles(self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def models(self) -> dict[str, Path]:
        """The model files by name, the default one first; without those of ``models_dir``."""
        packaged = () if self.models_dir else (str(PACKAGED_MODEL),)
        return dict(map(name_and_path, self.model or packaged))
