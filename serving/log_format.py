"""The log: lines of text or of JSON on standard error, whoever writes them."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from functools import lru_cache

from serving.current_request import current_request
from serving.log_stream import WriteLine, line_writer


def configure_logging(level: str, log_format: str) -> None:
    """Send everything that this process logs, warns of, or dies from to standard error, in one format."""
    handler = _LineHandler(line_writer())
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: logging.critical("The process died.", exc_info=(kind, error, trace))
    threading.excepthook = _log_dead_thread
    # uvicorn tells of its every step; only what goes wrong is news.
    logging.getLogger("uvicorn.error").setLevel("DEBUG" if level == "debug" else "WARNING")
    logging.getLogger("PIL").setLevel("WARNING")


class _LineHandler(logging.Handler):
    def __init__(self, write: WriteLine) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """Time, level and message; the request's ids in brackets; an exception on further lines, which are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of the exception: nothing that a client sent can begin another."""
        request_id, trace_id = _ids(record)
        ids = text_ids(request_id, trace_id) if request_id else ""
        line = f"{local_time(int(record.created))} {record.levelname:<7} {one_line(record.getMessage().strip())}{ids}"
        return "\n  ".join([line, *map(one_line, _exception(self, record).splitlines())])


class JsonFormatter(logging.Formatter):
    """An object a line: time (RFC 3339, UTC), level, logger, process, message; request_id, trace_id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, in ASCII."""
        fields: dict[str, object] = {
            "time": utc_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage().strip(),
        }
        request_id, trace_id = _ids(record)
        known = {"request_id": request_id, "trace_id": trace_id, "exception": _exception(self, record)}
        return json_line(fields | {name: value for name, value in known.items() if value})


# With no argument of its own, json.dumps makes an encoder for every call.
json_line = json.JSONEncoder(separators=(",", ":")).encode


def text_ids(request_id: str, trace_id: str) -> str:
    """How a line of text ends that belongs to a request."""
    return f" [{request_id}, trace {trace_id}]" if trace_id else f" [{request_id}]"


def one_line(text: str) -> str:
    """Escape what is not printable, as Python writes it: line breaks, terminal sequences, bidirectional marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@lru_cache(maxsize=2)
def local_time(second: int) -> str:
    """A time in seconds since the epoch, as lines of text begin with it: local, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def utc_time(seconds: float) -> str:
    """The same by RFC 3339: UTC, to the millisecond."""
    milliseconds = int(1000 * seconds)
    return f"{_utc_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=2)
def _utc_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _ids(record: logging.LogRecord) -> tuple[str, str]:
    """Of the request that a line is about: what `extra` says, or else that of the task which writes it."""
    given: str = getattr(record, "request_id", "")
    request = current_request()
    return (given, "") if given or request is None else (request.id, request.trace_id)


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _log_dead_thread(died: threading.ExceptHookArgs) -> None:
    if died.exc_value is not None:
        name = died.thread.name if died.thread else "unknown"
        trace = (died.exc_type, died.exc_value, died.exc_traceback)
        logging.critical("The thread %s died.", name, exc_info=trace)
