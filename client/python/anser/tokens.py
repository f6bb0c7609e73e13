"""Login tokens, for whoever holds the server's key (your login service, or a test)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: dict[str, object], claims: dict[str, object], secret: bytes) -> str:
    """A JWT in compact form, HS256 whatever the header says."""
    parts = [_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    signed = ".".join(parts)
    mark = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_b64(mark)}"


def make_token(
    user: str, key_id: str, secret: bytes, *, ttl: float = 3600, app: str | None = None
) -> str:
    """A token that logs `user` in for `ttl` seconds from now."""
    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "aud": "anser", "iat": now, "exp": int(now + ttl)}
    if app is not None:
        claims["app"] = app
    return sign({"alg": "HS256", "typ": "JWT", "kid": key_id}, claims, secret)


def node_key(data: str | Path) -> tuple[str, bytes]:
    """The key of the node whose data directory this is: its id and its 32 bytes."""
    key = json.loads((Path(data) / "node.json").read_text())["key"]
    secret = key["secret"]
    return key["id"], base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
