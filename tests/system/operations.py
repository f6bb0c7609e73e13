"""docs/operations.md, followed to the letter: every command line of its console blocks is
typed where its prompt says, in the page's order, on three hosts that are network namespaces
with an /etc, /var/lib and /run of their own, and on the administrator's machine. What the
page shows below a command is what has to come. ssh and scp are stand-ins; the addresses of
cluster/three-hosts.yaml become those of the namespaces."""
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import time

from harness import TOP, Skip, await_that
from netns import Wire

PAGE = os.path.join(TOP, "docs", "operations.md")
HOSTS = ("a", "b", "c")
PROMPT = re.compile(r"^([a-z]+)\$ (.*)$")
FENCE = re.compile(r"(?:<!-- (not run|test): ([^>]*) -->\n)?^```(\w*)\n(.*?)^```$|"
                   r"<!-- (test): ([^>]*) -->", re.S | re.M)
STEP_S = 60.0
# What a process needs of /etc.
ETC = ("ld.so.cache", "passwd", "group", "nsswitch.conf", "localtime")

# Stand-ins: where the word before the colon is a host, it is that host's root directory.
SSH = """#!/bin/sh
host=$1; shift
exec nsenter -t "$(cat "{dir}/$host.pid")" -m -n -- sh -c "$*"
"""
SCP = """#!/bin/bash
words=()
for word in "$@"; do
    case $word in
    -*) ;;
    ?:*) words+=("/proc/$(cat "{dir}/${{word%%:*}}.pid")/root${{word#*:}}") ;;
    *) words+=("$word") ;;
    esac
done
exec cp -a "${{words[@]}}"
"""


def steps(text):
    """The page as [(host, command, [lines shown])] and [("test", words, [])]. A block of
    commands that is neither run nor marked is a mistake of the page."""
    found = []
    for mark, why, kind, body, alone, words in FENCE.findall(text):
        if mark == "test" or alone:
            found.append(("test", (why or words).strip(), []))
        if mark == "not run":
            assert why.strip(), f"not run, and no reason:\n{body}"
            continue
        if kind == "console":
            found += typed(body)
        else:
            assert not re.search(r"^\s*(anser|nngcat|systemctl|kill) ", body, re.M), \
                f"commands that nobody runs:\n{body}"
    return found


def typed(body):
    found = []
    for line in body.splitlines():
        prompt = PROMPT.match(line)
        if prompt:
            found.append((prompt.group(1), prompt.group(2), []))
        elif line.startswith("> "):
            host, command, shown = found[-1]
            found[-1] = (host, f"{command}\n{line[2:]}", shown)
        else:
            found[-1][2].append(line)
    return found


def pattern(line):
    """A line of the page, whatever its numbers and gaps are today."""
    line = re.escape(re.sub(r"\s+", " ", line.strip()))
    line = re.sub(r"\d+", r"\\d+", line)
    line = re.sub(r"\\d\+[smh]\b", r"\\d+[smh]", line)
    return line.replace(r"\ ", r"\s+").replace(r"\.\.\.", ".*")


class Shell:
    """One terminal: what is typed stays (functions, variables)."""

    def __init__(self, case, prefix, env, cwd):
        self.process = subprocess.Popen([*prefix, "bash", "--norc", "--noprofile"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=env, cwd=cwd)
        case.processes.append(self.process)
        os.set_blocking(self.process.stdout.fileno(), False)

    def type(self, command):
        """(exit code, what came)."""
        self.process.stdin.write(
            f"{{ {command}\n}} </dev/null\nprintf '\\001%d\\n' $?\n".encode())
        self.process.stdin.flush()
        text, end = b"", time.monotonic() + STEP_S
        while not (found := re.search(rb"\x01(\d+)\n$", text)):
            left = end - time.monotonic()
            assert left > 0, f"not within {STEP_S:g} s: {command}\n{text.decode()}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = self.process.stdout.read()
                assert data, f"the shell ended at: {command}\n{text.decode()}"
                text += data
        return int(found.group(1)), text[:found.start()].decode()


class Site:
    """The administrator and the hosts."""

    def __init__(self, case):
        self.case, self.wire = case, Wire(case, HOSTS)
        self.dir = case.new_dir("admin")
        tools = case.new_dir("tools")
        self.env = dict(os.environ, PATH=f"{tools}:{os.path.dirname(case.anser)}:"
                        f"{os.environ['PATH']}", HOME=self.dir)
        for name in ("ANSER_CLUSTER", "ANSER_DATA"):
            self.env.pop(name, None)
        os.symlink(TOP, os.path.join(self.dir, "anser"))
        self.holders, self.ups, self.logs = {}, {}, {}
        self.shells = {"admin": Shell(case, [], self.env, self.dir)}
        for host in HOSTS:
            self.furnish(host, tools)
            self.shells[host] = Shell(case, self.inside(host), self.env, "/")
        for name, text in (("ssh", SSH), ("scp", SCP)):
            path = os.path.join(tools, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.format(dir=tools))
            os.chmod(path, stat.S_IRWXU)

    def furnish(self, host, tools):
        """Directories that nobody else has; a process keeps them."""
        own = self.case.new_dir(f"host-{host}")
        mounts = []
        for path in ("etc", "var/lib", "run"):
            os.makedirs(os.path.join(own, path))
            mounts.append(f"mount --bind {own}/{path} /{path}")
        for name in ETC:
            if os.path.exists(f"/etc/{name}"):
                shutil.copy(f"/etc/{name}", f"{own}/etc/{name}")
        holder = subprocess.Popen(
            [*self.wire.prefix(host), "unshare", "-m", "--propagation", "private", "sh", "-c",
             f"{' && '.join(mounts)} && echo here && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.case.processes.append(holder)
        if holder.stdout.readline() != b"here\n":
            raise Skip(f"no mount namespaces here: {holder.stderr.read().decode().strip()}")
        self.holders[host] = holder.pid
        with open(os.path.join(tools, f"{host}.pid"), "w", encoding="utf-8") as f:
            f.write(str(holder.pid))

    def inside(self, host):
        return ["nsenter", "-t", str(self.holders[host]), "-m", "-n", "--"]

    # --- typing

    def follow(self, host, command, shown):
        if host == "test":
            getattr(self, "test_" + re.sub(r"\W+", "_", command))()
            return
        assert host in self.shells, f"whose prompt is {host}$?"
        if command.startswith("anser cluster up "):
            self.go_up(host, command)
            return
        self.await_ups()
        code, text = self.shells[host].type(command)
        assert code == 0, f"{host}$ {command}\n-> exit {code}\n{text}\n{self.log_ends()}"
        for line in shown:
            assert line.strip() in ("", "...") or re.search(pattern(line), text), \
                f"{host}$ {command}\ndoes not show: {line}\nbut:\n{text}\n{self.log_ends()}"

    def go_up(self, host, command):
        """In a terminal of its own."""
        path = os.path.join(self.case.dir, f"up-{host}-{len(self.logs)}")
        self.logs[path] = False
        with open(path, "wb") as log:
            self.ups[host] = subprocess.Popen([*self.inside(host), "sh", "-c", "exec " + command],
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              env=self.env, cwd="/")
        self.case.processes.append(self.ups[host])

    def await_ups(self):
        for path, ready in self.logs.items():
            if not ready:
                try:
                    await_that("`anser cluster up` to be ready",
                               lambda p=path: "\nanser ready " in "\n" + read(p), STEP_S)
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{self.log_ends()}") from None
                self.logs[path] = True

    def log_ends(self):
        return "\n".join(f"--- {os.path.basename(path)}\n{read(path)[-2000:]}"
                         for path in self.logs)

    # --- what the page's marks say happens

    def test_addresses(self):
        """Of this machine's hosts into the file."""
        path = os.path.join(self.dir, "cluster.yaml")
        text = read(path)
        for number, host in enumerate(HOSTS):
            assert f"10.0.0.{number + 1}}}" in text, text
            text = text.replace(f"10.0.0.{number + 1}}}", self.wire.address[host] + "}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def test_a_message_after_the_backup_then_host_c_dies(self):
        """With all it had; a machine of its name and address takes its place. The other
        store has the message in bob's inbox by then: the page says what that looks like."""
        self.follow("a", 'anser send --user alice --to bob "after the backup"', [])
        status = "anser cluster status $ANSER_CLUSTER"
        await_that("store/1 to owe nothing",
                   lambda: re.search(r"^store/1 .* outgoing 0$",
                                     self.shells["a"].type(status)[1], re.M), STEP_S)
        self.shells["c"].process.kill()
        self.ups["c"].kill()
        self.ups["c"].wait(20)
        for pid in subprocess.run(["ip", "netns", "pids", self.wire.ns["c"]], check=True,
                                  capture_output=True, text=True).stdout.split():
            if int(pid) != self.holders["c"]:
                os.kill(int(pid), signal.SIGKILL)
        root = f"/proc/{self.holders['c']}/root"
        for path in ("etc/anser", "var/lib/anser", "run/anser"):
            shutil.rmtree(f"{root}/{path}")
        self.shells["c"] = Shell(self.case, self.inside("c"), self.env, "/")

    def test_ctrl_c_everywhere(self):
        for host in HOSTS:
            self.ups[host].send_signal(signal.SIGINT)
        for host in HOSTS:
            code = self.ups[host].wait(40)
            assert code == 0, f"the end of {host}: {code}\n{self.log_ends()}"


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def case_the_page_followed_to_the_letter(case):
    site = Site(case)
    began = time.monotonic()
    for host, command, shown in steps(read(PAGE)):
        site.follow(host, command, shown)
        took = time.monotonic() - began
        if case.long:
            print(f"     {took:5.1f} s {host}$ {command.splitlines()[0]}", flush=True)
