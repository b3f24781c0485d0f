"""Whether everything is here that the book needs: a row a thing, with the mend where it lacks."""

import os
import platform
import shutil
import sys

import vaenb
from vaenb.errors import VaenbError

_INSTALL = f"run `make book` in {vaenb.ROOT}, or `pip install -e '.[run]'` there"


def rows(kernel: str = "python3") -> list[tuple[str, bool, str]]:
    """(name, whether it is well, what is there or how to mend it) for each thing looked at.

    Starts the kernel once, which takes a second or two, and reads the data sets.
    """
    checks = {"python": _python, "torch": _torch, "device": _device, "data": _data,
              "kernel": lambda: _kernel(kernel), "disk": _disk}
    found = []
    for name, check in checks.items():
        try:
            found.append((name, True, check()))
        except VaenbError as error:
            found.append((name, False, str(error)))
        except Exception as error:
            found.append((name, False, f"{type(error).__name__}: {error}; {_INSTALL}"))
    return [(name, well, " ".join(text.split())) for name, well, text in found]


def _need(well: bool, sentence: str) -> None:
    if not well:
        raise VaenbError(sentence)


def _python() -> str:
    _need(sys.version_info >= (3, 11, 5), f"this is Python {platform.python_version()} and 3.11.5 "
          f"or later is needed: install one and run `make book PYTHON=python3.12`")
    return f"{platform.python_version()} at {sys.executable}"


def _torch() -> str:
    import torch

    found = tuple(int(n) for n in torch.__version__.split(".")[:2])
    _need(found >= (2, 9), f"this is torch {torch.__version__} and 2.9 is needed: {_INSTALL}")
    return torch.__version__


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"no GPU that torch can use; {os.cpu_count()} processor cores"
    torch.zeros(1, device="cuda").add_(1).item()  # a driver that does not fit fails only here
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _data() -> str:
    from vaenb.data import status

    states = {}
    for row in status():
        _need(row["state"] != "damaged", row["note"])
        states.setdefault(row["state"], []).append(row["name"])
    told = "; ".join(f"{state}: {', '.join(names)}" for state, names in states.items())
    return told + "; `vaenb data NAME` fetches one" * ("absent" in states)


def _kernel(name: str) -> str:
    from jupyter_client.manager import start_new_kernel

    try:
        manager, client = start_new_kernel(kernel_name=name, extra_arguments=["--log-level=50"])
    except Exception as error:
        raise VaenbError(f"the kernel {name} does not start ({error}): {_INSTALL}") from error
    said = []
    try:
        client.execute_interactive(
            "import sys, vaenb\nprint(vaenb.__version__, sys.executable)", timeout=60,
            output_hook=lambda message: said.append(message["content"].get("text", "")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    _need("".join(said).startswith(f"{vaenb.__version__} "),
          f"the kernel {name} starts but does not find vaenb {vaenb.__version__}: {_INSTALL}")
    return f"{name} starts, with vaenb {''.join(said)}"


def _disk() -> str:
    free = shutil.disk_usage(vaenb.ROOT).free / 1e9
    _need(os.access(vaenb.ROOT, os.W_OK), f"{vaenb.ROOT} cannot be written: clone elsewhere")
    _need(free > 2, f"{free:.1f} GB are free at {vaenb.ROOT} and runs need 2: free some space")
    return f"{free:.0f} GB free at {vaenb.ROOT}"
