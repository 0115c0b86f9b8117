"""The values of settings: a flag's or a variable's text -> what it means.

Each function here raises ValueError whose text says what was expected, to stand behind "must be".
"""

import re
from collections.abc import Callable

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", text) or float(text) <= 0:
        raise ValueError("a number of seconds greater than 0")
    return float(text)


def yes_or_no(text: str) -> bool:
    answers = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if text.lower() not in answers:
        raise ValueError("true or false")
    return answers[text.lower()]


def model_name(text: str) -> str:
    if not MODEL_NAME.fullmatch(text):
        raise ValueError("a folder's name of letters, digits, dots, dashes and underscores")
    return text


def host(text: str) -> str:
    if not text.strip():
        raise ValueError("a host name or an address")
    return text.strip()


def api_key(text: str) -> str:
    # What a header can carry (RFC 6750, section 2.1), and is not guessed in a second.
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,256}", text):
        raise ValueError("8 to 256 letters, digits or any of . _ ~ + / = -")
    return text


def log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def log_format(text: str) -> str:
    if text.lower() not in LOG_FORMATS:
        raise ValueError(" or ".join(LOG_FORMATS))
    return text.lower()


def origins(text: str) -> tuple[str, ...]:
    """Read what browsers send as Origin (RFC 6454, section 7): scheme and host in small letters, no path behind."""
    named = tuple(dict.fromkeys(origin.strip().lower() for origin in text.split(",")))
    if named == ("none",):
        return ()
    if not all(ORIGIN.fullmatch(origin) for origin in named):
        raise ValueError("none, * or origins such as https://example.org, with commas between them and no path")
    return named


def collector(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise ValueError("an address such as http://localhost:4318")
    return text
