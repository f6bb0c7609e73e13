"""WebSocket doors and npm's ws, a library that is not ours and not Python's (js/doors.mjs)."""
import os
import shutil
import subprocess

import harness
from doors_web import DOORS, web_node
from scenario import finish

HERE = os.path.join(harness.TOP, "tests", "system", "js")
FILES = ("package.json", "package-lock.json")


def installed(case, script):
    """A directory with the script and what it needs, at the versions of the lock file."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise harness.Skip(f"no {tool}")
    folder = case.new_dir("js")
    for name in (*FILES, script):
        shutil.copy(os.path.join(HERE, name), folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], cwd=folder,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False)
    if done.returncode != 0:
        raise harness.Skip("npm cannot get its packages: " + done.stderr.strip().splitlines()[-1])
    return folder


def case_C3_npm_ws_speaks_with_every_web_door(case):
    folder = installed(case, "doors.mjs")
    node = web_node(case)
    for door in DOORS:
        host, port = node.doors[door]
        done = subprocess.run(
            ["node", "doors.mjs", f"{door}://localhost:{port}", node.ca.pem,
             case.token(node, "alice"), case.token(node, "bob")], cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=300, check=False)
        assert done.returncode == 0, f"{door} at {host}:\n{done.stdout}"
        assert done.stdout.count("ok ") >= 8 and "FAIL" not in done.stdout, done.stdout
    node.client("bob", device="after").send("alice", b"still here")
    finish(case, node)
