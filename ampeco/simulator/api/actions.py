"""Answers calls of actions: checks them, carries out the simple ones in the fleet, records them all.

Answers have the documented status and shape. The error codes of refused starts are documented; when AMPECO gives
which is a guess.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ampeco.contract.values import completed
from ampeco.simulator.api import body_checks
from ampeco.simulator.api.call import Answer, Call
from ampeco.simulator.api.shaping import documented, empty
from ampeco.simulator.fleet.charging import AUTHORIZATIONS_FROM, moment
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.model import Refused
from ampeco.simulator.store import Store
from ampeco.simulator.tenant import Tenant

Facts = dict[str, Any]

_NOUNS: Mapping[str, str] = {
    "chargePoint": "charge-points",
    "evse": "evses",
    "session": "sessions",
    "user": "users",
    "location": "locations",
    "transaction": "transactions",
}


class _NotDone(Exception):
    """The action is answered with `success: false`."""

    def __init__(self, error_code: str) -> None:
        super().__init__(error_code)
        self.error_code = error_code


class ActionApi:
    """Actions, Resend Failed apart."""

    def __init__(self, tenant: Tenant, scenario: Scenario, store: Store) -> None:
        self._tenant = tenant
        self._scenario = scenario
        self._store = store
        self._last_id = 0
        self._effects: Mapping[str, Callable[[Call, Any], Facts]] = {
            "charge-point.change-availability": self._change_availability,
            "charge-point.reserve": self._reserve,
            "charge-point.reset": self._reset,
            "charge-point.start": self._start,
            "charge-point.start-without-evse": self._start,
            "charge-point.stop": self._stop,
            "evse.start": self._start,
            "reservation.cancel": self._cancel_reservation,
            "user.add-balance": self._add_balance,
            "user.change-status": self._change_user_status,
        }

    def answer(self, call: Call) -> Answer:
        """
        Raises:
            Refused: 404 or 422.
        """
        name = call.operation.name
        self._check_ids(call)
        body = call.body_or_none()
        if self._tenant.habits.strict_bodies:
            body_checks.check(call, body)
        params = _params(call)
        try:
            if (code := self._tenant.habits.refused_actions.get(name)) is not None:
                raise _NotDone(code)
            effect = self._effects.get(name)
            facts = {} if effect is None else effect(call, body)
        except _NotDone as refusal:
            message = "The action was not carried out."
            said = {"success": False, "errorCode": refusal.error_code, "message": message}
            return self._refusal(call, said)
        self._tenant.record(name, params, body)
        self._last_id += 1
        return self._answer(call, {**(body if isinstance(body, dict) else {}), **self._usual(call), **facts})

    def _refusal(self, call: Call, said: Facts) -> Answer:
        answers = documented(call).answers
        status = min(answers, default=200)
        schema = answers.get(status) or {}
        return Answer(status, dict.fromkeys(schema.get("required", ())) | said)

    def _usual(self, call: Call) -> Facts:
        """What answers of actions say, whichever of it the contract names for this one."""
        id_ = self._last_id
        return {
            **{f"{name}Id": int(value) for name, value in call.params.items() if value.isdecimal()},
            "id": id_,
            "success": True,
            "requestId": id_,
            "reservationId": id_,
            "sessionId": id_,
            "authorizationId": id_ + AUTHORIZATIONS_FROM,
            "fileName": f"diagnostics-{id_}.zip",
            "file_name": f"security-{id_}.log",
            "status": "Accepted",
            "timestamp": moment(self._tenant.now()),
            "downloadUrl": f"https://tenant.example/exports/{id_}.zip",
        }

    def _answer(self, call: Call, facts: Facts) -> Answer:
        answer = empty(call)
        if not isinstance(answer.document, dict):
            return answer
        schema = documented(call).answers[answer.status] or {}
        inner = schema["properties"].get("data", {}).get("properties")
        named = {name: value for name, value in facts.items() if name in (inner or schema["properties"])}
        return Answer(answer.status, completed(schema, {"data": named} if inner else named))

    def _check_ids(self, call: Call) -> None:
        for name, noun in _NOUNS.items():
            if name in call.params:
                number = call.number(name)
                if self._store.knows(noun) and not self._store.has((noun,), str(number)):
                    raise Refused(404, "There is no such resource.")

    # -- what some of them do

    def _reset(self, call: Call, body: Any) -> Facts:
        self._scenario.reset(call.number("chargePoint"))
        return {}

    def _change_availability(self, call: Call, body: Any) -> Facts:
        if (fleet := self._scenario.fleet) is not None and isinstance(body, dict):
            fleet.order_availability(call.number("chargePoint"), operative=body.get("type") != "Inoperative")
        return {}

    def _start(self, call: Call, body: Any) -> Facts:
        fleet = self._scenario.fleet
        if fleet is None:
            return {}
        charge_point_id = (
            call.number("chargePoint") if "chargePoint" in call.params else call.number("evse") // 10
        )
        user_id = body.get("userId") if isinstance(body, dict) else None
        session = fleet.order_session(charge_point_id, user_id if isinstance(user_id, int) else None)
        if session is None:
            charge_point = fleet.charge_points[charge_point_id]
            raise _NotDone("SESSION_ALREADY_RUNNING" if charge_point.session else "CHARGING_NOT_ALLOWED")
        return {"sessionId": session.id, "authorizationId": session.id + AUTHORIZATIONS_FROM}

    def _stop(self, call: Call, body: Any) -> Facts:
        if (fleet := self._scenario.fleet) is not None:
            fleet.order_stop(call.number("session"))
        return {}

    def _reserve(self, call: Call, body: Any) -> Facts:
        made = self._store.create(
            ("reservations",),
            {
                "userId": body.get("userId") if isinstance(body, dict) else None,
                "chargePointId": call.number("chargePoint"),
                "evseId": call.number("evse"),
                "status": "active",
                "reservedAt": moment(self._tenant.now()),
            },
        )
        return {"reservationId": made["id"]}

    def _cancel_reservation(self, call: Call, body: Any) -> Facts:
        self._write("reservations", call.params["reservation"], {"status": "canceled"})
        return {}

    def _add_balance(self, call: Call, body: Any) -> Facts:
        if isinstance(body, dict) and self._store.has(("users",), call.params["user"]):
            balance = self._store.read(("users",), call.params["user"]).get("balance") or 0
            self._write("users", call.params["user"], {"balance": balance + body.get("amount", 0)})
        return {}

    def _change_user_status(self, call: Call, body: Any) -> Facts:
        if isinstance(body, dict):
            self._write("users", call.params["user"], {"status": body.get("status")})
        return {}

    def _write(self, noun: str, id_: str, changes: Mapping[str, Any]) -> None:
        if self._store.has((noun,), id_):
            self._store.update((noun,), id_, changes, replaces=False)


def _params(call: Call) -> dict[str, str]:
    """The path parameters as they are recorded."""
    params = dict(call.params)
    if call.operation.name == "charge-point.reset":
        params["type"] = params["type"].lower()
        if params["type"] not in {"hard", "soft"}:
            raise Refused(422, "The given data was invalid.", errors={"type": ["Must be hard or soft."]})
    return params
