"""Everything that must be measured on a GPU, in parts that can be resumed: ``make gpu``.

    python benchmarks/gpu.py                    all parts that are not done on this machine with this code
    python benchmarks/gpu.py --part memory-224  one part, anew
    python benchmarks/gpu.py --minutes 9        starts no part that might not end within 9 minutes
    python benchmarks/gpu.py --needs            the packages to carry to a machine without a registry
    python benchmarks/gpu.py --rehearse         the same code on the CPU, tiny, into runs/gpu

It needs no virtual environment and no installation: this checkout, and the packages that ``--needs`` lists. A part that
fails or takes too long is recorded as such, and the next one runs. Results: benchmarks/results/gpu-PART.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_needs import lines as needs_lines
from gpu_parts import LIMIT, PARTS, ROOT, STATE, Part, Record, digest, read, result_path, revision, tested, write

SHORTEST = 45
"""Seconds that must be left of ``--minutes`` for another part to be started."""


def main(arguments: Sequence[str]) -> int:
    """Run what is wanted; returns 0 if each part is done, or was not run for want of a package that it alone needs."""
    options = _options(arguments)
    if options.needs:
        print("\n".join(needs_lines(options.have)))
        return 0
    parts = rehearsed() if options.rehearse and not options.part else PARTS
    chosen = [part for part in parts if not options.part or part.name in options.part]
    machine = probe(rehearse=options.rehearse)
    refusal = machine.get("refusal")
    if refusal:
        print(f"make gpu: {refusal}", file=sys.stderr)
        return 2
    run = Run(machine, rehearse=options.rehearse, minutes=options.minutes, limit=options.limit)
    for part in chosen:
        run.do(part, again=bool(options.part))
    print(run.summary(chosen))
    return 0 if all(run.states.get(part.name) in ("done", "not run") for part in chosen) else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--part", action="append", choices=[part.name for part in PARTS], help="one part, anew")
    parser.add_argument("--minutes", type=float, default=0, help="of all parts together; 0: as long as they take")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of each part")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny; measures nothing")
    parser.add_argument("--needs", action="store_true", help="list the packages that are needed")
    parser.add_argument("--have", type=Path, help="with --needs: a file of package names that the machine has already")
    return parser.parse_args(arguments)


def rehearsed() -> list[Part]:
    """The first part of each script, and both of the tests."""
    first = {part.arguments[0]: part for part in reversed(PARTS)}
    return [part for part in PARTS if part.arguments[0] == "gpu_tests.py" or part in first.values()]


def environment() -> dict[str, str]:
    """Of every part: this checkout and its plugin are importable, whatever else is."""
    paths = [str(ROOT), *map(str, sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml")))]
    rest = os.environ.get("PYTHONPATH")
    caches = {"GISEG_CACHE": str(STATE / "cache"), "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONUNBUFFERED": "1"}
    caches |= {"HF_HUB_OFFLINE": "1"}  # all weights are random
    return {**os.environ, **caches, "PYTHONPATH": os.pathsep.join([*paths, *([rest] if rest else [])])}


def probe(*, rehearse: bool) -> dict[str, Any]:
    """The machine and its packages, found in a process of its own; ``refusal`` says why nothing can be run."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_probe.py"), *(["--rehearse"] if rehearse else [])]
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=150, check=False)
    except subprocess.TimeoutExpired:
        return {"refusal": "importing torch and asking for the GPU took more than 150 s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"refusal": f"{sys.executable} cannot say what is there: {(done.stderr.strip() or 'no reason')[-300:]}"}
    return found


class Run:
    """One call: what is done, what each part ended with, and the time that is left.

    Attributes:
        states: of the parts: done, failed, cut, not run, or waiting.
    """

    def __init__(self, machine: dict[str, Any], *, rehearse: bool, minutes: float, limit: float) -> None:
        self.machine = machine
        self.rehearse = rehearse
        self.limit = limit
        self.end = time.monotonic() + minutes * 60 if minutes else float("inf")
        self.code = digest()
        self.facts = revision()
        self.states: dict[str, str] = {}
        self.folder = STATE / ("rehearsal" if rehearse else f"{self.code}-{machine['key']}")

    def do(self, part: Part, *, again: bool) -> None:
        """Run a part, unless it is done already, and write what came of it."""
        path = self.folder / f"{part.name}.json"
        rows = self.folder / f"{part.name}.rows.json"
        kept = self.kept(part)
        if again or self.rehearse:
            rows.unlink(missing_ok=True)
        elif kept:
            self.states[part.name] = "done"
            print(f"--- {part.name}: done on {kept['date']}, with this code on this machine; skipped", flush=True)
            return
        missing = [name for name in part.optional if self.machine["missing"].get(name)]
        left = self.end - time.monotonic()
        if missing:
            state, seconds = f"not run: no module {', '.join(missing)}", 0.0
        elif left < SHORTEST:
            self.states[part.name] = "waiting"
            print(f"--- {part.name}: no time left in this call", flush=True)
            return
        else:
            print(f"--- {part.name}", flush=True)
            state, seconds = self.call(part, rows, min(self.limit, left))
        content = self.content(part, rows, state, seconds)
        self.states[part.name] = content["state"].partition(":")[0]
        write(path, content)
        if not self.rehearse:
            write(result_path(part.name), content)
        print(f"--- {part.name}: {content['state']} ({seconds:.0f} s)", flush=True)

    def kept(self, part: Part) -> dict[str, Any]:
        """The result of an earlier call with the same code on the same hardware, where that part was done."""
        for path in (self.folder / f"{part.name}.json", result_path(part.name)):
            content = read(path)
            same = (content.get("code"), content.get("machine"), content.get("state"))
            if same == (self.code, self.machine["key"], "done"):
                if path != result_path(part.name):
                    write(result_path(part.name), content)
                return content
        return {}

    def call(self, part: Part, rows: Path, limit: float) -> tuple[str, float]:
        """Run the script in a process group of its own, stopped with all that it started when its time is over."""
        script, *rest = part.arguments
        command = [sys.executable, str(ROOT / "benchmarks" / script), *rest, "--record", str(rows)]
        command += ["--rehearse"] if self.rehearse else []
        self.folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with (self.folder / f"{part.name}.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, env=environment(), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = process.wait(limit)
                state = "done" if status == 0 else f"failed: exit status {status}, see {self.log(part)}"
            except subprocess.TimeoutExpired:
                state = f"cut: not over after {limit:.0f} s"
            finally:
                stop(process)
        return state, time.monotonic() - start

    def log(self, part: Part) -> str:
        """Where the part's output is, from the project's root."""
        return (self.folder / f"{part.name}.log").relative_to(ROOT).as_posix()

    def content(self, part: Part, rows: Path, state: str, seconds: float) -> dict[str, Any]:
        """What is written for a part."""
        record = Record(rows).content
        failed = [row["name"] for row in record["rows"] if row.get("failed")]
        if state == "done" and failed:
            state = f"failed: {', '.join(failed)}"
        if state == "done" and not record["rows"]:
            state = "failed: it measured nothing"
        return {
            "benchmark": f"gpu-{part.name}",
            "claim": part.claim,
            "command": f"make gpu PART={part.name}",
            "state": state,
            "rehearsal": self.rehearse,
            "seconds": round(seconds, 1),
            "date": time.strftime("%Y-%m-%d"),
            **self.facts,
            "code": self.code,
            "machine": self.machine["key"],
            "hardware": self.machine["hardware"],
            "versions": self.machine["versions"],
            "settings": record["settings"],
            "rows": record["rows"],
        }

    def summary(self, parts: Sequence[Part]) -> str:
        """A table for the terminal: a line for each part, and its rows below it."""
        lines = ["", "REHEARSAL on the CPU: nothing here is a measurement" if self.rehearse else "make gpu"]
        for part in parts:
            stored = read(self.folder / f"{part.name}.json") or read(result_path(part.name))
            current = stored if stored.get("code") == self.code else {}
            state = self.states.get(part.name, "waiting")
            lines.append(f"{part.name:<14} {state if state == 'waiting' else current.get('state', state)}")
            rows = current.get("rows", [])
            if part.arguments[0] == "gpu_tests.py":
                lines.append(f"    {tested(rows)}")
                rows = [row for row in rows if row.get("failed")]
            lines += [f"    {in_words(row)}" for row in rows]
        return "\n".join(lines)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the part and whatever it started (loaders' workers, second processes); none of them is left behind."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.2)
    process.wait()


def in_words(row: dict[str, Any]) -> str:
    """One row as a line for the terminal."""
    if "ratio" in row and "ours" in row:
        sides = ", ".join(f"{row[side]['name']} {row[side]['median']:.4g}" for side in ("ours", "baseline"))
        return f"{row['name']}: {row['ratio']:.3f} x [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}] ({sides})"
    rest = ", ".join(f"{key} {short(value)}" for key, value in row.items() if key not in ("name", "parts"))
    return f"{row['name']}: {rest}"


def short(value: Any) -> str:
    """A number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
