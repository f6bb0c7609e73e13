#!/usr/bin/python3
"""The record: runs kills, faults in clusters, power cuts and simulated seeds, some side by
side, each from a new seed, and adds what each counted to tests/chaos/record.json, under the
commit that was run.
It can be stopped and started at any time and goes on until the record holds ten thousand
kills, or its minutes are over. Prints the sum.

    tests/chaos/record.py --minutes 15     adds to the record, and to docs/reliability.md
    tests/chaos/record.py --print          only prints it
    tests/chaos/record.py --minutes 5 --record /tmp/mine.json

A run that fails is written down with its name and stays in the record; it counts as lost
what it says is lost, and the command ends with 1."""
import argparse
import contextlib
import io
import itertools
import json
import multiprocessing.connection
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, "tests", "system"), HERE]

import harness  # noqa: E402  (needs the path)

RECORD = os.path.join(HERE, "record.json")
PAGE = os.path.join(TOP, "docs", "reliability.md")
BEGIN, END = "<!-- record: begin -->", "<!-- record: end -->"
KILLS_WANTED = 10000
KILLS_A_RUN, ACKS_A_KILL, RANDOM_S, SEEDS_A_RUN = 60, 120, 0.1, 50
FORK = multiprocessing.get_context("fork")  # with everything that was loaded
BESIDE = 3  # runs for each processor
LONG_S = 3600  # nothing runs longer


def load(path):
    if not os.path.exists(path):
        return {"version": 1, "commits": []}
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def save(path, record):
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    os.replace(path + ".new", path)


def write_page(record):
    """The sum into docs/reliability.md."""
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n```\n{line_of(record)}\n```\n{END}{tail}")


def git(*args):
    done = subprocess.run(["git", "-C", TOP, *args], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def commit_of():
    """What is run; a + behind it: and changes that are not committed."""
    # the record itself changes all the time
    dirty = git("status", "--porcelain", "--", ".", ":!tests/chaos/record.json",
                ":!docs/reliability.md")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if dirty else "")


def entry_of(record, commit, what):
    """The figures of one kind of run at one commit."""
    for found in record["commits"]:
        if found["commit"] == commit:
            break
    else:
        found = {"commit": commit, "runs": {}}
        record["commits"].append(found)
    found["until"] = time.strftime("%Y-%m-%d", time.gmtime())
    return found["runs"].setdefault(what, {"runs": 0, "failed": [], "kills": 0, "acks": 0,
                                           "lost": 0, "prefixes": 0, "seeds": 0})


def totals(record):
    sums = dict.fromkeys(("runs", "kills", "acks", "lost", "prefixes", "seeds", "failed"), 0)
    for commit in record["commits"]:
        for run in commit["runs"].values():
            for name in sums:
                sums[name] += len(run["failed"]) if name == "failed" else run[name]
    return sums


def line_of(record):
    sums = totals(record)
    failed = f", runs that failed {sums['failed']}" if sums["failed"] else ""
    return (f"acked lost: {sums['lost']} of {sums['acks']}, kills {sums['kills']}, power-cut "
            f"prefixes {sums['prefixes']}, seeds {sums['seeds']}{failed}")


def run_case(args, module, name, shape="one", **how):
    """(figures, None or why it failed) of a case of the system tests."""
    function = vars(__import__(module))[f"case_{name}"]
    case = harness.Case(args.anser, args.build, name, how.get("long", True), how.get("rounds"),
                        shape)
    why = None
    try:
        function(case)
    except harness.Skip as skip:
        print(f"     skipped: {skip}")
        return None, None
    except Exception:  # whatever it was, it belongs into the record
        why = traceback.format_exc()
        print(f"{why}--- kept: {case.dir}")
    finally:  # a SIGTERM too leaves nothing behind
        case.close(keep=why is not None)
    return case.figures, why


def run_kill9(args):
    import kill9
    kill9.ACKS_A_ROUND, kill9.RANDOM_S = ACKS_A_KILL, RANDOM_S
    # An apply every few hundred rows: a kill need not wait long for one to die in.
    kill9.CONFIG = "store:\n  overlay_rows_max: 500\n  log_segment_bytes: 8388608\n"
    return run_case(args, "kill9", "R1_R6_S1_I3_T12_P2_kill9_under_load", rounds=KILLS_A_RUN)


def run_power(args):
    return run_case(args, "powercut", "R1_S1_R6_power_cuts_of_a_recorded_run", long=False)


def run_power_cluster(args):
    return run_case(args, "powercut", "R1_S1_R6_power_cuts_of_a_cluster", long=False)


def run_chaos(args):
    return run_case(args, "chaos", "X3_R1_P2_random_faults_on_one_host", rounds=20)


def run_hosts(args):
    return run_case(args, "chaos", "X3_R1_P2_random_faults_over_hosts", rounds=20)


def run_simulator(args):
    first = random.randrange(1 << 30)
    program = os.path.join(os.path.dirname(args.anser), "anser-sim")
    done = subprocess.run([program, "--seeds", f"{first}-{first + SEEDS_A_RUN - 1}"],
                          capture_output=True, text=True, timeout=LONG_S, check=False)
    if done.returncode == 0:
        return {"seeds": SEEDS_A_RUN}, None
    return {}, f"seeds from {first}: {done.stdout[-1500:]}{done.stderr[-500:]}"


# What is run, and how often in a turn: first what is rare, so that a short run has it too.
TURN = (("faults in a cluster of processes", run_chaos, 1),
        ("faults in a cluster of hosts", run_hosts, 1),
        ("power cuts", run_power, 1),
        ("power cuts of two stores", run_power_cluster, 1),
        ("simulated clusters", run_simulator, 1),
        ("kills of one process", run_kill9, 30))


def end_now(*_):
    sys.exit(1)


class Beside:
    """A run in a process of its own: most of its time it waits for a disk or a start."""

    def __init__(self, args, what, run):
        self.what = what
        self.end, theirs = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self._run, args=(theirs, args, run), daemon=True)
        self.process.start()
        theirs.close()

    @staticmethod
    def _run(end, args, run):
        signal.signal(signal.SIGTERM, end_now)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            figures, why = run(args)
        end.send((figures, why, said.getvalue()))

    def result(self):
        """(figures, None or why it failed, what it printed), once `end` has something."""
        try:
            found = self.end.recv()
        except EOFError:
            found = {}, "the run itself died", ""
        self.process.join()
        self.end.close()
        return found


def add(args, run):
    """A run that has ended into the record; whether it was good."""
    figures, why, said = run.result()
    print(said, end="")
    if figures is None:
        return True  # this machine cannot run it
    record = load(args.record)  # another may have added meanwhile
    entry = entry_of(record, args.commit, run.what)
    entry["runs"] += 1
    for name, number in figures.items():
        entry[name] += number
    if why is not None:
        entry["failed"].append(why.strip().splitlines()[-1][:300])
        if not figures.get("lost"):  # a run that counts them has
            entry["lost"] += "is lost" in why.strip().splitlines()[-1]
    save(args.record, record)
    if args.record == RECORD:
        write_page(record)
    print(f"{'ok  ' if why is None else 'FAIL'} {run.what} {figures}\n{line_of(record)}",
          flush=True)
    return why is None


def run_until(args, end):
    """(good, bad) runs until the record is full or the time over."""
    good = bad = 0
    turns = itertools.cycle([(what, run) for what, run, times in TURN if args.only in what
                             for _ in range(times)])
    running = []
    while True:
        while (len(running) < args.beside and time.monotonic() < end and
               totals(load(args.record))["kills"] < args.kills):
            running.append(Beside(args, *next(turns)))
        if not running:
            return good, bad
        ready = multiprocessing.connection.wait([run.end for run in running])
        for run in [run for run in running if run.end in ready]:
            running.remove(run)
            one = add(args, run)
            good, bad = good + one, bad + (not one)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--anser", default=os.path.join(TOP, "build/dev/bin/anser"))
    parser.add_argument("--record", default=RECORD)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kills", type=int, default=KILLS_WANTED)
    parser.add_argument("--only", default="", help="kinds of run whose name contains this")
    parser.add_argument("--beside", type=int, default=BESIDE * os.cpu_count(),
                        help="runs side by side (default %(default)s)")
    parser.add_argument("--print", action="store_true", dest="only_print")
    args = parser.parse_args()
    if args.only_print:
        print(line_of(load(args.record)))
        return 0
    args.anser = os.path.abspath(args.anser)
    args.build = os.path.dirname(os.path.dirname(args.anser))
    args.commit = commit_of()  # once: the tree may go on, what was built does not
    signal.signal(signal.SIGTERM, end_now)  # and the runs that go on are ended
    with tempfile.TemporaryDirectory(prefix="anser-proto-") as folder:
        harness.load_proto(folder)
        good, bad = run_until(args, time.monotonic() + 60 * args.minutes)
    print(line_of(load(args.record)))
    print(f"{good} passed, {bad} failed, 0 skipped")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
