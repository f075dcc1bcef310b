"""How an attempt ends that does not end with a result."""

from __future__ import annotations


class AgentError(Exception):
    """A failure with what the client may see of it. It is tried again unless
    retryable is False. Any other exception is told by its type and its text, and
    tried again."""

    def __init__(self, message: str, code: str = "", retryable: bool = True):
        super().__init__(message)
        self.message, self.code, self.retryable = message, code, retryable


class Permanent(AgentError):
    """A failure that no retry can mend."""

    def __init__(self, message: str, code: str = ""):
        super().__init__(message, code, retryable=False)


class StepFailed(Permanent):
    """A step has failed for good, in this run or in one before."""


class InputTimeout(Permanent):
    """No answer has come in time."""


class ChildFailed(Permanent):
    """A task that this one has called did not complete; task is its record."""

    def __init__(self, message: str, code: str = "child_failed", task: dict | None = None):
        super().__init__(message, code)
        self.task = task


class Canceled(BaseException):
    """Nobody wants the attempt any more. It passes by `except Exception`."""


class Suspended(BaseException):
    """The job waits: the handler runs again from its top when the wait is over. It
    passes by `except Exception`."""


def told(error: BaseException) -> dict:
    """The error line of an exception."""
    if isinstance(error, AgentError):
        line = {"type": "error", "message": error.message or type(error).__name__, "retryable": error.retryable}
        if error.code:
            line["code"] = error.code
        return line
    text = str(error)
    return {"type": "error", "message": type(error).__name__ + (": " + text if text else "")}
