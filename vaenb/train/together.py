"""How many members of a sweep train together, and a GPU's step as one captured graph."""

import copy
import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaenb.train.group import Group, initial

TINY = 3e8  # operations of a step below which lockstep pays on a CPU (1.1 to 1.9 times at 2e8)
MOST_ON_CPU = 32  # more only leave the cache
SHARE = 0.8  # of a GPU's free memory
NO_ROOM = ("can't allocate memory", "CUDA error: out of memory",  # as PyTorch words it
           "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
           "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python could not allocate."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(told in str(error) for told in NO_ROOM))


def members_together(make_model, rows, work, asked: int = 0) -> tuple[int, str]:
    """How many rows to train in lockstep, and why in a few words ("" for a sweep of one).

    A trial step decides whether they can be stacked at all, and on a GPU how many fit; the choice
    does not depend on the clock, so that it is the same in every run.
    """
    if len(rows) == 1 or asked == 1:
        return 1, "" if len(rows) == 1 else "as asked"
    first, where = initial(make_model, rows[0]["seed"]), work.device
    if not asked and where.type == "cpu":
        least = 6 * work.batch * sum(p.numel() for p in first.parameters())
        if least > TINY or _operations(first, rows[:1], work) > TINY:
            return 1, "a CPU has no gain from more with nets of this size"
    second = initial(make_model, rows[1]["seed"])
    if [(n, p.shape) for n, p in first.state_dict().items()] != [
        (n, p.shape) for n, p in second.state_dict().items()
    ]:
        return 1, "their shapes differ"
    if any(isinstance(module, torch.nn.RNNBase) for module in first.modules()):
        return 1, "torch's recurrent nets are faster one by one"
    before = torch.cuda.memory_allocated(where) if where.type == "cuda" else 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pair = Group([first, second], rows[:2], work, True)
            pair.shuffle()
            if where.type == "cuda":
                torch.cuda.reset_peak_memory_stats(where)
            pair.step()
        except Exception as error:
            if is_out_of_memory(error):
                return 1, "two do not fit into the memory"
            return 1, f"torch cannot batch this model or loss ({_first_line(error)})"
    slow = [w for w in caught if "performance drop" in str(w.message)]
    if slow:
        return 1, f"torch has no batching rule for it ({_first_line(slow[0].message)})"
    if asked:
        return min(asked, len(rows)), "as asked"
    if where.type == "cpu":
        return min(MOST_ON_CPU, len(rows)), "tiny nets gain from lockstep"
    each = max(1, (torch.cuda.max_memory_allocated(where) - before) // 2)
    del pair
    torch.cuda.empty_cache()
    fit = int(SHARE * torch.cuda.mem_get_info(where)[0] // each)
    return max(1, min(fit, len(rows))), f"{each / 2**20:.0f} MiB of GPU memory each"


def _operations(model, rows, work) -> int:
    """Multiplications and additions of one member's step, from a trial."""
    one = Group([copy.deepcopy(model)], rows, work, False)
    with FlopCounterMode(display=False) as counter:
        one.step()
    return counter.get_total_flops()


def _first_line(error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:90]


class Captured:
    """A group's step on a GPU: three true steps warm up, then one graph is replayed.

    Nothing in a step depends on the host: the clock, the order and all settings are on the device.
    What cannot be captured goes on step by step.
    """

    WARM = 3

    def __init__(self, group):
        self.group, self.graph, self.done, self.waits = group, None, 0, False
        self.stream = torch.cuda.Stream(group.p.device)

    def __call__(self):
        if self.graph is not None:
            return self.graph.replay()
        if self.done == self.WARM and not self.waits:
            self._capture()
        elif self.done == self.WARM - 1:
            self._watched()
        else:
            self._step()
        self.done += 1

    def _watched(self):
        """A step in which waiting for the device is an error. A step that waits is not captured,
        since a capture that fails keeps its memory."""
        before = torch.cuda.get_sync_debug_mode()
        kept = {name: buffer.clone() for name, buffer in self.group.buffers.items()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the mode is a prototype
                torch.cuda.set_sync_debug_mode("error")
            self._step()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            warnings.warn(f"the step is not captured: {_first_line(error)}", stacklevel=3)
            self.waits = True
        finally:
            torch.cuda.set_sync_debug_mode(before)
        if self.waits:  # again, from where the step began
            for name, buffer in kept.items():
                self.group.buffers[name].copy_(buffer)
            self._step()

    def _step(self):
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.group.step()
        torch.cuda.current_stream().wait_stream(self.stream)

    def _capture(self):
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.group.step()
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # where ending the capture raised, torch did not
            if is_out_of_memory(error):
                raise
            warnings.warn(f"the step is not captured: {_first_line(error)}", stacklevel=2)
            torch.cuda.synchronize()
            return self._step()
        self.graph = graph
        graph.replay()
