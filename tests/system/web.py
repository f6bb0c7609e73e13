"""The web page (client/web) in Chromium, against a node, as people use it (js/web.mjs); and that its
checked in files are what its sources make. ANSER_PICTURES=DIR keeps the pictures."""
import fcntl
import hashlib
import os
import shutil
import subprocess

import harness
from harness import Node

WEB = os.path.join(harness.TOP, "client", "web")
SDK = os.path.join(harness.TOP, "client", "js")
SCRIPT = os.path.join(harness.TOP, "tests", "system", "js", "web.mjs")
OURS = ("src", "tests", "dist", "package.json", "package-lock.json", "tsconfig.json", "build.mjs")


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            raise harness.Skip(f"no {tool}")


def npm(folder, *arguments):
    return subprocess.run(["npm", *arguments], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                          check=False)


def packages(case):
    """node_modules at the versions of the lock file; made once for a build directory."""
    need("node", "npm")
    with open(os.path.join(WEB, "package-lock.json"), "rb") as f:
        version = hashlib.sha256(f.read()).hexdigest()[:16]
    made = os.path.join(case.build, f"web-packages-{version}")
    with open(os.path.join(case.build, "web-packages.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(made):
            folder = case.new_dir("npm")
            for name in ("package.json", "package-lock.json"):
                shutil.copy(os.path.join(WEB, name), folder)
            done = npm(folder, "ci", "--no-audit", "--no-fund", "--prefer-offline")
            if done.returncode != 0:
                raise harness.Skip("npm cannot get the packages: " +
                                   done.stdout.strip().splitlines()[-1])
            os.makedirs(made)
            shutil.move(os.path.join(folder, "node_modules"), made)
    return os.path.join(made, "node_modules")


def copied(case):
    """A copy of the page's sources, and of the client's, with its packages."""
    modules = packages(case)
    top = case.new_dir("sources")
    web = os.path.join(top, "client", "web")
    os.makedirs(web)
    js = os.path.join(top, "client", "js")
    shutil.copytree(os.path.join(SDK, "src"), os.path.join(js, "src"))
    shutil.copy(os.path.join(SDK, "package.json"), js)  # sideEffects
    for name in OURS:
        path = os.path.join(WEB, name)
        copy = shutil.copytree if os.path.isdir(path) else shutil.copy
        copy(path, os.path.join(web, name))
    os.symlink(modules, os.path.join(web, "node_modules"))
    return web


def case_checked_in_files_are_what_the_sources_make(case):
    web = copied(case)
    done = npm(web, "run", "check")
    assert done.returncode == 0, done.stdout + "npm run build, in client/web, makes them anew"
    with open(os.path.join(web, "dist", "app.js"), "a", encoding="ascii") as f:
        f.write("\n")
    done = subprocess.run(["node", "build.mjs", "--check"], cwd=web, capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 1 and b"app.js" in done.stderr, "the check cannot fail"


def case_model_without_a_browser(case):
    done = npm(copied(case), "test")
    assert done.returncode == 0 and "\n# pass 0\n" not in done.stdout, done.stdout


class Server:
    """A node whose doors stay where they are when it comes back."""

    def __init__(self, case, config):
        self.case = case
        self.node = Node(case, config=config)
        self.node.listen = "tcp://127.0.0.1:0,ws://127.0.0.1:0"
        self.node.start()
        doors = {scheme: f"{scheme}://{host}:{port}"
                 for scheme, (host, port) in self.node.doors.items()}
        self.node.listen = f"{doors['tcp']},{doors['ws']}"
        self.node.http = doors["http"]

    def kill(self):
        self.node.kill()

    def start(self):
        self.node.start()

    def delete(self):
        self.node.run("user", "delete", "alice")

    def fill(self):
        lines = "".join(f"m{i}\n" for i in range(1, 181))
        self.node.run("send", "--user", "bob", "--device", "old", "--to", "alice", "-",
                      stdin=lines.encode())


def browse(case, name, config=None):
    """Runs a case of web.mjs, and does what it asks for."""
    need("chromium")
    modules = packages(case)
    pictures = os.environ.get("ANSER_PICTURES") or case.new_dir("pictures")
    os.makedirs(pictures, exist_ok=True)
    folder = case.new_dir("js")
    shutil.copy(SCRIPT, folder)
    shutil.copy(os.path.join(WEB, "package.json"), folder)
    os.symlink(modules, os.path.join(folder, "node_modules"))
    server = Server(case, config)
    process = subprocess.Popen(
        ["node", "web.mjs", name, f"{server.node.http}/", pictures, shutil.which("chromium")],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    case.processes.append(process)
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("ask "):
            getattr(server, line.split()[1])()
            process.stdin.write("done\n")
            process.stdin.flush()
    assert process.wait(30) == 0 and said[-1] == f"ok {name}\n", "".join(said)
    server.node.stop()
    case.check(server.node)


def case_Q3_people_talk_while_the_server_is_killed(case):
    browse(case, "talk")


def case_Q3_history_on_scroll(case):
    browse(case, "history")


def case_windows_devices_and_passwords(case):
    browse(case, "windows")


def case_wrong_fields_are_marked_and_lengths_are_bytes(case):
    browse(case, "faults")


def case_what_ended_a_session_is_said_over_reloads(case):
    browse(case, "ended", "apps: [{name: default, login: single}]\n")


def case_who_does_not_stay_leaves_nothing(case):
    browse(case, "leaving")


def case_by_keyboard_alone(case):
    browse(case, "keyboard")


def case_every_size_theme_and_language_without_a_fault_of_axe(case):
    browse(case, "looks")
