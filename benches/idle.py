#!/usr/bin/env python3
"""Measures what the service costs: start-up time, idle memory, and how fast it answers webhooks.

    cargo build --release
    python3 benches/idle.py target/release/patchwright

Needs git and nothing but Python's standard library. Everything is kept in a temporary folder and every process that was
started is ended, also when the measurement fails. docs/performance.md says what the numbers mean.
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

SECRET = "benchmark-only-secret"
PROJECT = pathlib.Path(__file__).resolve().parent.parent
ALERT = json.loads((PROJECT / "demo" / "alert.json").read_text())
STARTS = 20
ALERTS = 500
CONCURRENT = 16
PATIENCE = 30.0

# Keeps one processor busy until it is ended; the file with its process id says that it runs.
BUSY_AGENT = "import os, pathlib, sys\npathlib.Path(sys.argv[1], str(os.getpid())).touch()\nwhile True: pass\n"


class Service:
    """`patchwright serve` on a free port, in a folder of its own."""

    def __init__(self, program, folder, extra=""):
        self.program, self.folder = program, folder
        folder.mkdir(exist_ok=True)
        (folder / "home").mkdir(exist_ok=True)
        (folder / "forge").mkdir(exist_ok=True)
        settings = '[server]\nlisten = "127.0.0.1:0"\n[worker]\nper_repository = 2\nshutdown_grace = "1s"\n'
        settings += '[forge]\nkind = "directory"\npath = "forge"\n[limits.agent]\nsilence = "30m"\n'
        (folder / "patchwright.toml").write_text(settings + extra)

    def __enter__(self):
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "SENTRY_WEBHOOK_SECRET": SECRET}
        with (self.folder / "log").open("ab") as log:
            began = time.perf_counter()
            self.process = subprocess.Popen([self.program, "serve"], cwd=self.folder, env=variables,
                                            stdout=subprocess.PIPE, stderr=log)
        try:
            # The line comes when the socket is bound, so no time is lost on asking too early, and no port is guessed.
            line = self.process.stdout.readline().decode()
            if "http://" not in line:
                raise RuntimeError(f"the service did not start: {self.log()}")
            host, port = line.split("http://")[1].split(";")[0].rsplit(":", 1)
            self.address = (host, int(port))
            while self.request("GET", "/readyz")[0] != 200:
                if time.perf_counter() - began > PATIENCE:
                    raise RuntimeError(f"the service did not become ready: {self.log()}")
            self.started_in = time.perf_counter() - began
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def request(self, method, path, body=None, headers=None):
        # A new connection each time, as from a sender that keeps none open.
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def deliver(self, body, expected=200):
        """Posts a signed alert; answers the seconds until its answer was read."""
        headers = {
            "Content-Type": "application/json",
            "Sentry-Hook-Resource": "event_alert",
            "Sentry-Hook-Timestamp": str(int(time.time())),
            "Sentry-Hook-Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
        }
        began = time.perf_counter()
        status, answer = self.request("POST", "/webhooks/sentry", body, headers)
        took = time.perf_counter() - began
        if status != expected:
            raise RuntimeError(f"answered {status}, not {expected}: {answer!r}")
        return took

    def memory(self):
        """Resident memory in MB: all of it, and the part that is not mapped from files."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return tuple(int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))


def alert(issue, project="unknown"):
    """The demo's alert for another issue: no two are the same delivery."""
    text = json.dumps(ALERT).replace("4815162342", str(issue)).replace("acme/shop", f"acme/{project}")
    return text.encode()


def start_up(program, folder):
    fresh, existing = [], []
    for number in range(STARTS):
        with Service(program, folder / f"fresh-{number}") as service:
            fresh.append(service.started_in)
    for _ in range(STARTS):
        with Service(program, folder / "fresh-0") as service:
            existing.append(service.started_in)
    return fresh, existing


def memory(program, folder):
    with Service(program, folder / "memory") as service:
        time.sleep(1)
        idle = service.memory()
        for issue in range(ALERTS):
            service.deliver(alert(issue))
        time.sleep(1)
        return idle, service.memory()


def latencies(service, first_issue):
    alone = [service.deliver(alert(first_issue + number)) for number in range(ALERTS)]
    bodies = [alert(first_issue + ALERTS + number) for number in range(ALERTS)]
    with ThreadPoolExecutor(CONCURRENT) as pool:
        together = list(pool.map(service.deliver, bodies))
    return alone, together


def repository(folder):
    """A bare repository of the directory forge with one commit."""
    tree, bare = folder / "tree", folder / "forge" / "acme" / "shop.git"
    tree.mkdir(parents=True)
    (tree / "README.md").write_text("a shop\n")
    variables = {"PATH": os.environ["PATH"], "HOME": str(tree), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet", "--initial-branch=main", "."], ["add", "README.md"],
                    [*who, "commit", "--quiet", "--message", "Start"],
                    ["clone", "--quiet", "--bare", ".", str(bare)]):
        subprocess.run(["git", *command], cwd=tree, env=variables, check=True)


def busy(program, folder):
    """Latencies without jobs, and while two agents keep the processors busy."""
    running = folder / "running"
    running.mkdir(parents=True)
    repository(folder)
    command = json.dumps([sys.executable, "-c", BUSY_AGENT, str(running)])
    project = f'[agents.busy]\ncommand = {command}\n[[project]]\nsentry = "acme/shop"\nrepository = "acme/shop"\n'
    project += 'agent = "busy"\ntest = "true"\n'
    try:
        with Service(program, folder, project) as service:
            idle = latencies(service, 1_000_000)
            for issue in (1, 2):
                service.deliver(alert(issue, "shop"), expected=202)
            deadline = time.monotonic() + PATIENCE
            while len(list(running.iterdir())) < 2:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the agents did not start: {service.log()}")
                time.sleep(0.05)
            working = latencies(service, 2_000_000)
            agents = [int(path.name) for path in running.iterdir()]
            if len(agents) != 2 or not all(alive(agent) for agent in agents):
                raise RuntimeError(f"the agents did not stay busy: {service.log()}")
    finally:
        left = [int(path.name) for path in running.iterdir() if alive(int(path.name))]
        for agent in left:
            os.kill(agent, signal.SIGKILL)
    if left:
        raise RuntimeError(f"the service ended and left these agents behind: {left}")
    return idle, working


def alive(process):
    """Whether it is one of our agents: its number may be another's by now."""
    with contextlib.suppress(OSError):
        return BUSY_AGENT.encode() in pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def spread(seconds):
    numbers = sorted(number * 1000 for number in seconds)
    return f"{numbers[0]:8.1f} {statistics.median(numbers):8.1f} {numbers[-1]:8.1f}"


def tail(seconds):
    numbers = sorted(number * 1000 for number in seconds)
    return f"{statistics.median(numbers):8.1f} {numbers[int(len(numbers) * 0.99)]:8.1f} {numbers[-1]:8.1f}"


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("usage: python3 benches/idle.py target/release/patchwright")
    program = str(pathlib.Path(sys.argv[1]).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="patchwright-bench-"))
    try:
        fresh, existing = start_up(program, folder)
        idle, after = memory(program, folder)
        free, working = busy(program, folder / "busy")
    finally:
        shutil.rmtree(folder)

    print(f"{os.path.getsize(program) / 1e6:.1f} MB program, {os.cpu_count()} processors\n")
    print(f"start-up until /readyz answers 200, {STARTS} runs    min   median      max  ms")
    print(f"  new database                          {spread(fresh)}")
    print(f"  existing database                     {spread(existing)}\n")
    print("resident memory                            all  private           MB")
    print(f"  1 s after the start                   {idle[0]:8.1f} {idle[1]:8.1f}")
    print(f"  after {ALERTS} alerts                      {after[0]:8.1f} {after[1]:8.1f}\n")
    print(f"answer to a signed alert, {ALERTS} each          p50      p99      max  ms")
    print(f"  no job, one after the other           {tail(free[0])}")
    print(f"  no job, {CONCURRENT} at a time                 {tail(free[1])}")
    print(f"  two busy jobs, one after the other    {tail(working[0])}")
    print(f"  two busy jobs, {CONCURRENT} at a time          {tail(working[1])}")
    if threading.active_count() > 1:
        sys.exit("a thread was left over")


if __name__ == "__main__":
    main()
