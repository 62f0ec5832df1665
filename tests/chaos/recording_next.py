"""The same handlers as the next version of their code, in which one of them wants another type."""

import os

os.environ["CHAOS_NEXT"] = "1"

from tests.chaos.recording import *  # noqa: F403
