"""Verifies what others send by their ways to sign: the styles of the mesh's hooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import urllib.parse
from typing import Any

from ._signed import Webhook, WebhookError, check_time, decode, values

_max_signatures = 16
_max_header = 8 << 10
_max_id = 256
_styles: dict[str, dict] = {
    "github": {"header": "X-Hub-Signature-256", "prefix": "sha256=", "id": "X-GitHub-Delivery"},
    "slack": {"header": "X-Slack-Signature", "prefix": "v0=", "timestamp": "X-Slack-Request-Timestamp", "content": "v0:{timestamp}:{body}", "id": "/event_id"},
    "stripe": {"header": "Stripe-Signature", "content": "{timestamp}.{body}", "id": "/id"},
    "hmac": {},
    "token": {},
}


def _full(style: Any) -> dict:
    """A style with its defaults."""
    given = {"style": style} if isinstance(style, str) else dict(style)
    known = _styles.get(given.get("style", ""))
    if known is None:
        raise ValueError(f"a style is standard, github, stripe, slack, hmac or token, not {given.get('style')!r}")
    v = {"encoding": "hex", "algorithm": "sha256", "key": "text", "content": "{body}", "prefix": "", "timestamp": "", "username": "", "id": "", "header": "", **given, **known}
    v["id"] = given.get("id") or v["id"]
    if v["style"] == "token" and v["username"]:
        v["header"] = v["header"] or "Authorization"
    if not v["header"]:
        raise ValueError(f"the style {v['style']} needs header: that of the signature or the token")
    if v["encoding"] not in ("hex", "base64") or v["algorithm"] not in ("sha256", "sha512") or v["key"] not in ("text", "base64"):
        raise ValueError("encoding is hex or base64, algorithm sha256 or sha512, key text or base64")
    if "{body}" not in v["content"] or v["style"] != "stripe" and ("{timestamp}" in v["content"]) != bool(v["timestamp"]):
        raise ValueError("content has {body}, and {timestamp} where timestamp names its header")
    return v


def verify_styled(secret: str | list[str], headers: Any, raw: bytes, style: Any, tolerance: int, now: float) -> Webhook:
    v = _full(style)
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if any(not s or s != s.strip() for s in secrets):
        raise ValueError("a secret is a text without blanks around it")
    if not secrets:
        raise WebhookError("mismatch", "there is no secret")
    named = v["id"] not in ("", "none") and not v["id"].startswith("/")
    id = _one(headers, v["id"]) if named else ""
    if named and not _valid(id):
        raise WebhookError("malformed", f"{v['id']} is no id of 1 to {_max_id} printable characters")
    at = None
    if v["style"] == "token":
        _token(v, headers, secrets)
    else:
        at = _signed(v, headers, raw, secrets, id, tolerance, now)
    event = _read(headers, raw)
    return Webhook(id if named else _id_in(event, v), at, event)


def _one(headers: Any, name: str) -> str:
    """The value of a header that must be there once."""
    all = values(headers, name)
    if not all or all == [""]:
        raise WebhookError("missing", f"there is no {name}")
    if len(all) > 1 or len(all[0]) > _max_header:
        raise WebhookError("malformed", f"{name} is there once, and has at most {_max_header} bytes")
    return all[0]


def _valid(id: str) -> bool:
    return 0 < len(id.encode("utf-8", "replace")) <= _max_id and not re.search("[\x00-\x1f\x7f\ufffd]", id)


def _signed(v: dict, headers: Any, raw: bytes, secrets: list[str], id: str, tolerance: int, now: float) -> int | None:
    """Compares the signatures with those of each secret, and returns the time that is
    signed."""
    text = _one(headers, v["header"])
    if not text.startswith(v["prefix"]):
        raise WebhookError("malformed", f"{v['header']} does not begin with {v['prefix']}")
    signatures = [text[len(v["prefix"]):]]
    stamp = _one(headers, v["timestamp"]) if v["timestamp"] else None
    if v["style"] == "stripe":
        parts = [part.partition("=") for part in text.split(",")]
        times, signatures = ([value for key, _, value in parts if key == wanted] for wanted in ("t", "v1"))
        if len(times) != 1 or not signatures:
            raise WebhookError("malformed", f"{v['header']} has one t and at least one v1")
        stamp = times[0]
    if stamp is not None:
        if not re.fullmatch(r"[1-9][0-9]{0,17}", stamp):
            raise WebhookError("malformed", "the time is no number of seconds since 1970")
        check_time(int(stamp), now, tolerance)
    if len(signatures) > _max_signatures:
        raise WebhookError("malformed", f"there are at most {_max_signatures} signatures")
    parts_of = {"{id}": id.encode(), "{timestamp}": (stamp or "").encode(), "{body}": raw}
    content = b"".join(parts_of.get(part, part.encode()) for part in re.split(r"(\{id\}|\{timestamp\}|\{body\})", v["content"]))
    good = False
    for secret in secrets:
        mac = _mac(v, secret, content)
        for sent in signatures:
            good = hmac.compare_digest(mac, _decoded(v, sent)) or good
    if not good:
        raise WebhookError("mismatch", "no signature is of a secret that is trusted")
    return None if stamp is None else int(stamp)


def _mac(v: dict, secret: str, content: bytes) -> bytes:
    key = decode(secret) if v["key"] == "base64" else secret.encode()
    if not key:
        raise ValueError("a secret is base64, as key says")
    return hmac.new(key, content, getattr(hashlib, v["algorithm"])).digest()


def _decoded(v: dict, text: str) -> bytes:
    if v["encoding"] == "base64":
        return decode(text) or b""
    return bytes.fromhex(text) if re.fullmatch("([0-9a-fA-F]{2})+", text) else b""


def _token(v: dict, headers: Any, secrets: list[str]) -> None:
    """A shared text: both sides are hashed first, so that their lengths do not show."""
    sent = hashlib.sha256(_one(headers, v["header"]).encode("utf-8", "replace")).digest()
    good = False
    for secret in secrets:
        shown = "Basic " + base64.b64encode(f"{v['username']}:{secret}".encode()).decode() if v["username"] else v["prefix"] + secret
        good = hmac.compare_digest(hashlib.sha256(shown.encode()).digest(), sent) or good
    if not good:
        raise WebhookError("mismatch", "the token is another one")


def _read(headers: Any, raw: bytes) -> Any:
    """The body as JSON: a form is an object of its fields, another text a string."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise WebhookError("malformed", "the body is no UTF-8") from None
    kind = (values(headers, "content-type") or [""])[0].partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        try:
            return json.loads(text)
        except ValueError:
            return text
    if re.search("%(?![0-9a-fA-F]{2})|;", text):
        raise WebhookError("malformed", "the body is no form")
    fields = urllib.parse.parse_qs(text, keep_blank_values=True)
    if list(fields) == ["payload"] and len(fields["payload"]) == 1:
        try:
            return json.loads(fields["payload"][0])
        except ValueError:
            pass
    return {name: several if len(several) > 1 else several[0] for name, several in fields.items()}


def _id_in(event: Any, v: dict) -> str:
    """The id that is in a body; empty: there is none."""

    def at(pointer: str) -> str:
        value = event
        for part in pointer[1:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value) and str(int(part)) == part:
                value = value[int(part)]
            else:
                return ""
        if isinstance(value, bool):
            return str(value).lower()
        text = str(value) if isinstance(value, (str, int, float)) else ""
        return text if _valid(text) else ""

    if not v["id"].startswith("/"):
        return ""
    return at(v["id"]) or (at("/trigger_id") if v["style"] == "slack" else "")
