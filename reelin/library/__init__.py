"""Jobs, videos and files in a SQL database: the only room with a session."""

from reelin.library.jobs import JobStore
from reelin.library.pages import JobFilter, Page, VideoFilter
from reelin.library.records import FileRecord, JobRecord, VideoRecord
from reelin.library.store import Library
from reelin.library.submissions import NewJob, Submitted
from reelin.library.videos import Publication, PublishedFile, VideoStore

__all__ = [
    "FileRecord",
    "JobFilter",
    "JobRecord",
    "JobStore",
    "Library",
    "NewJob",
    "Page",
    "Publication",
    "PublishedFile",
    "Submitted",
    "VideoFilter",
    "VideoRecord",
    "VideoStore",
]
