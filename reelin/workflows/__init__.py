"""What happens in what order. Workflows decide; activities act."""

from reelin.workflows.batch import BulkWorkflow, PlaylistWorkflow
from reelin.workflows.download import DownloadWorkflow
from reelin.workflows.info import InfoWorkflow

WORKFLOWS = (DownloadWorkflow, PlaylistWorkflow, BulkWorkflow, InfoWorkflow)

__all__ = ["WORKFLOWS", "BulkWorkflow", "DownloadWorkflow", "InfoWorkflow", "PlaylistWorkflow"]
