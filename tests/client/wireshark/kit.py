"""Captures made by hand, and what tshark says of a capture with client/wireshark/anser.lua."""
import os
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ElementTree

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
SCRIPT = os.path.join(TOP, "client", "wireshark", "anser.lua")
GOLDEN_FOLDER = os.path.join(TOP, "tests", "client", "wireshark", "golden")
GOLDEN = {"plain": (),  # each checked-in capture, and how it is read
          "tls": ("-o", f"tls.keylog_file:{os.path.join(GOLDEN_FOLDER, 'tls.keys')}")}
CLIENT, SERVER = 40000, 7400
RAW_IP = 101  # link type: packets begin with the IP header


class Capture:
    """One TCP connection on loopback as a pcap file."""

    def __init__(self, server=SERVER, client=CLIENT):
        self.server, self.client = server, client
        self.next = {False: 1, True: 1}  # sequence numbers, by "from the server"
        self.packets = [self.packet(False, 2, b""), self.packet(True, 18, b"")]

    def packet(self, serves, flags, data):
        ends = self.client, self.server
        source, target = reversed(ends) if serves else ends
        tcp = struct.pack(">HHIIBBHHH", source, target, self.next[serves],
                          self.next[not serves], 0x50, flags, 65535, 0, 0)
        self.next[serves] += len(data) + (1 if flags & 2 else 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0,
                         bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1]))
        return ip + tcp + data

    def say(self, serves, data, size=16000):
        """The bytes in segments of at most `size`."""
        for at in range(0, len(data), size):
            self.packets.append(self.packet(serves, 24, data[at:at + size]))

    def write(self, path, *others):
        """The file, with the connections of others behind this one."""
        packets = self.packets + [packet for other in others for packet in other.packets]
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, RAW_IP))
            for number, data in enumerate(packets):
                f.write(struct.pack("<IIII", 1763711773, number, len(data), len(data)) + data)
        return path


def frame(command, body=b"", flags=0, request=1, magic=b"AN", version=1, codec=1, length=None):
    return struct.pack(">2sBBHHII", magic, version, codec, command, flags, request,
                       len(body) if length is None else length) + body


def available():
    return shutil.which("tshark") is not None


def tshark(path, *args):
    """Output of tshark; an error of the script is an error here."""
    done = subprocess.run(["tshark", "-r", path, "-X", f"lua_script:{SCRIPT}", *args],
                          capture_output=True, timeout=300, check=False,
                          env={**os.environ, "HOME": os.path.dirname(path), "LC_ALL": "C.UTF-8"})
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0 and "Lua" not in done.stderr.decode(), done.stderr.decode()
    assert "_ws.lua.error" not in text and "Lua Error" not in text, text[-3000:]
    return text


def dissected(path, *args):
    """[(number of the packet, tree)] of each frame; trees have a child for each field."""
    root = ElementTree.fromstring(tshark(path, "-2", "-T", "pdml", "-o", "anser.wire:TRUE", *args))
    found = []
    for packet in root.findall("packet"):
        number = int(packet.find("proto/field[@name='num']").get("show"))
        found += [(number, tree) for tree in packet.findall("proto[@name='anser']")]
    return found


def fields(tree):
    """Every field below tree, in the order of the bytes."""
    return [item for item in tree.iter("field") if item is not tree]


def values(tree):
    """{name: [what it is]} of a frame."""
    found = {}
    for item in fields(tree):
        found.setdefault(item.get("name"), []).append(item.get("show"))
    return found


def complaints(tree):
    """The names of the faults and remarks in a frame."""
    return sorted(name for name in values(tree)
                  if name.startswith(("anser.fault.", "anser.new.", "anser.un", "_ws.malformed")))


def uncovered(tree):
    """How many bytes of the frame no field stands for."""
    start, size = int(tree.get("pos")), int(tree.get("size"))
    open_bytes = set(range(start, start + size))
    for item in fields(tree):
        if item.get("value"):  # a message as a whole has none
            at = int(item.get("pos"))
            open_bytes -= set(range(at, at + int(item.get("size"))))
    return len(open_bytes)


def text(path, *args):
    """What a person reads: each frame with its fields, indented."""
    lines = []

    def walk(item, depth):
        if item.get("hide") == "yes" or item.get("name") in ("anser.tag", "_ws.expert"):
            return
        shown = item.get("showname") or item.get("show")
        lines.append("  " * depth + shown)
        for child in item.findall("field"):
            walk(child, depth + 1)

    for number, tree in dissected(path, *args):
        lines.append(f"{number}: {tree.get('showname')}")
        for child in tree.findall("field"):
            walk(child, 1)
    return "\n".join(lines) + "\n"
