"""What touches the world: each activity may run twice, after a success too."""

from reelin.activities.fetch import FetchActivity
from reelin.activities.probe import ProbeActivity
from reelin.activities.record import RecordActivities
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteActivities, SiteDesk

__all__ = ["FetchActivity", "ProbeActivity", "RecordActivities", "Scratch", "SiteActivities", "SiteDesk"]
