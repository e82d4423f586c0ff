"""What happens in what order. Workflows decide; activities act."""

from reelin.workflows.download import DownloadWorkflow
from reelin.workflows.info import InfoWorkflow

WORKFLOWS = (DownloadWorkflow, InfoWorkflow)

__all__ = ["WORKFLOWS", "DownloadWorkflow", "InfoWorkflow"]
