"""Every setting of the server, once: its flag, its environment variable, its default and its sentence."""

import argparse
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image

from serving import setting_values as values

VARIABLE_PREFIX = "SERVING_"
SECRETS = ("api_key",)  # never shown
MAX_PICTURES = 64  # in a request; clients are told, and it is no setting
# Pillow itself refuses pictures of twice its own limit, so a greater limit than that could not be kept.
PILLOW_PIXEL_LIMIT = 2 * (Image.MAX_IMAGE_PIXELS or 0)


class UsageError(Exception):
    """A mistake that a person can mend; its text is one sentence."""


def _processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _setting(parse: Callable[[str], Any], metavar: str, sentence: str) -> dict[str, Any]:
    """Describe one setting; ``parse`` raises ValueError whose text says what was expected."""
    return {"parse": parse, "metavar": metavar, "sentence": sentence}


@dataclass(frozen=True)
class Settings:
    """What the server needs to know before it starts."""

    models_dir: Path = field(
        default=Path("models"), metadata=_setting(Path, "DIR", "folder of the models: DIR/<model>/<version>/model.onnx")
    )
    model: str = field(
        default="cifar10",
        metadata=_setting(
            values.model_name, "NAME", "model to use where none is named; its highest valid version is taken"
        ),
    )
    versions: int = field(
        default=4,
        metadata=_setting(
            values.whole_number(1, 1000),
            "COUNT",
            "how many versions of each model, its highest valid ones, stay loaded",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=_setting(values.host, "ADDRESS", "address to listen on; 0.0.0.0 is every IPv4 address"),
    )
    port: int = field(
        default=8000,
        metadata=_setting(values.whole_number(0, 65535), "PORT", "port to listen on; 0 takes any free one"),
    )
    require_cuda: bool = field(
        default=False, metadata=_setting(values.yes_or_no, "", "refuse to start unless the CUDA provider works")
    )
    max_body_bytes: int = field(
        default=5_000_000,
        metadata=_setting(
            values.whole_number(1, 2**31), "BYTES", "greatest request body; a greater one is answered with 413"
        ),
    )
    max_batch_bytes: int = field(
        default=50_000_000,
        metadata=_setting(values.whole_number(1, 2**31), "BYTES", "the same for several pictures in one request"),
    )
    max_upload_memory: int = field(
        default=1_000_000_000,
        metadata=_setting(
            values.whole_number(1, 2**40),
            "BYTES",
            "greatest sum of the request bodies that are here at once; more is answered with 503",
        ),
    )
    max_pixels: int = field(
        default=40_000_000,
        metadata=_setting(
            values.whole_number(1, PILLOW_PIXEL_LIMIT), "PIXELS", "greatest picture, width x height, before decoding"
        ),
    )
    head_timeout: float = field(
        default=10.0,
        metadata=_setting(values.seconds, "SECONDS", "time in which a request's headers must have arrived"),
    )
    upload_timeout: float = field(
        default=30.0, metadata=_setting(values.seconds, "SECONDS", "time in which a request's body must have arrived")
    )
    inference_threads: int = field(
        default=_processors(),
        metadata=_setting(
            values.whole_number(1, 1024),
            "COUNT",
            "threads that share the network's computations, and the decoding",
        ),
    )
    workers: int = field(
        default=1,
        metadata=_setting(
            values.whole_number(1, 256),
            "COUNT",
            "processes that answer on the port; they share the threads, the queue and the memory",
        ),
    )
    max_queue: int = field(
        default=512,
        metadata=_setting(
            values.whole_number(1, 1_000_000),
            "COUNT",
            "greatest number of pictures that wait; more are answered with 503",
        ),
    )
    max_wait: float = field(
        default=20.0,
        metadata=_setting(
            values.seconds,
            "SECONDS",
            "how long a picture may have to wait for those before it, by the time that decoding them and their models "
            "take; a longer wait is answered with 503",
        ),
    )
    api_key: str = field(
        default="",
        metadata=_setting(
            values.api_key,
            "KEY",
            "who asks for predictions must show this key; in a variable or a file others don't see it",
        ),
    )
    api_key_file: Path | None = field(
        default=None, metadata=_setting(Path, "FILE", "file of such keys, one a line; any of them will do")
    )
    protect_metrics: bool = field(
        default=False,
        metadata=_setting(values.yes_or_no, "", "ask for a key on /metrics and /models too; probes are always open"),
    )
    poll_interval: float = field(
        default=2.0,
        metadata=_setting(
            values.seconds, "SECONDS", "pause between two looks for new or withdrawn models and versions"
        ),
    )
    shutdown_timeout: float = field(
        default=30.0, metadata=_setting(values.seconds, "SECONDS", "time that requests under way have after SIGTERM")
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=_setting(
            values.origins,
            "ORIGINS",
            "whose pages may ask from a browser: https://example.org,http://localhost:5173, or *",
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_setting(
            values.log_level,
            "LEVEL",
            f"least severe line to log ({', '.join(values.LOG_LEVELS)}); info has one line a request",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=_setting(values.log_format, "FORMAT", "text to read, or json: an object a line, for machines"),
    )
    otlp_endpoint: str = field(
        default="",
        metadata=_setting(
            values.collector, "URL", "OpenTelemetry collector to send traces to by OTLP over HTTP; needs the extra otel"
        ),
    )


class Parser(argparse.ArgumentParser):
    """Has flags that are written out, and raises UsageError where argparse would print its usage and exit."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists every flag.")


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags and ``SERVING_*`` variables; a flag beats its variable, an empty variable counts as unset.

    Raises UsageError when a value is wrong or a flag unknown, SystemExit(0) after ``--help``.
    """
    parser = Parser(
        prog="python -m serving",
        description="Serve a picture classifier: POST a picture to /predict, or open / in a browser.",
        epilog="A flag beats its variable. Stop with Ctrl-C or SIGTERM: requests under way are answered. "
        "To classify files without a server: python -m serving predict --help.",
    )
    add_flags(parser, [setting.name for setting in fields(Settings)])
    return chosen_settings(vars(parser.parse_args(list(arguments))), environment)


def add_flags(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """Add the flags of the settings with these names."""
    for setting in fields(Settings):
        if setting.name not in names:
            continue
        flag = "--" + setting.name.replace("_", "-")
        default = f"default: {_shown(setting.default)}; variable: {_variable(setting.name)}"
        text = f"{setting.metadata['sentence']} ({default})"
        if isinstance(setting.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(flag, metavar=setting.metadata["metavar"], help=text)


def chosen_settings(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Choose between flag, variable and default; a setting whose flag the parser does not have keeps its default.

    ``given`` maps names of settings to what their flags said, None where one was left out. Raises UsageError.
    """
    chosen = {s.name: _value(s, given[s.name], environment) for s in fields(Settings) if s.name in given}
    return Settings(**chosen)


def _value(setting: Any, flag_value: str | bool | None, environment: Mapping[str, str]) -> Any:
    """Choose between flag, variable and default, in this order."""
    if isinstance(flag_value, bool):
        return flag_value
    variable = _variable(setting.name)
    source, text = ("--" + setting.name.replace("_", "-"), flag_value)
    if text is None:
        source, text = (variable, environment.get(variable) or None)
    if text is None:
        return setting.default
    try:
        return setting.metadata["parse"](text)
    except ValueError as error:
        told = "" if setting.name in SECRETS else f", not {text!r}"
        raise UsageError(f"{source} must be {error}{told}.") from None


def _variable(name: str) -> str:
    return VARIABLE_PREFIX + name.upper()


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "off"
    if default in ("", None, ()):
        return "none"
    return f"{default:g}" if isinstance(default, float) else str(default)
