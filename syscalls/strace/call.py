"""One call as text: its name, what its arguments look like before and after, and its result.

What a call fills in, and all that stands behind it, is printed when the call has ended; the rest when it begins.
"""

from __future__ import annotations

from numalab.arch.errno import EINTR, errno_name, strerror
from numalab.syscalls.entry import SyscallEvent
from numalab.syscalls.kinds import Kind
from numalab.syscalls.strace.files import octal
from numalab.syscalls.strace.forms import hexadecimal
from numalab.syscalls.strace.kinds import show
from numalab.syscalls.strace.prctl import DUMPABLE, GET_DUMPABLE, GET_NAME
from numalab.syscalls.strace.view import View, is_error

__all__ = ["CallText"]

# Calls whose result is an address rather than a decimal number.
_HEX_RESULT = ("mmap", "brk", "mremap")
# Calls that a signal interrupts do not fail yet: the kernel begins them again or not, as the handler was set up.
_RESTART = "? ERESTARTSYS (To be restarted if SA_RESTART is set)"
_RESTART_BLOCK = "? ERESTART_RESTARTBLOCK (Interrupted by signal)"


class CallText:
    """The text of one call, which comes in two pieces: `begun` when it begins, `rest()` when it has ended.

    name: of a call that is none, its number.  open: whether `rest()` has arguments to add.
    """

    def __init__(self, event: SyscallEvent) -> None:
        self._event = event
        row = event.row
        self.name = row.name if row is not None else f"syscall_{event.number:#x}"
        if row is None:
            shown = [hexadecimal(register) for register in event.raw]
            self._late, self.open = 0, False
        else:
            view = View(event.task, row, event.raw)
            kinds = [arg.kind for arg in row.args]
            self._late = next((i for i, kind in enumerate(kinds) if _is_filled_in(view, kind)), len(kinds))
            self.open = self._late < len(kinds)
            shown = [text for i in range(self._late) if (text := show(view, i))]
        self.begun = f"{self.name}({', '.join(shown)}" + (", " if shown and self.open else "")

    def rest(self) -> str:
        """The arguments that were left, without the bracket behind them."""
        event = self._event
        if event.row is None or not self.open:
            return ""
        view = View(event.task, event.row, event.raw, event.result)
        shown = (show(view, i) for i in range(self._late, len(event.row.args)))
        return ", ".join(text for text in shown if text)

    def result(self) -> str:
        """What stands behind the equals sign."""
        result, name = self._event.result, self.name
        assert result is not None
        if result == -EINTR and not self._event.injected:
            return _RESTART_BLOCK if name == "nanosleep" else _RESTART
        if is_error(result):
            injected = " (INJECTED)" if self._event.injected else ""
            return f"-1 {errno_name(result)} ({strerror(result)}){injected}"
        if name in _HEX_RESULT:
            return hexadecimal(result)
        if name == "umask":
            return octal(result)
        if name == "prctl" and self._event.raw[0] == GET_DUMPABLE:
            return f"{result} ({DUMPABLE[result]})"
        return str(result)


def _is_filled_in(view: View, kind: Kind) -> bool:
    return kind.endswith("_out") or (kind is Kind.PRCTL_ARG and view.raw[0] == GET_NAME)
