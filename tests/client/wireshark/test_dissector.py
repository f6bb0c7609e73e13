#!/usr/bin/python3
"""client/wireshark/anser.lua under tshark: the vectors, every field of the schema, broken frames,
golden captures of real sessions. Exit code 77 without tshark."""
import base64
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unittest

import kit

sys.path.append(os.path.join(kit.TOP, "client", "wireshark"))
import tables  # noqa: E402

UUID = bytes.fromhex("019aa569e9c07c3e9d2f0123456789ab")
COMMANDS = {"Login": 1, "Logout": 2, "Heartbeat": 3, "Send": 4, "Confirm": 5, "Sync": 6,
            "History": 7, "Event": 64, "Receipt": 65, "Goodbye": 66}


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def vectors():
    with open(os.path.join(kit.TOP, "tests", "vectors", "frames.json"), encoding="utf-8") as f:
        return json.load(f)


def serves(vector):
    return bool(vector["flags"]) or vector["command"] >= 64


def plain_text(path, *args):
    """The fields without what depends on the packets: links and times."""
    lines = kit.text(path, *args).splitlines()
    return [line.split(": ", 1)[1] if line[0].isdigit() else line for line in lines
            if not line.startswith(("  Answer ", "  Time since"))]


class Dissector(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "made.pcap")

    def one_way(self, frames, from_server=False, **how):
        capture = kit.Capture(**how)
        for data in frames:
            capture.say(from_server, data, 60000)
        return [tree for _, tree in kit.dissected(capture.write(self.path))]

    def each_alone(self, frames):
        """For each (data, from_server) its trees, each in a connection of its own."""
        captures, owner = [], {}
        for i, (data, from_server) in enumerate(frames):
            captures.append(kit.Capture(client=kit.CLIENT + i))
            captures[-1].say(from_server, data, 60000)
            for _ in captures[-1].packets:
                owner[len(owner) + 1] = i
        found = [[] for _ in frames]
        for number, tree in kit.dissected(captures[0].write(self.path, *captures[1:])):
            found[owner[number]].append(tree)
        return found

    def all_covered(self, trees):
        for tree in trees:
            self.assertEqual(kit.uncovered(tree), 0, kit.values(tree))

    def test_vectors_have_the_values_that_they_were_made_of(self):
        capture = kit.Capture()
        for vector in vectors():
            capture.say(serves(vector), bytes.fromhex(vector["hex"]))
        frames = [tree for _, tree in kit.dissected(capture.write(self.path))]
        self.all_covered(frames)
        self.assertEqual(len(frames), len(vectors()))
        for vector, tree in zip(vectors(), frames):
            self.assertEqual(kit.complaints(tree), [], vector["name"])
            found = kit.values(tree)
            for name in ("command", "request"):
                self.assertEqual(found[f"anser.{name}"], [str(vector[name])])
            self.compare(vector["name"], vector["body"], found)

    def compare(self, where, body, found):
        """Each value of the body, however deep, is the value of a field of that name."""
        for name, value in body.items():
            shown = [one for field, all_of in found.items()
                     if field.endswith(f".{name}") for one in all_of]
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    self.compare(where, one, found)
                    continue
                forms = {str(one), str(int(one)) if isinstance(one, bool) else None}
                if isinstance(one, str):
                    raw = bytes.fromhex(one[4:]) if one.startswith("hex:") else one.encode()
                    forms |= {raw.hex(), raw.hex(":")}
                    if len(raw) == 16:
                        forms.add("-".join((raw[:4].hex(), raw[4:6].hex(), raw[6:8].hex(),
                                            raw[8:10].hex(), raw[10:].hex())))
                    if one.isdigit():
                        forms.add(f"0x{int(one):016x}")
                if isinstance(one, str) and name.endswith("kind"):
                    continue
                self.assertTrue(forms & set(shown), (where, name, one, shown))

    def encoded(self, messages, name, depth=0):
        """A message with every field, none at its default; and the names of its fields."""
        body, names = b"", []
        for field in messages[name].field:
            kind = tables.kind_of(messages[name], field)
            names.append(f"anser.{tables.snake(name)}.{field.name}")
            if kind.startswith("message "):
                inner, more = self.encoded(messages, kind.split()[1], depth + 1)
                body += varint(field.number << 3 | 2) + varint(len(inner)) + inner
                names += more
            elif kind in ("text", "uuid", "body"):
                value = UUID if kind == "uuid" else field.name.encode()
                body += varint(field.number << 3 | 2) + varint(len(value)) + value
            elif kind == "fixed64":
                body += varint(field.number << 3 | 1) + struct.pack("<Q", 1763711773184)
            else:
                body += varint(field.number << 3) + varint(1)
        return body, names

    def test_every_field_of_the_schema_is_named(self):
        messages = {message.name: message for message in tables.schema().message_type}
        known, named, frames, wanted = set(), set(), [], []
        for name, message in messages.items():
            known |= {f"anser.{tables.snake(name)}.{field.name}" for field in message.field}
        for name in messages:
            command = name[:-2] if name.endswith("Ok") else name
            flags = 1 if name.endswith("Ok") else 0
            if name == "Error":
                command, flags = "Send", 3
            if command not in COMMANDS:
                continue  # is inside others
            body, names = self.encoded(messages, name)
            frames.append((kit.frame(COMMANDS[command], body, flags),
                           flags > 0 or COMMANDS[command] >= 64))
            wanted.append(names)
        for names, (tree,) in zip(wanted, self.each_alone(frames)):
            self.assertEqual(kit.complaints(tree), [], names)
            self.all_covered([tree])
            found = kit.values(tree)
            for field in names:
                self.assertIn(field, found)
            named |= set(names)
        self.assertEqual(known - named, set())

    def test_segments_may_be_cut_anywhere(self):
        sides = [vector for vector in vectors() if not serves(vector)]
        data = b"".join(bytes.fromhex(vector["hex"]) for vector in sides)
        want = None
        for size in (60000, 1, 7, 100):
            capture = kit.Capture()
            capture.say(False, data, size)
            text = plain_text(capture.write(self.path))
            want = want or text
            self.assertEqual(text, want, f"segments of {size} bytes")
        self.assertEqual(sum("Anser client protocol" in line for line in want), len(sides))

    def test_a_port_that_nobody_knows(self):
        body = b"\x0a\x03bob"
        tree, = self.one_way([kit.frame(4, body)], server=5555)
        self.assertEqual(kit.values(tree)["anser.send.to"], ["bob"])

    def test_ports_are_a_preference(self):
        capture = kit.Capture(server=5555)
        capture.say(False, b"GET / HTTP/1.1\r\n\r\n")  # what looks like nothing of ours
        capture.write(self.path)
        self.assertEqual(kit.dissected(self.path), [])
        (_, tree), = kit.dissected(self.path, "-o", "anser.tcp_ports:5000-5600")
        self.assertEqual(kit.complaints(tree), ["anser.fault.magic", "anser.undecoded"])

    def test_broken_frames_are_marked(self):
        good = b"\x0a\x03bob"
        faults = (
                ("magic", b"XY" + kit.frame(4, good)[2:], False),
                ("version", kit.frame(4, good, version=2), False),
                ("flags", kit.frame(4, good, flags=4), False),
                ("flags", kit.frame(4, good, flags=1), False),
                ("flags", kit.frame(4, good, flags=2), True),
                ("length", kit.frame(4, bytes(69617)), False),
                ("length", kit.frame(4, b"", length=0xffffffff), True),
                ("codec", kit.frame(4, good, codec=9), False),
                ("body", kit.frame(4, b"\x0a\x03bo"), False),
                ("body", kit.frame(4, b"\x0a"), False),
                ("body", kit.frame(4, b"\xff" * 11), False),
                ("body", kit.frame(4, b"\x08\x01"), False),  # `to` as a number
                ("body", kit.frame(4, b"\x03"), False),
                ("body", kit.frame(4, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), False),
                ("utf8", kit.frame(4, b"\x0a\x02\xc0\x80"), False),
                ("utf8", kit.frame(4, b"\x18\x01\x22\x01\xff"), False),
                ("uuid", kit.frame(4, b"\x12\x03abc"), False),
                ("uuid", kit.frame(4, b"\x12\x10" + bytes(16)), False))
        for (fault, data, _), trees in zip(faults, self.each_alone([how[1:] for how in faults])):
            marks = [mark for tree in trees for mark in kit.complaints(tree)]
            self.assertIn(f"anser.fault.{fault}", marks, data[:40])
            self.all_covered(trees)

    def test_any_utf8_is_text(self):
        for text in ("a\0b", "你好\n\t\"<&>", "\U0001f600\u200d", "\ufffd"):
            tree, = self.one_way([kit.frame(4, b"\x18\x01\x22" + varint(len(text.encode())) +
                                            text.encode())])
            self.assertEqual(kit.complaints(tree), [], text)
            shown, = kit.values(tree)["anser.send.body.text"]
            self.assertTrue(shown.startswith(text[0]) and shown.endswith(text[-1]), shown)

    def test_frames_behind_garbage_are_found_again(self):
        trees = self.one_way([b"garbage" + kit.frame(3) + kit.frame(2)])
        self.assertEqual(len(trees), 3)
        self.assertEqual(kit.complaints(trees[0]), ["anser.fault.magic", "anser.undecoded"])
        self.assertEqual([kit.values(tree)["anser.command"] for tree in trees[1:]], [["3"], ["2"]])

    def test_what_is_newer_is_no_fault(self):
        later, push = self.one_way([kit.frame(3, b"\xf8\x07\x05", flags=1),
                                    kit.frame(99, b"abc", request=0)], True)
        self.assertEqual(kit.complaints(later), ["anser.new.field", "anser.unknown"])
        self.assertEqual(kit.complaints(push), ["anser.new.command", "anser.undecoded"])
        self.all_covered([later, push])

    def test_errors_and_types_have_names(self):
        with open(os.path.join(kit.TOP, "docs", "protocol.md"), encoding="utf-8") as f:
            rows = [line.split("|") for line in f if line[:3] in [f"| {n}" for n in range(1, 8)]]
        errors = {int(row[1]): row[2].strip() for row in rows
                  if row[1].strip().isdigit() and int(row[1]) >= 100}
        self.assertGreater(len(errors), 50)
        trees = self.one_way([kit.frame(66, b"\x08" + varint(code), request=0)
                              for code in errors], True)
        for (code, name), tree in zip(errors.items(), trees):
            self.assertIn(f"Goodbye {name}", tree.get("showname"))
        trees = self.one_way([kit.frame(4, b"\x18" + varint(n)) for n in range(1, 6)])
        shown = [tree.get("showname").split("type=")[1] for tree in trees]
        self.assertEqual(shown, ["text", "picture", "file", "red packet", "5"])

    def test_noise_never_breaks_the_script(self):
        rng = random.Random(7400)
        capture = kit.Capture()
        for _ in range(40):
            for vector in vectors():
                data = bytearray(bytes.fromhex(vector["hex"]))
                for _ in range(rng.randrange(1, 4)):
                    at = rng.randrange(2, len(data))
                    if not 12 <= at < 16:  # a length would swallow what follows
                        data[at] = rng.randrange(256)
                capture.say(serves(vector), bytes(data))
        frames = [tree for _, tree in kit.dissected(capture.write(self.path))]
        self.assertEqual(len(frames), 40 * len(vectors()))
        self.all_covered(frames)

    def test_answers_are_linked_whatever_their_order(self):
        capture = kit.Capture()
        for _ in range(2):  # numbers come again
            for request in (1, 2, 3):
                capture.say(False, kit.frame(3, request=request))
            capture.say(True, kit.frame(65) + kit.frame(3, flags=1, request=3) +
                        kit.frame(3, flags=3, request=1))
            capture.say(True, kit.frame(3, flags=1, request=2))
        found = {}
        for number, tree in kit.dissected(capture.write(self.path)):
            have = kit.values(tree)
            links = have.get("anser.response_in", []) + have.get("anser.response_to", [])
            found.setdefault(number, []).extend(int(link) for link in links)
            self.assertEqual("anser.response_to" in have, "anser.time" in have)
        self.assertEqual(found, {3: [6], 4: [7], 5: [6], 6: [5, 3], 7: [4],
                                 8: [11], 9: [12], 10: [11], 11: [10, 8], 12: [9]})

    def test_the_commands_of_the_docs(self):
        with open(os.path.join(kit.TOP, "docs", "debugging.md"), encoding="utf-8") as f:
            lines = [line.strip() for line in f if line.startswith("tshark ")]
        self.assertGreater(len(lines), 4)
        for line in lines:
            for said, real in ((" anser.pcap", " {}/plain.pcap"), (":keys", ":{}/tls.keys"),
                               (" anser-tls.pcap", " {}/tls.pcap")):
                line = line.replace(said, real.format(kit.GOLDEN_FOLDER))
            done = subprocess.run(line, shell=True, cwd=kit.TOP, capture_output=True, text=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 0, line + done.stderr)
            self.assertTrue(done.stdout.strip(), line)
            self.assertNotIn("Lua", done.stderr)

    def websocket(self, offer, *messages):
        """A capture of (from the server, opcode, payload)s behind an upgrade."""
        capture = kit.Capture(server=7402)
        key = b"dGhlIHNhbXBsZSBub25jZQ=="
        accept = base64.b64encode(
            hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + offer
        capture.say(False, b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\n" + upgrade +
                    b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        capture.say(True, b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade +
                    b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        for from_server, opcode, data in messages:
            mask = b"" if from_server else b"\x01\x02\x03\x04"
            if mask:
                data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            capture.say(from_server, bytes([0x80 | opcode, (0x80 if mask else 0) | len(data)]) +
                        mask + data)
        return capture.write(self.path)

    def test_websockets(self):
        for offer in (b"", b"Sec-WebSocket-Protocol: anser.protobuf\r\n"):
            path = self.websocket(offer, (False, 2, kit.frame(4, b"\x0a\x03bob") + kit.frame(3)),
                                  (True, 2, kit.frame(3, flags=1)))
            trees = [tree for _, tree in kit.dissected(path)]
            self.assertEqual([kit.complaints(tree) for tree in trees], [[], [], []])
            self.assertEqual([kit.values(tree)["anser.command"] for tree in trees],
                             [["4"], ["3"], ["3"]])
            self.all_covered(trees)

    def test_a_frame_cut_by_a_websocket_message_is_marked(self):
        path = self.websocket(b"Sec-WebSocket-Protocol: anser.protobuf\r\n",
                              (False, 2, kit.frame(4, b"\x0a\x03bob")[:-1]),
                              (False, 2, kit.frame(3)[:9]))
        trees = [tree for _, tree in kit.dissected(path)]
        self.assertEqual([kit.complaints(tree) for tree in trees],
                         [["anser.fault.cut", "anser.undecoded"]] * 2)
        self.all_covered(trees)

    def test_the_json_form_is_read_as_json(self):
        path = self.websocket(b"Sec-WebSocket-Protocol: anser.json\r\n",
                              (False, 1, b'{"command":"Sync","request":1,"body":{"after":"7"}}'))
        said = kit.tshark(path, "-T", "fields", "-e", "json.key", "-Y", "json").strip()
        self.assertEqual(set(said.split(",")), {"command", "request", "body", "after"})

    def test_lines_of_json_in_any_segments(self):
        for size in (1, 7, 16000):
            capture = kit.Capture()
            capture.say(False, b'{"command":"Login","body":{"device":"nc"}}\n'
                        b'{"command":"Heartbeat","request":2}\r\n', size)
            capture.say(True, '{"answer":"Login","body":{"user":"爱丽丝"}}\n'.encode(), size)
            path = capture.write(self.path)
            told = kit.tshark(path, "-Y", "anser && json", "-T", "fields", "-e",
                              "json.value.string").split()
            words = [word for line in told for word in line.split(",")]
            self.assertEqual(words, ["Login", "nc", "Heartbeat", "Login", "爱丽丝"])
            self.assertEqual(kit.tshark(path, "-Y", "_ws.malformed || anser.fault.magic"), "")

    def test_golden_captures(self):
        for name, args in kit.GOLDEN.items():
            capture = os.path.join(kit.GOLDEN_FOLDER, f"{name}.pcap")
            with open(capture.replace(".pcap", ".txt"), encoding="utf-8") as f:
                want = f.read()
            self.assertEqual(kit.text(capture, *args), want, f"{name}: record.py --text")
            frames = kit.dissected(capture, *args)
            self.assertGreater(len(frames), 20)
            for _, tree in frames:
                self.assertEqual(kit.complaints(tree), [])
                self.assertEqual(kit.uncovered(tree), 0)


if __name__ == "__main__":
    if not kit.available():
        print("no tshark: skipped")
        sys.exit(77)
    unittest.main()
