"""Jobs, videos and files in a SQL database: the only room with a session."""

from reelin.library.batches import PAGE, BatchStore, NewBatch, item_of
from reelin.library.census import BegunItem, ItemRecord, Standing
from reelin.library.jobs import JobStore
from reelin.library.mediafolders import MediaFolderStore
from reelin.library.pages import JobFilter, Page, VideoFilter
from reelin.library.records import BatchRecord, FileRecord, JobRecord, MediaFolderRecord, SiteRecord, VideoRecord
from reelin.library.sites import SiteStore
from reelin.library.standing import VideoState
from reelin.library.store import Library
from reelin.library.submissions import NewJob, Submitted
from reelin.library.videos import Publication, PublishedFile, VideoStore
from reelin.library.waiters import ask_of
from reelin.library.waits import Standstill, added_up, clipped
from reelin.library.window import Released, Window
from reelin.library.wishes import Granted, Wish, WishStore

__all__ = [
    "PAGE",
    "BatchRecord",
    "BatchStore",
    "BegunItem",
    "FileRecord",
    "Granted",
    "ItemRecord",
    "JobFilter",
    "JobRecord",
    "JobStore",
    "Library",
    "MediaFolderRecord",
    "MediaFolderStore",
    "NewBatch",
    "NewJob",
    "Page",
    "Publication",
    "PublishedFile",
    "Released",
    "SiteRecord",
    "SiteStore",
    "Standing",
    "Standstill",
    "Submitted",
    "VideoFilter",
    "VideoRecord",
    "VideoState",
    "VideoStore",
    "Window",
    "Wish",
    "WishStore",
    "added_up",
    "ask_of",
    "clipped",
    "item_of",
]
