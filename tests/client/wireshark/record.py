#!/usr/bin/python3
"""Makes the golden captures again (golden/*.pcap, tls.keys, *.txt): real sessions on the custom
ports, which must be free. Needs root and tcpdump. With --text only what is read in them."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden")
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "system")]
import harness  # noqa: E402
import kit  # noqa: E402


def plain(case, wireshark):
    """The commands of the command line."""
    node = case.new_node()
    node.listen = "tcp://127.0.0.1:7400"
    node.start()
    node.add_users("alice", "bob")
    tap = wireshark.Tap(case, os.path.join(GOLDEN, "plain.pcap"), [7400])
    wireshark.talk(node)
    tap.end(node)
    node.stop()


def encrypted(case, wireshark):
    from doors import tls_node
    node = tls_node(case, listen="tcp://127.0.0.1:7400,tls://127.0.0.1:7401")
    tap = wireshark.Tap(case, os.path.join(GOLDEN, "tls.pcap"), [7400, 7401])
    keys = os.path.join(GOLDEN, "tls.keys")
    if os.path.exists(keys):
        os.remove(keys)
    wireshark.talk_over_tls(node, keys)
    tap.end(node)
    node.stop()


def write_texts():
    for name, args in kit.GOLDEN.items():
        with open(os.path.join(GOLDEN, f"{name}.txt"), "w", encoding="utf-8") as f:
            f.write(kit.text(os.path.join(GOLDEN, f"{name}.pcap"), *args))


def main():
    if "--text" not in sys.argv:
        anser = os.path.join(kit.TOP, "build", "dev", "bin", "anser")
        with tempfile.TemporaryDirectory() as folder:
            harness.load_proto(folder)
            import wireshark
            for record in (plain, encrypted):
                case = harness.Case(anser, os.path.join(kit.TOP, "build", "dev"), record.__name__)
                record(case, wireshark)
                case.close(keep=False)
    write_texts()


main()
