"""Jobs of installers.

Source: the enum of Subscribe at v3.96.4 (type string: confirmed), index of the specification v3.251.8 in its
order (the job: inferred; the key it sits under is not known).
"""

from collections.abc import Mapping
from typing import ClassVar

from ampeco.models.fields import OptionalId
from ampeco.models.objects.installer_job import InstallerJob
from ampeco.models.payload import LoosePayload, Nested


class InstallerJobChanged(LoosePayload):
    """A job of an installer changed."""

    notification_types: ClassVar[tuple[str, ...]] = ("installerJob.changed",)
    noun: ClassVar[str] = "installerJob"
    found_at: ClassVar[Mapping[str, tuple[str, ...]]] = {"installerJobId": ("installerJob.id",)}

    installer_job: Nested[InstallerJob] = None
    installer_job_id: OptionalId = None
