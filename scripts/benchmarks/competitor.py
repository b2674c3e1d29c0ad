"""The other end of the pipe: starts a competitor, asks it, tells why it failed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

LOG_TAIL = 30


class CompetitorError(RuntimeError):
    """A competitor's exception, or the end of its log if it died."""


class Competitor:
    """A program that lives as long as the benchmark and answers commands.

    Args:
        module: its name below `benchmarks.competitors`.
        python: the interpreter of its environment.
        environment: its environment variables.
        log: where everything goes that it prints.
    """

    def __init__(self, module: str, python: str, environment: dict[str, str], log: Path):
        self._name, self._log = module, log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.competitors.{module}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                text=True,
            )
        self.versions: dict[str, str] = self.receive()["versions"]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.send(command, **arguments)
        return self.receive()

    def send(self, command: str, **arguments: Any) -> None:
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
            raise CompetitorError(f"{self._name} ended with status {self._process.wait()}. The end of its log:\n{tail}")
        answer = json.loads(line)
        if "error" in answer:
            raise CompetitorError(f"{self._name} failed:\n{answer['error']}")
        return answer

    def stop(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
