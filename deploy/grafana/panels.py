"""The panels of the dashboard: titles, units and queries.

Invariant: every query runs in a test against a Prometheus that scrapes a loaded server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SERVER = 'job="nextchar",instance=~"$instance"'
_MODEL = f'{_SERVER},model=~"$model"'
_WINDOW = "[$__rate_interval]"


@dataclass(frozen=True)
class Number:
    """One number; from ``trouble`` on, it has the second of its two colours."""

    title: str
    description: str
    query: str
    unit: str = "short"
    trouble: float | None = None
    colours: tuple[str, str] = ("green", "red")
    without: str = "-"
    """Shown without a value."""


@dataclass(frozen=True)
class Panel:
    """Lines over time: queries by their legends."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]


def _rate(metric: str, by: str, labels: str = _MODEL) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}{_WINDOW}))"


def _quantiles(metric: str, labels: str = _MODEL, shares: tuple[int, ...] = (50, 95, 99)) -> dict[str, str]:
    buckets = _rate(f"{metric}_bucket", "le", labels)
    return {f"p{share}": f"histogram_quantile({share / 100}, {buckets})" for share in shares}


def _mean(metric: str, by: str) -> str:
    return f"{_rate(f'{metric}_sum', by)} / {_rate(f'{metric}_count', by)}"


def _shown(query: str) -> str:
    """Shortens the digests in the legend."""
    return f'label_replace({query}, "digest", "$1", "digest", "(.{{12}}).*")'


def _total(metric: str, by: str, labels: str = _MODEL) -> str:
    return f"sum by ({by}) ({metric}{{{labels}}})"


NUMBERS = (
    Number(
        "Servers", "Servers that Prometheus can scrape.", 'sum(up{job="nextchar"})', trouble=1, colours=("red", "green")
    ),
    Number(
        "Alerts",
        "Alerts that fire: docs/monitoring.md has a remedy for each.",
        'count(ALERTS{alertname=~"Nextchar.*",alertstate="firing"}) or vector(0)',
        trouble=1,
    ),
    Number(
        "Characters per second",
        "Generated, by all models.",
        f"sum(rate(nextchar_generated_characters_total{{{_MODEL}}}{_WINDOW}))",
    ),
    Number(
        "Draining",
        "Servers that were told to stop.",
        f"sum(nextchar_draining{{{_SERVER}}})",
        trouble=1,
        colours=("green", "orange"),
    ),
    Number(
        "Certificate",
        "Time until the first certificate ends. Only servers with TLS have one.",
        f"min(nextchar_tls_certificate_expiry_timestamp_seconds{{{_SERVER}}}) - time()",
        unit="s",
        trouble=14 * 86400,
        colours=("red", "green"),
        without="no TLS",
    ),
    Number(
        "Versions of the server",
        "More than one: a rollout is under way.",
        f"count(count by (version) (nextchar_build_info{{{_SERVER}}}))",
        trouble=2,
        colours=("green", "orange"),
    ),
)

ROWS = {
    "Traffic": (
        Panel(
            "Characters",
            "Characters per second that were generated, and read in prompts and scored texts.",
            "short",
            {
                "{{model}} generated": _rate("nextchar_generated_characters_total", "model"),
                "{{model}} read": _rate("nextchar_prompt_characters_total", "model"),
            },
        ),
        Panel(
            "Calls by method",
            "Calls per second, over gRPC and HTTP.",
            "reqps",
            {
                "{{grpc_method}}": _rate(
                    "grpc_server_started_total",
                    "grpc_method",
                    f'{_SERVER},grpc_service="nextchar.v1.GenerationService"',
                )
            },
        ),
        Panel(
            "Calls by status",
            "Calls per second that ended.",
            "reqps",
            {
                "{{grpc_code}}": _rate(
                    "grpc_server_handled_total", "grpc_code", f'{_SERVER},grpc_service="nextchar.v1.GenerationService"'
                )
            },
        ),
        Panel(
            "Requests by HTTP",
            "Requests per second by route and code; 499 says that the caller left.",
            "reqps",
            {"{{route}} {{code}}": _rate("nextchar_http_requests_total", "route, code", _SERVER) + " > 0"},
        ),
        Panel(
            "Time of requests by HTTP",
            "Time in which 95% of the requests of a route have their whole answers.",
            "s",
            {
                "{{route}}": "histogram_quantile(0.95, "
                + _rate("nextchar_http_request_seconds_bucket", "route, le", _SERVER)
                + ") > 0"
            },
        ),
        Panel(
            "Callers",
            "The ten callers with the most characters per second. Only servers with tokens know them.",
            "short",
            {"{{caller}}": f"topk(10, {_rate('nextchar_caller_characters_total', 'caller', _SERVER)})"},
        ),
    ),
    "Latency": (
        Panel(
            "First character",
            "Time from a call's start to its first character.",
            "s",
            _quantiles("nextchar_time_to_first_character_seconds"),
        ),
        Panel(
            "Between characters",
            "Time per character between two messages of a stream.",
            "s",
            _quantiles("nextchar_inter_character_seconds"),
        ),
        Panel("In the queue", "Time from a call's start to its first turn.", "s", _quantiles("nextchar_queue_seconds")),
        Panel(
            "Whole calls",
            "Time from the start of a call to its end.",
            "s",
            _quantiles("grpc_server_handling_seconds", f'{_SERVER},grpc_service="nextchar.v1.GenerationService"'),
        ),
    ),
    "Capacity": (
        Panel(
            "Streams",
            "Streams in a batch, and the most that there can be; paused ones wait for slow readers.",
            "short",
            {
                "{{model}} active": _total("nextchar_active_streams", "model"),
                "{{model}} most": _total("nextchar_max_active_streams", "model"),
                "{{model}} paused": _total("nextchar_paused_streams", "model"),
                "{{model}} searches": _total("nextchar_active_searches", "model"),
            },
        ),
        Panel(
            "Queue",
            "Requests that wait for a place, and the most that may.",
            "short",
            {
                "{{model}} waiting": _total("nextchar_waiting_requests", "model"),
                "{{model}} most": _total("nextchar_max_waiting_requests", "model"),
            },
        ),
        Panel(
            "Batch rows",
            "Rows per turn of a lane.",
            "short",
            {
                "{{model}} mean": _mean("nextchar_batch_rows", "model"),
                **_quantiles("nextchar_batch_rows", shares=(95,)),
            },
        ),
        Panel(
            "Step of a batch",
            "Time that one step takes, observed once per turn.",
            "s",
            _quantiles("nextchar_step_seconds"),
        ),
        Panel(
            "Memory of calls",
            "Memory that calls hold, and the budget.",
            "bytes",
            {
                "{{instance}}": _total("nextchar_memory_bytes", "instance", _SERVER),
                "{{instance}} budget": _total("nextchar_memory_budget_bytes", "instance", _SERVER),
            },
        ),
        Panel(
            "Processor",
            "Cores that each server uses.",
            "short",
            {"{{instance}}": _rate("process_cpu_seconds_total", "instance", _SERVER)},
        ),
    ),
    "Outcome": (
        Panel(
            "Rejections",
            "Refused calls per second: docs/operations.md has a remedy for each reason.",
            "reqps",
            {"{{reason}}": f"{_rate('nextchar_rejected_total', 'reason', _SERVER)} > 0"},
        ),
        Panel(
            "Ends of texts",
            "Finished texts per second, by reason.",
            "reqps",
            {"{{reason}}": _rate("nextchar_finished_total", "reason")},
        ),
        Panel(
            "Lengths",
            "Characters per prompt and per text.",
            "short",
            {
                **{f"prompt {name}": query for name, query in _quantiles("nextchar_prompt_length_characters").items()},
                **{f"text {name}": query for name, query in _quantiles("nextchar_text_length_characters").items()},
            },
        ),
        Panel(
            "Constraints",
            "Constraints of requests per second that were compiled, kept from before, or refused.",
            "reqps",
            {"{{result}}": _rate("nextchar_constraints_total", "result", _SERVER)},
        ),
    ),
    "Models": (
        Panel(
            "Traffic by version",
            "Texts per second that each model file began.",
            "reqps",
            {"{{model}} {{digest}}": _shown(_rate("nextchar_version_first_character_seconds_count", "model, digest"))},
        ),
        Panel(
            "First character by version",
            "Mean time to the first character of each model file.",
            "s",
            {"{{model}} {{digest}}": _shown(_mean("nextchar_version_first_character_seconds", "model, digest"))},
        ),
        Panel(
            "Loads",
            "Model files that serve, files that can't be served now, and loads that failed in the last hour.",
            "short",
            {
                "{{model}} serves": f"sum by (model) (nextchar_model_weight{{{_MODEL}}} > bool 0)",
                "refused": f"sum(nextchar_model_files_refused{{{_SERVER}}})",
                "failed in an hour, {{reason}}": (
                    f"sum by (reason) (increase(nextchar_model_load_failures_total{{{_SERVER}}}[1h])) > 0"
                ),
            },
        ),
        Panel(
            "Prefix cache",
            "Part of the long prompts that began with a known prefix.",
            "percentunit",
            {
                "{{model}}": (
                    f"{_rate('nextchar_prefix_hits_total', 'model')} / ({_rate('nextchar_prefix_hits_total', 'model')}"
                    f" + {_rate('nextchar_prefix_misses_total', 'model')})"
                )
            },
        ),
    ),
    "Server": (
        Panel(
            "Delay of the event loop",
            "How late the loop of the calls wakes up.",
            "s",
            _quantiles("nextchar_event_loop_delay_seconds", _SERVER),
        ),
        Panel(
            "Memory",
            "Memory of the processes, and of the prefix cache in them.",
            "bytes",
            {
                "{{instance}}": _total("process_resident_memory_bytes", "instance", _SERVER),
                "{{model}} prefixes": _total("nextchar_prefix_bytes", "model"),
            },
        ),
        Panel(
            "Troubles",
            "Lines of the log that were lost, and certificates and credentials that could not be read, in an hour.",
            "short",
            {
                "log lines": f"sum(increase(nextchar_log_dropped_total{{{_SERVER}}}[1h]))",
                "certificates": f'sum(increase(nextchar_tls_reloads_total{{{_SERVER},result="failed"}}[1h]))',
                "credentials": f'sum(increase(nextchar_credentials_reloads_total{{{_SERVER},result="failed"}}[1h]))',
            },
        ),
    ),
}
