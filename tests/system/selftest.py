#!/usr/bin/python3
"""What runs the cases side by side: a case that fails, dies or hangs is counted as failed,
ends with all that it started, and holds up nobody."""
import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import harness
import run


def passes(case):
    assert os.path.isdir(case.dir)


def fails(case):
    raise AssertionError("said to fail")


def skips(case):
    raise harness.Skip("not today")


def dies(case):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(case):
    child = subprocess.Popen(["sleep", "600"])
    with open(os.environ["SELFTEST_PID"], "w", encoding="ascii") as f:
        f.write(str(child.pid))
    signal.pause()


class SideBySide(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="anser-selftest-")
        self.addCleanup(folder.cleanup)
        # what a failed case keeps goes with it
        self.enterContext(unittest.mock.patch.object(tempfile, "tempdir", folder.name))
        os.environ["SELFTEST_PID"] = os.path.join(folder.name, "pid")

    def run_cases(self, *functions, jobs=2):
        """[(result)] and what was printed."""
        args = argparse.Namespace(anser="/bin/true", build="/", long=False, rounds=None, jobs=jobs)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            results = list(run.run_all(args, [(f.__name__, f, "one") for f in functions]))
        return results, said.getvalue()

    def test_results_are_those_of_the_cases(self):
        results, said = self.run_cases(passes, fails, skips, passes)
        self.assertEqual(sorted(results), ["failed", "passed", "passed", "skipped"])
        self.assertIn("said to fail", said)
        self.assertIn("not today", said)

    def test_case_that_dies_is_failed_and_the_others_go_on(self):
        results, said = self.run_cases(dies, passes, dies, passes, passes)
        self.assertEqual(sorted(results), ["failed"] * 2 + ["passed"] * 3)
        self.assertIn("FAIL dies\nits process ended: -9\n", said)

    def test_case_that_hangs_is_killed_with_its_children(self):
        with unittest.mock.patch.object(run, "CASE_S", 1):
            results, said = self.run_cases(hangs, passes)
        self.assertEqual(sorted(results), ["failed", "passed"])
        self.assertIn("FAIL hangs\nwas still running when its time was up\n", said)
        with open(os.environ["SELFTEST_PID"], encoding="ascii") as f:
            pid = int(f.read())
        until = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and "Z" not in self.state(pid):
            self.assertLess(time.monotonic(), until, "what it started lives on")

    @staticmethod
    def state(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
        return "Z"

    def test_many_more_cases_than_jobs(self):
        results, _ = self.run_cases(*[passes] * 60, jobs=6)
        self.assertEqual(results, ["passed"] * 60)


if __name__ == "__main__":
    sys.exit(unittest.main())
