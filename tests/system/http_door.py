"""The HTTP door: what it gives by itself, and what it does with clients that are slow, greedy
or wrong. Spoken to by curl, by sockets, and by Prometheus's own parser."""
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

from harness import await_that

CONFIG = "api: {web: %s, request_ms: 1000, idle_ms: 1500, body_len_max: 4096, conns_max: 8}\n"


def web_node(case, **how):
    """A node with a page, and files beside it that are nobody's business."""
    web = case.new_dir("web")
    os.mkdir(os.path.join(web, "assets"))
    for name, text in (("index.html", "<h1>page</h1>"), ("assets/a-1.js", "let a = 1;"),
                       (".hidden", "secret"), ("../secret.txt", "secret")):
        with open(os.path.join(web, name), "w", encoding="utf-8") as f:
            f.write(text)
    os.symlink("/etc/hostname", os.path.join(web, "link.txt"))
    node = case.new_node(config=CONFIG % web, **how)
    node.web = web
    return node.start()


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self):
        """The error's name; its number and sentence must be there too."""
        error = json.loads(self.body)["error"]
        assert isinstance(error["code"], int) and error["message"], error
        assert self.headers["content-type"] == "application/json", self.headers
        return error["name"]


def curl(node, path, *args, body=None, scheme="http"):
    """One request by curl, the path as it is."""
    host, port = node.doors[scheme]
    done = subprocess.run(
        ["curl", "-sS", "-i", "--path-as-is", "--max-time", "20", *args,
         *(("--data-binary", "@-") if body is not None else ()),
         f"{scheme}://{host}:{port}{path}"],
        input=body, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, value in
               (line.split(":", 1) for line in lines[1:])}
    return Reply(int(lines[0].split()[1]), headers, rest)


def case_metrics_are_prometheus_text(case):
    from prometheus_client.parser import text_string_to_metric_families
    node = web_node(case)
    reply = curl(node, "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4"), reply.headers
    families = {family.name: family
                for family in text_string_to_metric_families(reply.body.decode())}
    for name in ("anser_gate_logins", "anser_store_users", "anser_sequencer_commands"):
        assert any(known.startswith(name) for known in families), (name, sorted(families))
    assert all(f.documentation for f in families.values())
    assert reply.body.decode().splitlines()[0].startswith("# HELP")
    node.stop()


def case_page_has_types_and_tags(case):
    node = web_node(case)
    page = curl(node, "/")
    assert (page.status, page.body) == (200, b"<h1>page</h1>"), page
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert curl(node, "/assets/a-1.js?x=1").headers["content-type"].startswith("text/javascript")
    again = curl(node, "/", "-H", f"If-None-Match: {page.headers['etag']}")
    assert (again.status, again.body) == (304, b""), again.status
    with open(os.path.join(node.web, "index.html"), "w", encoding="utf-8") as f:
        f.write("<h1>another</h1>")
    fresh = curl(node, "/", "-H", f"If-None-Match: {page.headers['etag']}")
    assert (fresh.status, fresh.body) == (200, b"<h1>another</h1>")
    assert curl(node, "/", "-I").headers["content-length"] == "16"
    node.stop()


def case_nothing_leads_out_of_the_page(case):
    node = web_node(case)
    for path in ("/../secret.txt", "/assets/../../secret.txt", "/%2e%2e/secret.txt",
                 "/..%2fsecret.txt", "//etc/passwd", "/.hidden", "/link.txt", "/assets", "/nope",
                 "/a\\b", "/" + "a" * 3000):
        reply = curl(node, path)
        assert (reply.status, reply.error) == (404, "NOT_FOUND"), (path, reply.status)
        assert b"secret" not in reply.body
    node.stop()


def case_wrong_requests_are_named(case):
    node = web_node(case)
    assert json.loads(curl(node, "/healthz").body) == {"ok": True}
    for path, args, body, status, name in (
            ("/v1/nothing", (), None, 404, "NOT_FOUND"),
            ("/v1/", (), None, 404, "NOT_FOUND"),
            ("/healthz", ("-X", "DELETE"), None, 405, "METHOD"),
            ("/metrics", ("-X", "POST"), None, 405, "METHOD"),
            ("/", ("-X", "POST"), b"x", 405, "METHOD"),
            ("/", ("-X", "BREW"), None, 405, "METHOD"),
            ("/v1/register", (), None, 405, "METHOD"),
            ("/v1/app/users/bob", ("-X", "PUT"), None, 405, "METHOD"),
            ("/v1/login", (), b"x" * 5000, 413, "BODY_TOO_LARGE"),
            ("/v1/login", ("-H", "Content-Length: 99999999999999999999"), b"x", None, None),
            ("/v1/login", ("-H", "Transfer-Encoding: chunked"), b"x" * 5000, 413,
             "BODY_TOO_LARGE")):
        reply = curl(node, path, *args, body=body)
        if status is None:
            assert reply.status in (400, 413), reply.status
        else:
            assert (reply.status, reply.error) == (status, name), (path, reply.status)
        allow = {"/v1/register": "POST", "/v1/app/users/bob": "DELETE, GET, HEAD, PATCH"}
        said = ", ".join(sorted(reply.headers.get("allow", "").split(", ")))
        assert said == (allow.get(path, "GET, HEAD") if status == 405 else ""), (path, said)
    node.stop()


def case_a_body_without_a_clear_end_ends_the_connection(case):
    """What a proxy before us may read otherwise: nothing behind it is taken for a request."""
    node = web_node(case)
    behind = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    for lines, body in (
            (b"Content-Length: 2\r\nContent-Length: 38\r\n", b"{}"),
            (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
            (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
            (b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n", b"{}"),
            (b"Content-Length : 2\r\n", b"{}"),
            (b"Transfer-Encoding: xchunked\r\n", b"")):
        s = dial(node)
        s.sendall(b"POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" +
                  lines + b"\r\n" + body + behind)
        said = b""
        try:
            while data := s.recv(65536):
                said += data
        except ConnectionResetError:
            pass
        answers = said.split(b"HTTP/1.1 ")[1:]
        assert [one[:3] for one in answers] == [b"400"], (lines, said)
    node.stop()


def dial(node, source=None, receive=None):
    """source: the address it comes from; receive: bytes of its receive buffer."""
    s = socket.socket()
    node.case.sockets.append(s)
    s.settimeout(20)
    if receive is not None:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    if source is not None:
        s.bind((source, 0))
    s.connect(node.doors["http"])
    return s


def case_a_trickle_ends(case):
    """Bytes that keep coming are no sign of a request."""
    node = web_node(case)
    started = time.monotonic()
    slow = dial(node)
    ended = threading.Event()

    def trickle():
        try:
            for byte in b"POST /v1/login HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 600:
                slow.sendall(bytes([byte]))
                if ended.wait(0.02):
                    return
        except OSError:
            pass

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        data = slow.recv(100)
    except ConnectionResetError:
        data = b""
    ended.set()
    thread.join()
    took = time.monotonic() - started
    assert data == b"" and 0.9 < took < 10, (data, took)
    node.stop()


def case_silent_ones_make_room(case):
    """More connections than there may be, all silent: who asks is answered."""
    node = web_node(case)
    silent = [dial(node) for _ in range(24)]
    await_that("an answer", lambda: curl(node, "/healthz").status == 200)
    ended = 0
    for s in silent:
        try:
            ended += s.recv(1) == b""
        except ConnectionResetError:
            ended += 1
    assert ended == len(silent)  # the last by their deadline
    node.stop()


def slow_reader(node, count):
    """One from 127.0.0.1 that asks ahead and, once its first answer comes, reads nothing."""
    s = dial(node, source="127.0.0.1", receive=2048)
    s.sendall(b"GET /big.js HTTP/1.1\r\nHost: a\r\n\r\n" * count)
    assert s.recv(1, socket.MSG_PEEK) == b"H"
    return s


def api_number(node, name):
    """A metric of the node's api."""
    for line in curl(node, "/metrics").body.decode().splitlines():
        if line.startswith(f"anser_api_{name}{{"):
            return int(line.split()[-1])
    raise AssertionError(name)


def big_node(case, size, config):
    web = case.new_dir("web")
    with open(os.path.join(web, "big.js"), "wb") as f:
        f.write(b"x" * size)
    return case.new_node(config=f"api: {{web: {web}, {config}}}\n").start()


def case_readers_that_do_not_read_make_room(case):
    """An address fills the door with answers it does not take: another is served all the while,
    on a new connection and on one that it has."""
    node = big_node(case, 8 << 20, "conns_max: 8")
    kept = http.client.HTTPConnection(*node.doors["http"], timeout=20,
                                      source_address=("127.0.0.2", 0))

    def ask_kept():
        kept.request("GET", "/healthz")
        with kept.getresponse() as answer:
            assert json.loads(answer.read()) == {"ok": True}

    ask_kept()
    there = kept.sock
    readers = []
    for _ in range(12):
        readers += [slow_reader(node, 20) for _ in range(8)]
        assert curl(node, "/healthz", "--interface", "127.0.0.2").status == 200
        ask_kept()
    assert kept.sock is there
    kept.close()
    evicted = api_number(node, "conns_evicted_total")
    assert evicted >= 80, evicted
    lines = [line for line in node.stderr().splitlines() if "full, a connection made room" in line]
    assert lines and all(" address=127.0.0.1 " in line for line in lines), lines
    assert "count=1" in lines[0] and len(lines) < evicted / 2, (evicted, lines)
    for s in readers:
        s.close()
    node.stop()


def case_answers_that_are_not_taken_end(case):
    """Who asks ahead and takes a little of each answer, never all there is, has no time anew."""
    node = big_node(case, 1 << 20, "answer_ms: 1000")
    s = slow_reader(node, 60)
    pause, took = threading.Event(), 0
    try:
        while data := s.recv(65536):
            took += len(data)
            pause.wait(len(data) / (4 << 20))  # an answer in a quarter of a second
    except ConnectionResetError:
        pass
    assert 1 << 20 < took < 30 << 20, took
    for _ in range(3):
        assert curl(node, "/big.js", "--limit-rate", "4M").status == 200
    node.stop()


def hold_bodies(case, config, lines, sources, args):
    """The first address holds bodies back that are as good as whole, as many as there is room
    for: it is BUSY, the second is not. lines: of its headers; args: of curl, by address."""
    node = case.new_node(config=f"api: {{request_ms: 60000{config}}}\n").start()
    largest = 512 << 10
    held = []

    def hold():
        s = dial(node, source="127.0.0.1")
        with contextlib.suppress(ConnectionError):  # it may be refused while it comes
            s.sendall(b"POST /v1/login HTTP/1.1\r\nHost: a\r\n"
                      b"Content-Type: application/json\r\n" + lines +
                      b"Content-Length: %d\r\n\r\n" % largest + b" " * (largest - 8))
        held.append(s)

    def post(source):
        return curl(node, "/v1/login", "-H", "Content-Type: application/json", "-H", "Expect:",
                    *args(source), body=b" " * largest)

    def no_room():
        """One that is refused lets go what it had: there may be room behind the last."""
        if post(sources[0]).status == 503:
            return True
        hold()
        return False

    for _ in range(64):
        hold()
    await_that("no room", no_room)
    other = post(sources[1])
    assert other.status == 400, (other.status, other.body)
    refused = post(sources[0])
    assert (refused.status, refused.error) == (503, "BUSY")
    assert api_number(node, "bodies_refused_total") >= 2
    assert any("no room for a body address=" in line and "its address has its share" in line
               for line in node.stderr().splitlines())
    for s in held:
        s.close()
    await_that("room again", lambda: post(sources[0]).status == 400)
    node.stop()


def case_held_bodies_are_of_their_address(case):
    hold_bodies(case, "", b"", ("127.0.0.1", "127.0.0.2"), lambda who: ("--interface", who))


def case_held_bodies_behind_a_proxy_are_of_its_client(case):
    hold_bodies(case, ", proxies: 127.0.0.1", b"X-Forwarded-For: 2001:db8::1\r\n",
                ("2001:db8::2", "2001:db8:0:1::1"),
                lambda who: ("--interface", "127.0.0.1", "-H", f"X-Forwarded-For: {who}"))


def case_a_stop_answers_and_ends(case):
    """With connections that are idle, half asked and kept alive."""
    node = web_node(case)
    idle, half = dial(node), dial(node)
    idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert idle.recv(1000).startswith(b"HTTP/1.1 200")
    half.sendall(b"POST /v1/login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
    started = time.monotonic()
    node.process.terminate()
    assert node.process.wait(20) == 0
    assert time.monotonic() - started < 10


def case_https_shows_the_gates_certificate(case):
    from certs import Ca
    folder = os.path.join(case.dir, "certs")
    ca = Ca(folder)
    ca.sign("server")
    node = case.new_node(config=f"gate: {{tls_cert: {folder}/server.pem, "
                                f"tls_key: {folder}/server.key}}\n")
    node.http = "http://127.0.0.1:0,https://127.0.0.1:0"
    node.start()
    port = node.doors["https"][1]
    reply = curl(node, "/healthz", "--cacert", ca.pem, "--connect-to",
                 f"127.0.0.1:{port}:127.0.0.1:{port}", scheme="https")
    assert reply.status == 200
    old = subprocess.run(["curl", "-sS", "--cacert", ca.pem, "--tls-max", "1.1",
                          f"https://127.0.0.1:{port}/healthz"], capture_output=True, check=False)
    assert old.returncode != 0
    node.stop()


def case_https_shows_a_new_certificate_after_a_reload(case):
    """A reload reaches whoever connects next; a connection that is there goes on; files that do
    not do are named and change nothing."""
    from certs import Ca
    folder = os.path.join(case.dir, "certs")
    ca = Ca(folder)
    ca.sign("server")
    node = case.new_node(config=f"gate: {{tls_cert: {folder}/server.pem, "
                                f"tls_key: {folder}/server.key}}\n")
    node.http = "https://127.0.0.1:0,https://127.0.0.1:0"
    node.start()
    where = node.doors["https"]
    trust = ssl.create_default_context(cafile=ca.pem)

    def connect():
        kept = http.client.HTTPSConnection(*where, timeout=20, context=trust)
        kept.connect()
        return kept, ssl.DER_cert_to_PEM_cert(kept.sock.getpeercert(True))

    def ask(kept):
        kept.request("GET", "/healthz")
        answer = kept.getresponse()
        return answer.status, json.loads(answer.read())

    def reload(words):
        before = node.stderr().count(words)
        node.process.send_signal(signal.SIGHUP)
        await_that(words, lambda: node.stderr().count(words) > before)

    kept, old = connect()
    assert ask(kept) == (200, {"ok": True})
    with open(os.path.join(folder, "server.key"), encoding="utf-8") as f:
        key = f.read()
    other = Ca(folder, "other")
    with open(other.key, encoding="utf-8") as f, \
            open(os.path.join(folder, "server.key"), "w", encoding="utf-8") as into:
        into.write(f.read())
    node.process.send_signal(signal.SIGHUP)
    await_that("the refusal", lambda: "tls_key" in node.stderr())
    assert connect()[1] == old
    with open(os.path.join(folder, "server.key"), "w", encoding="utf-8") as f:
        f.write(key)
    reload("certificates read again")
    assert connect()[1] == old
    ca.sign("server")
    reload("certificates read again")
    assert ask(kept) == (200, {"ok": True})
    fresh, new = connect()
    assert new != old and ask(fresh) == (200, {"ok": True})
    assert ask(kept) == (200, {"ok": True})
    node.stop()


def case_https_files_that_do_not_fit_are_named(case):
    from certs import Ca
    folder = os.path.join(case.dir, "certs")
    ca = Ca(folder)
    ca.sign("server")
    Ca(folder, "other")
    node = case.new_node()
    for cert, key, words in (("server.pem", "other.key", "not the key of gate.tls_cert"),
                             ("server.key", "server.key", "gate.tls_cert: not the PEM"),
                             ("server.pem", "server.pem", "gate.tls_key: not the PEM"),
                             ("none.pem", "server.key", "gate.tls_cert: ")):
        config = os.path.join(case.dir, "bad.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"gate: {{tls_cert: {folder}/{cert}, tls_key: {folder}/{key}}}\n")
        done = node.run("up", "--config", config, "--listen", "tcp://127.0.0.1:0",
                        "--http", "https://127.0.0.1:0", expect=8)
        assert words in done.err, (words, done.err)


def case_plain_beyond_this_machine_has_to_be_meant(case):
    node = case.new_node()
    done = node.run("up", "--listen", "tcp://127.0.0.1:0", "--http", "http://0.0.0.0:0", expect=8)
    assert "api.plain: anywhere" in done.err, done.err
    assert "HTTP" in node.run("up", "--help").out.split("--plain")[-1]  # it opens both
    open_node = case.new_node(args=["--plain"])
    open_node.http = "http://0.0.0.0:0"
    open_node.start()
    open_node.stop()
    done = node.run("up", "--listen", "tcp://127.0.0.1:0", "--http", "https://127.0.0.1:0",
                    expect=8)
    assert "gate.tls_cert" in done.err, done.err
    done = node.run("up", "--listen", "tcp://127.0.0.1:0", "--http", "tcp://127.0.0.1:0", expect=8)
    assert "http:// or https://" in done.err, done.err


def case_pages_elsewhere_ask_when_they_are_named(case):
    node = case.new_node(config="api: {origins: \"https://a.example, http://b.example:5173\"}\n")
    node.start()
    allowed = "access-control-allow-origin"
    for origin, may in (("https://a.example", True), ("http://b.example:5173", True),
                        ("https://a.example.evil", False), ("http://b.example", False),
                        ("null", False), ("*", False)):
        reply = curl(node, "/healthz", "-H", f"Origin: {origin}")
        assert reply.status == 200 and reply.headers["vary"] == "Origin"
        assert reply.headers.get(allowed) == (origin if may else None), (origin, reply.headers)
        asked = curl(node, "/v1/login", "-X", "OPTIONS", "-H", f"Origin: {origin}",
                     "-H", "Access-Control-Request-Method: POST",
                     "-H", "Access-Control-Request-Headers: authorization, content-type")
        assert asked.status == (204 if may else 405), (origin, asked.status)
        if may:
            assert asked.headers[allowed] == origin
            assert "Authorization" in asked.headers["access-control-allow-headers"]
            assert "PATCH" in asked.headers["access-control-allow-methods"]
    reply = curl(node, "/v1/profile", "-H", "Origin: https://a.example")
    assert reply.status == 401 and reply.headers[allowed] == "https://a.example"
    node.stop()
    nobody = case.node()
    assert allowed not in curl(nobody, "/healthz", "-H", "Origin: https://a.example").headers
    nobody.stop()


def case_off_is_off(case):
    node = case.new_node()
    node.http = "off"
    node.start()
    assert "http" not in node.doors
    node.stop()
