"""What is common to the styles of signatures."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Any, Mapping


class WebhookError(Exception):
    """Why a webhook is not accepted: missing, malformed, timestamp or mismatch."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass
class Webhook:
    """A webhook that was verified. Its id is the same on every repeat: do the work once
    for each; it is empty where the style has none. at is the time that is signed, in
    Unix seconds."""

    id: str
    at: int | None
    event: Any


def values(headers: Any, name: str) -> list[str]:
    """The values of a header."""
    if hasattr(headers, "get_all"):
        return headers.get_all(name) or []
    pairs = headers.items() if isinstance(headers, Mapping) or hasattr(headers, "items") else headers
    found: list[str] = []
    for k, v in pairs:
        if k.lower() == name.lower():
            found += v if isinstance(v, (list, tuple)) else [v]
    return found


def decode(text: str) -> bytes | None:
    """The bytes of base64, which has one form."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def check_time(seconds: int, now: float, tolerance: int) -> None:
    if abs(seconds - int(now)) > tolerance:
        raise WebhookError("timestamp", f"its time is more than {tolerance} s from now")
