"""Where a record comes from: the code as imported, the machine, and the memory that it took."""

import contextlib
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import vaenb


def _code() -> str:
    digest, package = hashlib.sha256(), Path(vaenb.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _commit() -> str:
    command = ["git", "-C", str(vaenb.ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


CODE, COMMIT = _code(), _commit()  # of the source as imported, not as edited during a long run


def device_name(device="cpu") -> str:
    """The name of a torch device for a record: the GPU's, with the precision of its convolutions
    where that is not float32's, or the processor's with its cores."""
    if str(device).startswith("cuda"):
        import torch

        rounded = ", trained with convolutions in TF32" if torch.backends.cudnn.allow_tf32 else ""
        return torch.cuda.get_device_name(device) + rounded
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return f"CPU, {os.cpu_count()} cores"


def peak_mib(device="cpu") -> float:
    """Peak memory in MiB: torch's allocator on a GPU, else this process's resident set."""
    if str(device).startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError):  # Linux; its ru_maxrss would count the parent's peak too
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
