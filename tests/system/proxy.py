"""A wire between a client and the server that a case can bend: frames are looked at, left
out, changed in order, or the wire is cut."""
import socket
import threading

from harness import HEADER


class Cut(Exception):
    """Raised by a rule: the connection ends here, in both directions."""


class Proxy:
    """Listens on a port of its own and passes frames on to the node's present port.

    rule(upward, command, flags, frame) gets every whole frame, bytes of its header included,
    and returns the list of frames to pass on instead; upward: from the client. It runs in
    threads, one rule at a time."""

    def __init__(self, case, node, rule):
        self.case, self.node, self.rule = case, node, rule
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets, self.threads = [], []
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()
        case.cleanups.append(self.close)

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.accepting.join(10)
        for s in self.sockets:
            shut(s)
        for thread in self.threads:
            thread.join(10)

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection((self.node.host, self.node.port), timeout=10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.sockets += [client, server]
            for source, target, upward in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self.pass_on, args=(source, target, upward),
                                          daemon=True)
                self.threads.append(thread)
                thread.start()

    def pass_on(self, source, target, upward):
        buffer = bytearray()
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                buffer += data
                while len(buffer) >= HEADER.size:
                    _, _, _, command, flags, _, length = HEADER.unpack_from(buffer)
                    if len(buffer) < HEADER.size + length:
                        break
                    frame = bytes(buffer[:HEADER.size + length])
                    del buffer[:HEADER.size + length]
                    with self.lock:
                        frames = self.rule(upward, command, flags, frame)
                    for one in frames:
                        target.sendall(one)
        except (Cut, OSError):
            pass
        shut(source)
        shut(target)


def shut(s):
    """Ends a socket under the thread that reads it."""
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()
