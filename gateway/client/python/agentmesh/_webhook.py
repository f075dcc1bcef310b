"""Verifies webhooks by Standard Webhooks 1.0.0: v1 is HMAC-SHA256, v1a is ed25519."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import Any

from ._signed import Webhook, WebhookError, check_time, decode, values
from ._styles import verify_styled


def verify_webhook(secret: str | list[str], headers: Any, body: bytes | str, *, style: Any = "standard", tolerance: int = 300, now: float | None = None) -> Webhook:
    """Checks the headers of a request against its body as it was received. secret are
    whsec_... and whpk_... that are trusted. Others sign by another style: github, stripe,
    slack, or a dict as verify of a hook has it, such as {"style": "hmac", "header":
    "Linear-Signature"}."""
    raw = body.encode() if isinstance(body, str) else body
    now = time.time() if now is None else now
    if (style if isinstance(style, str) else style.get("style")) != "standard":
        return verify_styled(secret, headers, raw, style, tolerance, now)
    ids, stamps = values(headers, "webhook-id"), values(headers, "webhook-timestamp")
    signatures = " ".join(values(headers, "webhook-signature")).split()
    if not ids or not stamps or not signatures:
        raise WebhookError("missing", "a webhook has webhook-id, webhook-timestamp and webhook-signature")
    well = re.fullmatch(r"[A-Za-z0-9_-]{1,256}", ids[0]) and re.fullmatch(r"[1-9][0-9]{0,17}", stamps[0])
    if len(ids) > 1 or len(stamps) > 1 or not well or len(signatures) > 32:
        raise WebhookError("malformed", "one id without dots, one time in Unix seconds, at most 32 signatures")
    check_time(int(stamps[0]), now, tolerance)
    content = f"{ids[0]}.{stamps[0]}.".encode() + raw
    keys = [_key(s) for s in ([secret] if isinstance(secret, str) else secret)]
    for one in signatures:
        scheme, _, text = one.partition(",")
        signature = decode(text)
        for kind, key in keys:
            if signature and kind == scheme and _matches(kind, key, content, signature):
                return Webhook(ids[0], int(stamps[0]), json.loads(raw))
    raise WebhookError("mismatch", "no signature is of a key that is trusted")


def _key(text: str) -> tuple[str, bytes]:
    prefix, scheme, sizes = ("whpk_", "v1a", (32,)) if text.startswith("whpk_") else ("whsec_", "v1", range(24, 65))
    raw = decode(text[len(prefix):]) if text.startswith(prefix) else None
    if raw is None or len(raw) not in sizes:
        raise ValueError("a webhook key is whsec_... (24 to 64 bytes) or whpk_... (32 bytes) in base64")
    return scheme, raw


def _matches(scheme: str, key: bytes, content: bytes, signature: bytes) -> bool:
    if scheme == "v1":
        return hmac.compare_digest(hmac.new(key, content, hashlib.sha256).digest(), signature)
    return _ed25519(key, content, signature)


# Ed25519 (RFC 8032, 5.1.7). What is verified is public, so that its time tells nothing.

_p = 2**255 - 19
_q = 2**252 + 27742317777372353535851937790883648493
_d = -121665 * pow(121666, _p - 2, _p) % _p
_i = pow(2, (_p - 1) // 4, _p)


def _point(raw: bytes) -> tuple | None:
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _p:
        return None
    xx = (y * y - 1) * pow(_d * y * y + 1, _p - 2, _p) % _p
    x = pow(xx, (_p + 3) // 8, _p)
    if (x * x - xx) % _p:
        x = x * _i % _p
    if (x * x - xx) % _p or x == 0 and sign:
        return None
    x = _p - x if x & 1 != sign else x
    return x, y, 1, x * y % _p


def _add(a: tuple, b: tuple) -> tuple:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % _p, (a[1] + a[0]) * (b[1] + b[0]) % _p
    g, h = 2 * a[3] * b[3] * _d % _p, 2 * a[2] * b[2] % _p
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % _p, g * h % _p, f * g % _p, e * h % _p


def _times(n: int, a: tuple) -> tuple:
    sum = (0, 1, 1, 0)
    while n:
        if n & 1:
            sum = _add(sum, a)
        a, n = _add(a, a), n >> 1
    return sum


_base = _point((4 * pow(5, _p - 2, _p) % _p).to_bytes(32, "little"))


def _ed25519(key: bytes, content: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    a, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + content).digest(), "little") % _q
    left, right = _times(s, _base), _add(r, _times(h, a))  # type: ignore[arg-type]
    return (left[0] * right[2] - right[0] * left[2]) % _p == 0 and (left[1] * right[2] - right[1] * left[2]) % _p == 0
