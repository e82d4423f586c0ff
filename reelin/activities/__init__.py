"""What touches the world: each activity may run twice, after a success too."""

from reelin.activities.expand import ExpandActivity
from reelin.activities.fetch import FetchActivity
from reelin.activities.probe import ProbeActivity
from reelin.activities.record import RecordActivities
from reelin.activities.scratch import Scratch

__all__ = ["ExpandActivity", "FetchActivity", "ProbeActivity", "RecordActivities", "Scratch"]
