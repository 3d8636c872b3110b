"""Processes of gpu_run.py: with a time limit, their output kept, and none of them left behind."""
import json
import os
import signal
import subprocess
import tempfile
import time

# Of a step's output, so many lines are kept with a failure.
TAIL = 12


class Process:
    """A program that ends with all that it has started."""

    living = set()

    def __init__(self, command, environment, folder):
        self.command = [str(part) for part in command]
        self.out, self.error = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.begin = time.monotonic()
        self.late = False
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=self.out, stderr=self.error,
                                        env=environment, cwd=folder, start_new_session=True)
        Process.living.add(self)

    def send(self, line):
        """Gives it a line to read, the only one."""
        self.begin = time.monotonic()
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # It is gone; its output says why.

    def wait(self, seconds):
        """Waits until it ends, and ends it after so many seconds; gives whether it ended well."""
        try:
            self.process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            self.late = True
        self.end()
        return self.process.returncode == 0 and not self.late

    def end(self):
        """Ends it and what it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.seconds = time.monotonic() - self.begin
        Process.living.discard(self)

    @staticmethod
    def end_all():
        for process in list(Process.living):
            process.end()

    def output(self):
        return read(self.out)

    def errors(self):
        return read(self.error)

    def json(self):
        """The object that its last line of output is, or None."""
        lines = self.output().strip().splitlines()
        try:
            found = json.loads(lines[-1]) if lines else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def tail(self):
        """The last lines of what it printed, errors last."""
        lines = (self.output() + "\n" + self.errors()).splitlines()
        return [line[:300] for line in lines if line.strip()][-TAIL:]


def read(file):
    """All of a file that another process may be writing to; its place is shared with that one, so it stays."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


class Peers:
    """Processes of bench_peft.py that have imported torch and wait for their arguments: importing takes ten seconds and
    more, and neither that time nor its load is to fall into a measurement."""

    def __init__(self, start, most):
        self.start, self.most, self.waiting = start, most, []

    def fill(self, count):
        while len(self.waiting) < min(count, self.most):
            self.waiting.append(self.start())

    def ready(self, count, to_come, seconds):
        """Sees to it that `count` of them wait; if too few do, as many are started as can be and are still to come,
        since they import side by side. Comes back once none imports any more, or after so many seconds."""
        if len(self.waiting) < min(count, self.most):
            self.fill(to_come)
        until = time.monotonic() + seconds
        for peer in self.waiting:
            while peer.process.poll() is None and "ready" not in peer.output() and time.monotonic() < until:
                time.sleep(0.05)

    def take(self, arguments):
        """One of them, on its way."""
        peer = self.waiting.pop(0)
        arguments = [str(argument) for argument in arguments]
        peer.command = [part for part in peer.command if part != "--wait"] + arguments
        peer.send(json.dumps(arguments))
        return peer
