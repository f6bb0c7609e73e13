"""The doors of the mock server: TCP, TLS with certificates of its own making, and WebSockets
(websocket.py) over both."""
import asyncio
import os
import ssl
import subprocess

from websocket import WebSocket

DOORS = ("tcp", "tls", "ws", "wss")


def make_certificate(folder, name, who):
    """One that signs itself; a context that shows it."""
    base = os.path.join(folder, name)
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={who}",
         "-keyout", f"{base}.key", "-out", f"{base}.pem"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl makes no certificate: {done.stderr}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{base}.pem", f"{base}.key")
    return context


class Door:
    """Opens gates; `wrong` has what is wrong with a gate's certificate, by its number."""

    def __init__(self, scheme, folder):
        self.scheme, self.secure = scheme, scheme in ("tls", "wss")
        self.trusted, self.wrong, self.contexts = os.path.join(folder, "trusted.pem"), {}, {}
        if self.secure:
            here = "IP:127.0.0.1,DNS:localhost"
            self.contexts = {None: make_certificate(folder, "good", here),
                             "name": make_certificate(folder, "elsewhere", "DNS:elsewhere.example"),
                             "chain": make_certificate(folder, "stranger", here)}
            with open(self.trusted, "w", encoding="utf-8") as out:
                for name in ("good", "elsewhere"):
                    with open(os.path.join(folder, f"{name}.pem"), encoding="utf-8") as f:
                        out.write(f.read())

    def environment(self):
        """For the adapter: whom to believe."""
        if not self.secure:
            return {}
        return {"SSL_CERT_FILE": self.trusted, "NODE_EXTRA_CA_CERTS": self.trusted,
                "ANSER_CA": self.trusted}

    async def open(self, mock, number):
        """(server, address)"""
        def made(reader, writer):
            if self.scheme in ("ws", "wss"):
                reader = writer = WebSocket(reader, writer, mock.broke)
            return mock.serve(number, reader, writer)

        context = self.contexts[self.wrong.get(number)] if self.secure else None
        server = await asyncio.start_server(made, "127.0.0.1", 0, ssl=context)
        return server, f"{self.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
