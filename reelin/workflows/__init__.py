"""What happens in what order. Workflows decide; activities act."""

from reelin.workflows.download import DownloadWorkflow
from reelin.workflows.info import InfoWorkflow
from reelin.workflows.site import SiteWorkflow

WORKFLOWS = (DownloadWorkflow, InfoWorkflow, SiteWorkflow)

__all__ = ["WORKFLOWS", "DownloadWorkflow", "InfoWorkflow", "SiteWorkflow"]
