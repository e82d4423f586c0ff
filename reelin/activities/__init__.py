"""What touches the world: each activity may run twice, after a success too."""

from reelin.activities.batch import BatchActivities
from reelin.activities.bell import Bell
from reelin.activities.expand import ExpandActivity
from reelin.activities.fetch import FetchActivity
from reelin.activities.handover import Handover
from reelin.activities.housekeeping import Housekeeping
from reelin.activities.leases import LeaseActivities
from reelin.activities.media import MediaFolder
from reelin.activities.places import Places, extra_places
from reelin.activities.presence import Presence
from reelin.activities.probe import ProbeActivity
from reelin.activities.pulse import Pulse
from reelin.activities.record import RecordActivities
from reelin.activities.scratch import Scratch
from reelin.activities.site import SiteDesk
from reelin.activities.starter import Start, Starter

__all__ = [
    "BatchActivities",
    "Bell",
    "ExpandActivity",
    "FetchActivity",
    "Handover",
    "Housekeeping",
    "LeaseActivities",
    "MediaFolder",
    "Places",
    "Presence",
    "ProbeActivity",
    "Pulse",
    "RecordActivities",
    "Scratch",
    "SiteDesk",
    "Start",
    "Starter",
    "extra_places",
]
