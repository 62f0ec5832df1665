"""What can go wrong at the door and before it, each with a short stable `reason`.

ReceiverError
├── SettingsError   the configuration is wrong: the process refuses to start (exit 2)
├── Refused         one delivery is not taken; its reason decides the HTTP status
└── Unreachable     Redis or AMPECO is away: trying again may help (exit 3)
"""


class ReceiverError(Exception):
    """Base of this room's errors."""

    reason = "receiver-error"


class SettingsError(ReceiverError):
    """One setting is missing, impossible or unknown; the text is one line that ends with the mend."""

    reason = "settings"

    def __init__(self, setting: str, fault: str, mend: str) -> None:
        super().__init__(f"{setting}: {fault}; {mend}")
        self.setting = setting
        self.fault = fault
        self.mend = mend


class Refused(ReceiverError):
    """A delivery that is not taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(ReceiverError):
    """A command needs Redis or AMPECO and got no answer."""

    reason = "unreachable"
