"""Noise_NK_25519_ChaChaPoly_SHA256, the client's end, and the records it travels in
(docs/protocol.md, "Noise"). Needs python3-cryptography; nothing else of the package does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import struct
from typing import Any

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError as missing:
    raise ImportError("noise:// needs python3-cryptography") from missing

PROTOCOL = b"Noise_NK_25519_ChaChaPoly_SHA256"
PROLOGUE = b"anser/1"
KEY_LEN = 32
TAG_LEN = 16
PIECE_MAX = 16384  # of the stream in a record; up to 65,519 are allowed
NONCE_MAX = 2**64 - 1


class NoiseError(ConnectionError):
    """The other end is not the holder of the pinned key, or somebody is between."""


def parse_key(text: str) -> bytes:
    """A public key in base64, standard or URL-safe, padded or not."""
    try:
        key = base64.b64decode(text.rstrip("=") + "=", altchars=b"-_", validate=True)
    except ValueError:
        key = base64.b64decode(text.rstrip("=") + "=", validate=True)
    if len(key) != KEY_LEN:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


class Cipher:
    """One direction."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._nonce = 0

    def _next(self) -> bytes:
        if self._nonce == NONCE_MAX:
            raise NoiseError("no nonce is left")
        return struct.pack("<IQ", 0, self._nonce)

    def encrypt(self, plain: bytes, ad: bytes = b"") -> bytes:
        sealed = self._aead.encrypt(self._next(), plain, ad)
        self._nonce += 1
        return sealed

    def decrypt(self, sealed: bytes, ad: bytes = b"") -> bytes:
        try:
            plain = self._aead.decrypt(self._next(), sealed, ad)
        except InvalidTag:
            raise NoiseError("a message was changed, or is for another key") from None
        self._nonce += 1
        return plain


def _hkdf(chain: bytes, data: bytes) -> tuple[bytes, bytes]:
    temp = hmac.digest(chain, data, "sha256")
    first = hmac.digest(temp, b"\x01", "sha256")
    return first, hmac.digest(temp, first + b"\x02", "sha256")


class Handshake:
    """`write`, then `read` of the answer, then `split`. ephemeral: for test vectors only."""

    def __init__(
        self, server_key: bytes, prologue: bytes = PROLOGUE, ephemeral: bytes | None = None
    ) -> None:
        self._server = server_key
        self._private = (
            X25519PrivateKey.from_private_bytes(ephemeral)
            if ephemeral
            else X25519PrivateKey.generate()
        )
        self._chain = self.hash = PROTOCOL  # 32 bytes, so it is its own hash
        self._mix_hash(prologue)
        self._mix_hash(server_key)
        self._cipher: Cipher | None = None

    def _mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def _mix_dh(self, public: bytes) -> Cipher:
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise NoiseError("a public key of low order") from None
        self._chain, key = _hkdf(self._chain, shared)
        return Cipher(key)

    def write(self, payload: bytes = b"") -> bytes:
        """The first message: e, es."""
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._mix_hash(public)
        sealed = self._mix_dh(self._server).encrypt(payload, self.hash)
        self._mix_hash(sealed)
        return public + sealed

    def read(self, message: bytes) -> bytes:
        """The second: e, ee. Its payload."""
        if len(message) < KEY_LEN + TAG_LEN:
            raise NoiseError("the answer is too short")
        public, sealed = message[:KEY_LEN], message[KEY_LEN:]
        self._mix_hash(public)
        payload = self._mix_dh(public).decrypt(sealed, self.hash)
        self._mix_hash(sealed)
        return payload

    def split(self) -> tuple[Cipher, Cipher]:
        """Ours to the server, the server's to us."""
        ours, theirs = _hkdf(self._chain, b"")
        return Cipher(ours), Cipher(theirs)


class Channel:
    """The stream and its records, without a socket: `hello` goes out first, `feed` takes what
    comes and gives what is opened, `seal` gives what goes out once `is_open`."""

    def __init__(self, server_key: bytes) -> None:
        self._handshake = Handshake(server_key)
        self._ciphers: tuple[Cipher, Cipher] | None = None
        self._held = bytearray()
        self.hello = self._record(self._handshake.write())

    @property
    def is_open(self) -> bool:
        return self._ciphers is not None

    @staticmethod
    def _record(message: bytes) -> bytes:
        return struct.pack(">H", len(message)) + message

    def feed(self, data: bytes) -> bytes:
        self._held += data
        plain = bytearray()
        while len(self._held) >= 2:
            end = 2 + int.from_bytes(self._held[:2], "big")
            if len(self._held) < end:
                break
            message = bytes(self._held[2:end])
            del self._held[:end]
            if self._ciphers is None:
                if self._handshake.read(message):
                    raise NoiseError("the answer carries something")
                self._ciphers = self._handshake.split()
            else:
                plain += self._ciphers[1].decrypt(message)
        return bytes(plain)

    def seal(self, data: bytes) -> bytes:
        assert self._ciphers
        return b"".join(
            self._record(self._ciphers[0].encrypt(data[at : at + PIECE_MAX]))
            for at in range(0, len(data), PIECE_MAX)
        )


class NoiseReader:
    """What the package uses of an asyncio.StreamReader."""

    def __init__(self, reader: asyncio.StreamReader, channel: Channel) -> None:
        self._reader = reader
        self._channel = channel
        self._plain = bytearray()

    async def more(self) -> None:
        data = await self._reader.read(65536)
        if not data:
            raise asyncio.IncompleteReadError(bytes(self._plain), None)
        self._plain += self._channel.feed(data)

    async def readexactly(self, count: int) -> bytes:
        while len(self._plain) < count:
            await self.more()
        data = bytes(self._plain[:count])
        del self._plain[:count]
        return data


class NoiseWriter:
    """And of an asyncio.StreamWriter."""

    def __init__(self, writer: asyncio.StreamWriter, channel: Channel) -> None:
        self._writer = writer
        self._channel = channel

    @property
    def transport(self) -> Any:
        return self._writer.transport

    def write(self, data: bytes) -> None:
        self._writer.write(self._channel.seal(data))

    async def drain(self) -> None:
        await self._writer.drain()


async def open_noise(host: str, port: int, server_key: bytes) -> tuple[NoiseReader, NoiseWriter]:
    """A connection to whoever has this key. NoiseError, OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    channel = Channel(server_key)
    opened = NoiseReader(reader, channel)
    try:
        writer.write(channel.hello)
        while not channel.is_open:
            await opened.more()
    except EOFError:
        raise NoiseError("the server ended the handshake: it has another key, or none") from None
    finally:
        if not channel.is_open:
            writer.transport.abort()
    return opened, NoiseWriter(writer, channel)
