"""WGSL kernels in a node process: cases are collected, run at once, and read back."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from inpage_job import software_gpu
from tabgrad.backends.webgpu import lower
from tabgrad.backends.wgsl import Limits
from tabgrad.ir import Joined, Launch

HERE = Path(__file__).parent
SENTINEL = 64


def _numbered(step: Any) -> Any:
    """The step with a slot of its own for each operand."""
    slots = tuple(range(len(step.operands)))
    if not isinstance(step, Joined):
        return step._replace(operands=slots)
    left = iter(slots)
    parts = [p._replace(operands=tuple(islice(left, len(p.operands)))) for p in step.parts]
    return Joined(tuple(parts), slots)


class Case:
    """One step on its buffers; ``outs`` and ``status`` are there after ``Gpu.run``."""

    def __init__(self, launches: list[Launch], arrays: list[Any], scalars: bytes, repeat: int):
        self.launches, self.scalars, self.repeat = launches, scalars, repeat
        self.arrays = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
        self.outs: list[Any] = []
        self.status = 0
        self.ms = 0.0


class Gpu:
    """On an adapter that offers what is given: fields of Limits."""

    def __init__(self, **offered: Any) -> None:
        self.offered = offered
        self.cases: list[Case] = []
        self.texts: dict[str, int] = {}
        self.errors: dict[str, list[str]] = {}

    def text(self, wgsl: str) -> int:
        return self.texts.setdefault(wgsl, len(self.texts))

    def add(self, step: Any, arrays: list[Any], scalars: bytes = b"", software: bool = False,
            repeat: int = 0) -> Case:  # fmt: skip
        """A step with its operands in order, as numpy arrays of the stored words."""
        limits = Limits(software=software, quads=software, **self.offered)
        case = Case(lower(_numbered(step), limits), arrays, scalars, repeat)
        self.cases.append(case)
        return case

    def run(self, folder: Path) -> None:
        jobs, blob = [], bytearray()
        for case in self.cases:
            padded = [a.tobytes() + bytes(-a.nbytes % 4) for a in case.arrays]
            launches = [
                {"text": self.text(one.kernel), "slots": one.slots, "grid": one.grid,
                 "flags": one.flags}
                for one in case.launches
            ]  # fmt: skip
            blob += b"".join(padded) + case.scalars
            jobs.append({"buffers": [len(p) for p in padded], "launches": launches,
                         "scalars": len(case.scalars), "repeat": case.repeat})  # fmt: skip
        (folder / "job.json").write_text(
            json.dumps({"texts": list(self.texts), "cases": jobs, **self.offered})
        )
        (folder / "in.bin").write_bytes(blob)
        done = subprocess.run(
            ["node", str(HERE / "run_wgsl.mjs"), str(folder)],
            env={**os.environ, **software_gpu()}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-4000:])
        self._take(folder, jobs)

    def _take(self, folder: Path, jobs: list[Any]) -> None:
        result = json.loads((folder / "result.json").read_text())
        texts = list(self.texts)
        self.errors = {t: e for t, e in zip(texts, result["errors"], strict=True) if e}
        for text, errors in self.errors.items():
            raise AssertionError(f"{errors}\n{text}")
        out, at = (folder / "out.bin").read_bytes(), 0
        for case, job, told in zip(self.cases, jobs, result["cases"], strict=True):
            assert not told["error"], told["error"] + "\n" + case.launches[0].kernel
            case.ms = told["ms"]
            for size, array in zip(job["buffers"], case.arrays, strict=True):
                assert out[at + size : at + size + SENTINEL] == b"\xa5" * SENTINEL, "stray write"
                case.outs.append(np.frombuffer(out[at : at + array.nbytes], array.dtype))
                at += size + SENTINEL
            case.status = int.from_bytes(out[at : at + 4], "little")
            at += 16
