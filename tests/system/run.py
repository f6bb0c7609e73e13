#!/usr/bin/python3
"""Runs the system tests: real processes, fresh directories, ports the system picks.

Every function case_* of the modules below is a case; behind an @ stands the shape of the
servers it starts (cluster.py), one process if there is none. One line per case; the last line is
`N passed, N failed, N skipped`."""
import argparse
import contextlib
import importlib
import io
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
import traceback

import harness

# The longest first, so that none is left to run alone at the end.
MODULES = ("powercut", "bitflips", "scenario", "frames", "edges", "features", "features_sync",
           "features_sdk", "durability", "kill9", "backup", "inspect_nngcat", "chat_tty",
           "scenario@five", "kill9@five", "scenario@namespaces", "kill9@namespaces", "chaos",
           "http_door", "http_calls", "http_cluster", "http_openapi",
           "web",
           "shapes", "wire", "features_cluster", "processes", "operations", "peer",
           "client_python", "client_js", "conformance", "doors", "doors_web", "doors_noise",
           "doors_json", "doors_js", "doors_scan", "doors_matrix", "guard", "by_hand", "wireshark",
           "accounts", "tokens_js", "metrics")
# No case may hang the run: killed and failed after so many seconds.
CASE_S, CASE_LONG_S = 600, 3600
CHAOS = os.path.join(harness.TOP, "tests", "chaos")


def run_case(args, name, function, shape):
    """passed, failed or skipped."""
    case = harness.Case(args.anser, args.build, name, args.long, args.rounds, shape)
    started = time.monotonic()
    result, why = "passed", ""
    try:
        function(case)
    except harness.Skip as skip:
        result, why = "skipped", str(skip)
    except Exception:  # whatever it was, the case failed
        result, why = "failed", traceback.format_exc()
    spent = time.monotonic() - started
    if result == "failed":
        print(f"FAIL {name} {spent:.1f} s\n{why}")
        for node in case.nodes:
            if os.path.exists(node.errors):
                print(f"--- end of the server's stderr\n{node.stderr()[-3000:]}")
        print(f"--- kept: {case.dir}")
    else:
        print(f"{'ok  ' if result == 'passed' else 'skip'} {name} {spent:.1f} s {why}")
    case.close(keep=result == "failed")
    sys.stdout.flush()
    return result


def find_cases(only):
    """[(full name, function, shape)]"""
    found = []
    for module in MODULES:
        name, _, shape = module.partition("@")
        for case, function in vars(importlib.import_module(name)).items():
            full = f"system.{module}.{case[5:]}"
            if case.startswith("case_") and only in full:
                found.append((full, function, shape or "one"))
    return found


class Aside:
    """A case that runs in a process of its own, beside others."""

    def __init__(self, args, case):
        # Forked, so that it has what was loaded. This process has one thread, so no lock
        # stays taken in the child; one with a thread for each child hung now and then.
        fork = multiprocessing.get_context("fork")
        self.name = case[0]
        self.until = time.monotonic() + (CASE_LONG_S if args.long else CASE_S)
        self.answer, theirs = fork.Pipe(duplex=False)
        self.process = fork.Process(target=self.run, args=(args, case, theirs))
        self.process.start()
        theirs.close()

    @staticmethod
    def run(args, case, answer):
        os.setsid()  # so that what it started can be ended with it
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            result = run_case(args, *case)
        answer.send((result, said.getvalue()))

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # when it has no group of its own yet

    def end(self):
        """(result, what it printed), once it has answered, ended or is out of time."""
        try:
            if self.answer.poll():
                return self.answer.recv()
            why = "was still running when its time was up"
        except EOFError:
            self.process.join()
            why = f"its process ended: {self.process.exitcode}"
        finally:
            self.kill()
            self.process.join()
        return "failed", f"FAIL {self.name}\n{why}\n"


def run_all(args, cases):
    """Yields each result. Cases share nothing, so some may run side by side."""
    if args.jobs == 1:
        for case in cases:
            yield run_case(args, *case)
        return
    waiting, running = list(reversed(cases)), []
    try:
        while waiting or running:
            while waiting and len(running) < args.jobs:
                running.append(Aside(args, waiting.pop()))
            left = min(aside.until for aside in running) - time.monotonic()
            done = multiprocessing.connection.wait([aside.answer for aside in running],
                                                   max(left, 0))
            for aside in list(running):
                if aside.answer in done or time.monotonic() >= aside.until:
                    running.remove(aside)
                    result, said = aside.end()
                    print(said, end="", flush=True)
                    yield result
    finally:
        for aside in running:
            aside.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--anser", default=os.path.join(harness.TOP, "build/dev/bin/anser"))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="cases at the same time")
    parser.add_argument("--long", action="store_true", help="the long forms of the cases")
    parser.add_argument("--rounds", type=int, help="of kill9 (default 100, long 400)")
    args = parser.parse_args()
    args.anser = os.path.abspath(args.anser)
    if not os.access(args.anser, os.X_OK):
        parser.error(f"no program at {args.anser}; ./dev build makes it")
    args.build = os.path.dirname(os.path.dirname(args.anser))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(prefix="anser-proto-") as folder:
        harness.load_proto(folder)
        sys.path.append(CHAOS)
        for result in run_all(args, find_cases(args.only)):
            counts[result] += 1
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
