"""What happens in what order. Workflows decide; activities act."""

from reelin.workflows.batch import BulkWorkflow, PlaylistWorkflow
from reelin.workflows.download import DownloadWorkflow
from reelin.workflows.info import InfoWorkflow
from reelin.workflows.site import SiteWorkflow

WORKFLOWS = (DownloadWorkflow, PlaylistWorkflow, BulkWorkflow, InfoWorkflow, SiteWorkflow)

__all__ = ["WORKFLOWS", "BulkWorkflow", "DownloadWorkflow", "InfoWorkflow", "PlaylistWorkflow", "SiteWorkflow"]
