"""Circuits and what they carry.

Source: the enum of Subscribe at v3.96.4 (type strings: confirmed), index of the specification v3.251.8 in its
order (the elements of a consumption: inferred; their key is not known).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BeforeValidator

from ampeco.models.fields import OptionalId
from ampeco.models.objects.circuit import Circuit
from ampeco.models.objects.circuit_consumption import CircuitConsumption
from ampeco.models.payload import LoosePayload, Nested


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class CircuitChanged(LoosePayload):
    """A circuit changed; that it comes along is a guess."""

    notification_types: ClassVar[tuple[str, ...]] = ("circuit.changed",)
    noun: ClassVar[str] = "circuit"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"circuitId": ("circuit.id",)}

    circuit: Nested[Circuit] = None
    circuit_id: OptionalId = None


class CircuitConsumptionReported(LoosePayload):
    """The load of a circuit, phase by phase.

    Attributes:
        consumption: one element even where AMPECO sends a single object.
    """

    notification_types: ClassVar[tuple[str, ...]] = ("CircuitConsumptionNotification",)
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"circuitId": ("circuit.id", "circuit", "id")}

    circuit_id: OptionalId = None
    consumption: Annotated[list[CircuitConsumption] | None, BeforeValidator(_listed)] = None
