"""The WebSocket door (RFC 6455) of the mock server: what passes for a stream to it goes in
messages, each frame of the protocol in one."""
import asyncio
import base64
import hashlib
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FRAME_MAX = 1 << 20
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class WebSocket:
    """Reader and writer of one connection. broke(rule, what) is called for a client's faults."""

    def __init__(self, reader, writer, broke):
        self.reader, self.writer, self.broke = reader, writer, broke
        self.opened, self.taken, self.out = False, b"", b""

    # --- what the mock reads

    async def readexactly(self, count):
        if not self.opened:
            await self.open()
        while len(self.taken) < count:
            message = await self.message()
            at = 0
            while at + 16 <= len(message):
                at += 16 + int.from_bytes(message[at + 12:at + 16], "big")
            if at != len(message):
                self.wrong(f"a message of {len(message)} bytes ends inside a frame")
            self.taken += message
        data, self.taken = self.taken[:count], self.taken[count:]
        return data

    def wrong(self, what):
        self.broke("web-form", what)
        raise asyncio.IncompleteReadError(b"", None)

    async def open(self):
        try:
            text = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            self.wrong("a request without an end")
        first, *lines = text.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip()
                  for name, _, value in (line.partition(":") for line in lines if line)}
        offered = [word.strip() for word in fields.get("sec-websocket-protocol", "").split(",")]
        if first != "GET / HTTP/1.1" or fields.get("sec-websocket-version") != "13" \
                or fields.get("upgrade", "").lower() != "websocket" \
                or offered != [""] and "anser.protobuf" not in offered:
            self.writer.write(REFUSAL)
            self.wrong(f"a request that will not do: {first}, subprotocols {offered}")
        mark = hashlib.sha1(fields["sec-websocket-key"].encode() + GUID).digest()
        chosen = b"" if offered == [""] else b"Sec-WebSocket-Protocol: anser.protobuf\r\n"
        self.writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(mark) + b"\r\n" + chosen + b"\r\n")
        self.opened = True

    async def message(self):
        """The next binary message, put together."""
        whole = b""
        while True:
            final, opcode, data = await self.piece()
            if opcode == PING:
                self.writer.write(bytes([0x80 | PONG, len(data)]) + data)
            elif opcode == CLOSE:
                self.writer.write(bytes([0x80 | CLOSE, len(data)]) + data)
                raise asyncio.IncompleteReadError(b"", None)
            elif opcode in (BINARY, CONTINUE):
                whole += data
                if final:
                    return whole
            elif opcode != PONG:
                self.wrong(f"opcode {opcode} in anser.protobuf")

    async def piece(self):
        head = await self.reader.readexactly(2)
        length = head[1] & 0x7F
        if head[0] & 0x70 or not head[1] & 0x80:
            self.wrong(f"a header {head.hex()}, unmasked or with reserved bits")
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(await self.reader.readexactly(size), "big")
        if length > FRAME_MAX:
            self.wrong(f"a message of {length} bytes")
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(length)
        plain = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
        return bool(head[0] & 0x80), head[0] & 0x0F, plain

    # --- what the mock writes

    def write(self, data):
        """Pieces gather into frames, each of which goes as one message; garbage goes as it is."""
        self.out += data
        while len(self.out) >= 16:
            size = 16 + int.from_bytes(self.out[12:16], "big")
            if self.out[:3] != b"AN\x01" or size > FRAME_MAX:
                size = len(self.out)
            if len(self.out) < size:
                return
            message, self.out = self.out[:size], self.out[size:]
            self.writer.write(self.header(len(message)) + message)

    @staticmethod
    def header(length):
        if length < 126:
            return bytes([0x80 | BINARY, length])
        if length < 1 << 16:
            return struct.pack(">BBH", 0x80 | BINARY, 126, length)
        return struct.pack(">BBQ", 0x80 | BINARY, 127, length)

    async def drain(self):
        await self.writer.drain()

    def close(self):
        self.writer.close()
