"""`anser chat` in a real terminal: two panes of tmux talk to each other."""
import os
import secrets
import shlex
import shutil
import subprocess

from harness import Skip, await_that


class Terminal:
    """A tmux server of our own; one window per person."""

    def __init__(self, case):
        if shutil.which("tmux") is None:
            raise Skip("no tmux")
        self.socket = os.path.join(case.dir, f"tmux-{secrets.token_hex(2)}")
        self.env = dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8", TERM="xterm-256color")
        self.env.pop("TMUX", None)
        case.cleanups.append(lambda: self.tmux("kill-server", check=False))

    def tmux(self, *args, check=True):
        done = subprocess.run(["tmux", "-u", "-S", self.socket, "-f", "/dev/null", *args],
                              env=self.env, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, (args, done.stderr)
        return done.stdout

    def open(self, name, *command):
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "-s", name,
                  shlex.join(command) + "; echo ended with $?; cat")

    def type(self, name, text):
        self.tmux("send-keys", "-t", name, "-l", text)
        self.tmux("send-keys", "-t", name, "Enter")

    def screen(self, name):
        return self.tmux("capture-pane", "-p", "-J", "-t", name)

    def await_screen(self, name, *texts):
        last = [""]

        def there():
            last[0] = self.screen(name)
            return all(text in last[0] for text in texts)

        try:
            await_that(f"{texts} on {name}'s screen", there)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{last[0]}") from None
        return last[0]


def line_with(screen, text):
    return next(line for line in screen.splitlines() if text in line)


def case_two_people_talk(case):
    node = case.node()
    node.add_users("alice", "bob")
    node.send("bob", "alice", "an older message")
    terminal = Terminal(case)
    chat = (case.anser, "chat", "--data", node.data)
    terminal.open("alice", *chat, "alice", "--to", "bob")
    terminal.await_screen("alice", "an older message", "alice → bob>")  # history on entry
    terminal.type("alice", "are you there?")
    before = terminal.await_screen("alice", "are you there?")
    terminal.open("bob", *chat, "bob", "--to", "alice")
    terminal.await_screen("bob", "an older message", "are you there?")
    # The mark of delivery: alice's line changes, or a note says so, once bob has it.
    await_that("a mark of delivery", lambda: terminal.screen("alice") != before)
    terminal.await_screen("alice", "✓✓")
    terminal.type("bob", "你好 alice 👋")
    terminal.await_screen("alice", "你好 alice")
    terminal.type("alice", "good to see you")
    terminal.await_screen("bob", "good to see you")
    # Nothing that came in could paint on the terminal.
    node.client("bob", device="evil").send("alice", "red\x1b[2Jgone")
    screen = terminal.await_screen("alice", "gone")
    assert "good to see you" in screen, screen
    terminal.type("alice", "/to alice")  # the prompt says to whom
    terminal.await_screen("alice", "alice → alice>")
    # The end of input ends it cleanly.
    terminal.tmux("send-keys", "-t", "alice", "C-d")
    terminal.await_screen("alice", "ended with 0")
    terminal.tmux("send-keys", "-t", "bob", "C-c")
    terminal.await_screen("bob", "ended with ")


def case_a_restart_is_survived(case):
    node = case.node(args=())
    node.add_users("alice", "bob")
    port = node.port
    terminal = Terminal(case)
    terminal.open("alice", case.anser, "chat", "--data", node.data, "alice", "--to", "bob")
    terminal.type("alice", "before the crash")
    await_that("the first message", lambda: node.client("bob").sync())
    node.kill()
    node.args += ["--listen", f"tcp://127.0.0.1:{port}"]
    node.start()
    terminal.type("alice", "after the crash")
    await_that("both messages", lambda: [e.message.body for e in node.client("bob").sync()] ==
               [b"before the crash", b"after the crash"], timeout=60)
