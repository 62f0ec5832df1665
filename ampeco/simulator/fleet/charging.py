"""One charging session: energy and battery over time, and how AMPECO would show it.

It knows nothing of notifications, of the fleet or of when it is asked.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

USER_IDS = (5001, 5999)
AUTHORIZATIONS_FROM = 500_000
"""Their ids are those of their sessions, from here on."""
PRICE_PER_KWH = 0.45
TAX_PERCENT = 20
_TAPER_FROM_PERCENT = 80.0
_FULL_PERCENT = 99.0


@dataclass(frozen=True, slots=True)
class Evse:
    """The one EVSE of a simulated charge point."""

    charge_point_id: int
    id: int
    max_kw: float

    @property
    def direct_current(self) -> bool:
        """Fast chargers know how full the battery is."""
        return self.max_kw > 22


@dataclass(slots=True)
class ChargingSession:
    """A session under way. Energy is in Wh."""

    id: int
    evse: Evse
    user_id: int
    external_id: str
    started_at: datetime
    battery_wh: float
    soc_percent: float
    register_wh: int
    energy_wh: float = 0.0
    power_kw: float = 0.0
    peak_kw: float = 0.0
    measured_at: datetime = field(init=False)
    updated_at: datetime = field(init=False)
    stopped_at: datetime | None = None
    reason: str | None = None
    paid: bool = False
    status: str = "active"

    def __post_init__(self) -> None:
        self.measured_at = self.updated_at = self.started_at

    @classmethod
    def begin(
        cls,
        session_id: int,
        evse: Evse,
        at: datetime,
        register_wh: int,
        random: Random,
        *,
        user_id: int | None = None,
        status: str = "active",
    ) -> "ChargingSession":
        """A driver plugs in a car that is neither empty nor full."""
        return cls(
            id=session_id,
            evse=evse,
            user_id=random.randint(*USER_IDS) if user_id is None else user_id,
            external_id=f"{random.getrandbits(48):012x}",
            started_at=at,
            battery_wh=random.randint(40, 90) * 1000.0,
            soc_percent=random.uniform(10, 60),
            register_wh=register_wh,
            status=status,
        )

    def charge_until(self, at: datetime, random: Random) -> None:
        """Take energy until this moment: full power at first, tapering off towards a full battery."""
        hours = (at - self.measured_at).total_seconds() / 3600
        taper = min(1.0, max(0.05, (100 - self.soc_percent) / (100 - _TAPER_FROM_PERCENT)))
        self.power_kw = round(self.evse.max_kw * taper * random.uniform(0.92, 1.0), 3)
        room_wh = max(0.0, (_FULL_PERCENT - self.soc_percent) / 100 * self.battery_wh)
        taken_wh = min(self.power_kw * 1000 * hours, room_wh)
        self.energy_wh += taken_wh
        self.soc_percent += taken_wh / self.battery_wh * 100
        self.peak_kw = max(self.peak_kw, self.power_kw)
        self.measured_at = at

    def stop(self, at: datetime, reason: str) -> None:
        """The car is unplugged or the driver ends the session."""
        self.stopped_at, self.reason, self.power_kw = at, reason, 0.0
        self.updated_at = at
        self.status = "finished"

    def meter_values(self) -> list[dict[str, Any]]:
        """What the meter shows now.

        Power goes without a unit: the contract has none for it.
        """
        at = moment(self.measured_at)
        shown: list[dict[str, Any]] = [
            {"measurand": "Energy Consumed", "value": int(self.energy_wh), "unit": "Wh"},
            {"measurand": "Energy Active Import Register", "value": self.meter_stop_wh, "unit": "Wh"},
            {"measurand": "Power Active Import", "value": round(self.power_kw * 1000)},
        ]
        if self.evse.direct_current:
            shown.append({"measurand": "State Of Charge", "value": int(self.soc_percent), "unit": "Percent"})
        return [{"timestamp": at, **value} for value in shown]

    @property
    def meter_stop_wh(self) -> int:
        """What the meter of the EVSE has counted up to now."""
        return self.register_wh + int(self.energy_wh)

    @property
    def roaming_id(self) -> str:
        """What its CDR is called between operators."""
        return f"SIM-CDR-{self.id}"

    def start_stop(self) -> dict[str, Any]:
        """Fields of the notification that it has started, or stopped.

        Source: published contract v3.110.0; a stop names no user.
        """
        fields: dict[str, Any] = {
            "chargePointId": self.evse.charge_point_id,
            "evseId": self.evse.id,
            "sessionId": self.id,
            "action": "start",
            "externalSessionId": self.external_id,
            "startedAtTimestamp": moment(self.started_at),
            "energyConsumed": int(self.energy_wh),
            "meterStart": self.register_wh,
            "meterStop": self.meter_stop_wh,
            "lastUpdatedAt": moment(self.stopped_at or self.started_at),
        }
        if self.stopped_at is None:
            return {**fields, "userId": self.user_id}
        stop = {"action": "stop", "stoppedAtTimestamp": moment(self.stopped_at), "reason": self.reason}
        return {**fields, **stop}

    def resource(self, at: datetime) -> dict[str, Any]:
        """The session as a resource, `at` being the moment of its last update."""
        energy_wh = int(self.energy_wh)
        with_tax = round(energy_wh / 1000 * PRICE_PER_KWH, 2)
        without_tax = round(with_tax / (1 + TAX_PERCENT / 100), 2)
        finished = self.stopped_at is not None
        stopped_at = moment(self.stopped_at) if self.stopped_at else None
        hours = (self.measured_at - self.started_at) / timedelta(hours=1)
        shown = {
            "id": str(self.id),
            "chargePointId": self.evse.charge_point_id,
            "evseId": self.evse.id,
            "connectorId": 1,
            "status": self.status,
            "userId": self.user_id,
            "authorizationId": self.id + AUTHORIZATIONS_FROM,
            "externalSessionId": self.external_id,
            "startedAt": moment(self.started_at),
            "stoppedAt": stopped_at,
            "energy": energy_wh,
            "energyConsumption": {"total": energy_wh, "grid": energy_wh},
            "powerKw": self.power_kw,
            "power": {
                "latest": self.power_kw,
                "peak": self.peak_kw,
                "average": round(energy_wh / 1000 / hours, 3) if hours else 0.0,
            },
            "amount": with_tax,
            "totalAmount": {"withTax": with_tax, "withoutTax": without_tax},
            "tax": {"taxId": 1, "taxPercentage": TAX_PERCENT},
            "currency": "EUR",
            "paymentType": "tokenized",
            "paymentMethodId": f"pm-{self.user_id}",
            "paymentStatus": "paid" if self.paid else "pending",
            "billingStatus": "completed" if self.paid else "pending",
            "authorization": {
                "id": self.id + AUTHORIZATIONS_FROM,
                "method": "user_device",
                "source": "local",
                "createdAt": moment(self.started_at),
                "status": "accepted",
                "rejectionReason": None,
                "userId": self.user_id,
            },
            "chargingPeriods": [
                {
                    "id": self.id + 700_000,
                    "energy": energy_wh,
                    "startedAt": moment(self.started_at),
                    "stoppedAt": stopped_at,
                    "state": "finished" if finished else "active",
                    "chargingState": "idle" if finished else "charging",
                }
            ],
            "lastUpdatedAt": moment(at),
        }
        if self.reason is not None:
            shown["reason"] = self.reason
        if self.evse.direct_current:
            shown["socPercent"] = int(self.soc_percent)
        return shown


def moment(at: datetime) -> str:
    """A time as the payloads write it: ISO 8601 in UTC, whole seconds."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
