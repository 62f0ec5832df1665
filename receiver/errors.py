"""The errors of this room. Each has a short stable `reason`.

ReceiverError
├── SettingsError   the configuration is wrong: the process refuses to start (exit 2)
├── Refused         a request is refused; its reason decides the HTTP status
├── Unreachable     Redis or AMPECO does not answer: a retry may help (exit 3)
├── NotComparable   a backfill cannot say what is missing; the text says why
└── NoRoom          a backfill cannot append what is missing
"""


class ReceiverError(Exception):
    """Base of this room's errors."""

    reason = "receiver-error"


class SettingsError(ReceiverError):
    """A setting is missing, impossible or unknown. The text is one line that ends with the fix."""

    reason = "settings"

    def __init__(self, setting: str, fault: str, fix: str) -> None:
        super().__init__(f"{setting}: {fault}; {fix}")
        self.setting = setting
        self.fault = fault
        self.fix = fix


class Refused(ReceiverError):
    """A request is refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(ReceiverError):
    """A command needs Redis or AMPECO, and it does not answer."""

    reason = "unreachable"


class NotComparable(ReceiverError):
    """What changed at AMPECO cannot be compared with what arrived."""

    reason = "not-comparable"


class NoRoom(ReceiverError):
    """The log takes no more events."""

    reason = "log-full"
