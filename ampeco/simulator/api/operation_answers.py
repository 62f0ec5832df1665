"""Answers a call of any operation, with the part of the pretend tenant that knows it; knows no web framework."""

from ampeco.simulator.api.actions import ActionApi
from ampeco.simulator.api.call import Answer, Call
from ampeco.simulator.api.notifications import NotificationApi
from ampeco.simulator.api.resources import ResourceApi
from ampeco.simulator.fleet.scenario import Scenario
from ampeco.simulator.store import Store
from ampeco.simulator.tenant import Tenant


class OperationAnswers:
    """The operations of the notifications API, the actions and the resources."""

    def __init__(self, tenant: Tenant, scenario: Scenario, store: Store) -> None:
        self._notifications = NotificationApi(tenant)
        self._actions = ActionApi(tenant, scenario, store)
        self._resources = ResourceApi(tenant, store)

    def answer(self, call: Call) -> Answer:
        """
        Raises:
            Refused: the API refuses the call.
        """
        if call.operation.name.startswith("notifications."):
            return self._notifications.answer(call)
        if call.operation.kind == "action":
            return self._actions.answer(call)
        return self._resources.answer(call)
