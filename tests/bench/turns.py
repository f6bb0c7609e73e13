"""Servers side by side, loaded in turns: the three shapes, and pairs that should not differ
(hops remembered or not, this build and another). Used by run."""
import contextlib
import os
import re
import shutil
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(TOP, "tests", "system"))
import cluster  # noqa: E402 (found by the line above)
import harness  # noqa: E402
from netns import WIRE, need_namespaces  # noqa: E402

ANSER = os.path.join(TOP, "build", "release", "bin", "anser")
USERS = 200
WINDOWS = (1, 8, 64)
TICK = os.sysconf("SC_CLK_TCK")
SHAPES = {"one": "one process", "five": "five processes", "namespaces": "three hosts"}


def say(text):
    print(f"-- {text}", file=sys.stderr, flush=True)


def spread(values, digits=0):
    """`median (min..max)`"""
    form = f"{{:,.{digits}f}}".format
    if len(values) == 1:
        return form(values[0])
    return f"{form(statistics.median(values))} ({form(min(values))}..{form(max(values))})"


def pairs(line):
    """{key: number} of every `key=1.5` in the line."""
    return {k: float(v) for k, v in re.findall(r"([\w/%]+)=([0-9.]+)", line)}


@contextlib.contextmanager
def node(args, name="bench", shape="one", server=ANSER, config=None):
    """A running release server on the measured disk."""
    case = harness.Case(server, TOP, name, shape=shape)
    shutil.rmtree(case.dir)
    case.dir = tempfile.mkdtemp(prefix="anser-bench-", dir=args.disk)
    if shape == "namespaces":  # where the generator's users share an address
        config = config or 'gate: {unlimited: "0.0.0.0/0"}'
    try:
        started = case.node(config=config)
        case.anser = ANSER  # commands, the generator among them, are always this build's
        yield started
    finally:
        case.close(keep=False)


def anser_bench(server, *words, timeout=600):
    """The figures of one run of `anser bench`."""
    if isinstance(server, cluster.Cluster):  # every gate, from where clients are
        seat = WIRE if server.wire and "--no-add" in words else None
        done = server.command("bench", *words, "--cluster", server.file, seat=seat,
                              timeout=timeout)
    else:
        done = server.run("bench", *words, timeout=timeout)
    say(done.out.strip().splitlines()[-1])
    return pairs(done.out)


def filled(args, server):
    """Returns when there are the users, and as many messages as asked for."""
    anser_bench(server, "--fill", str(max(args.prefill, 1)), "--users", str(USERS))


def load(args, server, *words):
    """One measured run; `cpu` is what all processes of the server used, µs a message."""
    timing = ("--warm", f"{args.warm:g}", "--time", f"{args.time:g}")
    server.settled()  # what stores owe each other would come before what is measured
    cpu, messages = cpu_s(server), stored(server)
    got = anser_bench(server, "--no-add", "--users", str(USERS), *words, *timing)
    got["cpu"] = (cpu_s(server) - cpu) * 1e6 / max(stored(server) - messages, 1)
    return got


def cpu_s(server):
    """User and system time of the server's processes so far."""
    if isinstance(server, cluster.Cluster):
        pids = [server.pid(actor) for actor in server.actors]
    else:
        pids = [server.process.pid]
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            ticks += sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    return ticks / TICK


def stored(server):
    return server.metrics()["anser_store_messages_total"]


def rotated(things, turn):
    """Nobody is always first."""
    things = list(things)
    return things[turn % len(things):] + things[:turn % len(things)]


def shapes_here():
    """Those that this machine can have."""
    try:
        need_namespaces()
    except harness.Skip as why:
        say(f"three hosts skipped: {why}")
        return [shape for shape in SHAPES if shape != "namespaces"]
    return list(SHAPES)


def bench_shapes(args):
    """Each shape started and filled anew in each turn, then every load in a row."""
    here = shapes_here()
    loads = {"1,000 messages/s": ("--rate", "1000")}
    loads.update({f"window {window}": ("--window", str(window)) for window in WINDOWS})
    got = {name: {shape: [] for shape in SHAPES} for name in loads}
    for turn in range(args.turns):
        for shape in rotated(here, turn):
            say(f"{SHAPES[shape]}, turn {turn + 1} of {args.turns}, load {os.getloadavg()[0]:.1f}")
            with node(args, shape=shape) as server:
                filled(args, server)
                for name, words in loads.items():
                    got[name][shape].append(load(args, server, *words))
    for name, shapes in got.items():
        if name.startswith("window"):
            yield f"{name}: messages/s", *column(shapes, "acked/s")
        for key, what in (("p50_us", "p50"), ("p99_us", "p99")):
            yield f"{name}: {what}, µs", *column(shapes, key)
        yield f"{name}: server's CPU, µs a message", *column(shapes, "cpu", 1)


def column(shapes, key, digits=0):
    return [spread([figures[key] for figures in runs], digits) if runs else "skipped"
            for runs in shapes.values()]


def bench_pairs(args):
    """All servers run at once, one of them is loaded; ratios are those of each turn."""
    variants = {"on": {}, "off": {"config": "trace: off\n"}}
    if args.against:
        variants["against"] = {"server": args.against}
    got = {window: {name: [] for name in variants} for window in WINDOWS}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(node(args, **how))
                   for name, how in variants.items()}
        for server in servers.values():
            filled(args, server)
        for turn in range(args.turns):
            for window in WINDOWS:
                say(f"turn {turn + 1} of {args.turns}, load {os.getloadavg()[0]:.1f}")
                for name in rotated(variants, turn):
                    got[window][name].append(
                        load(args, servers[name], "--window", str(window)))
    for other, what in (("off", "trace on : off"), ("against", "this build : the other")):
        for window in WINDOWS if other in variants else ():
            yield (f"{what}, window {window}", ratio(got[window], other, "acked/s"),
                   ratio(got[window], other, "cpu"),
                   spread([one["acked/s"] for one in got[window]["on"]]) + " and " +
                   spread([one["acked/s"] for one in got[window][other]]))


def ratio(variants, other, key):
    """`median (quartile..quartile)` of the turns' ratios."""
    values = [one[key] / two[key] for one, two in zip(variants["on"], variants[other])]
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f}..{high:.3f})"
