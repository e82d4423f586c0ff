"""Files that a restored library does not know are taken over, and nothing else is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from reelin.activities import publish
from reelin.activities.found import find_unknown_files
from reelin.contracts.media import Downloaded
from reelin.library import Library
from tests.activities.test_publish import NOTHING, a_job, downloaded
from tests.library.samples import MEDIA_ID, new_job, publication
from tests.media import media_folder


class Scene:
    """A job whose files stand in the scratch folder, and a media folder."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.library = library
        self.job = a_job()
        self.media = folder / "media"
        self.scratch = self.media / ".reelin-scratch" / self.job.job_id
        self.scratch.mkdir(parents=True)
        self.downloaded = _hashed(downloaded(self.scratch), self.scratch)

    async def find(self, own: frozenset[str] = NOTHING) -> frozenset[str]:
        return await find_unknown_files(
            self.library,
            self.job,
            self.downloaded,
            media=media_folder(self.library, self.media),
            media_id=MEDIA_ID,
            scratch=self.scratch,
            own=own,
        )

    def put(self, name: str, content: bytes) -> Path:
        path = self.media / name
        path.write_bytes(content)
        return path

    async def publish(self) -> publish.Plan:
        plan = publish.make_plan(self.job, self.downloaded, self.media, NOTHING, await self.find())
        publish.write_plan(plan, self.scratch)
        publish.carry_out(plan, self.scratch, self.media, NOTHING)
        return plan

    def files(self) -> set[str]:
        return {path.name for path in self.media.iterdir() if path.is_file()}


def _hashed(made: Downloaded, scratch: Path) -> Downloaded:
    files = [
        file.model_copy(update={"sha256": hashlib.sha256((scratch / file.name).read_bytes()).hexdigest()})
        for file in made.files
    ]
    return made.model_copy(update={"files": tuple(files)})


FILM, WORDS = b"media.mp4", b"media.en.vtt"


@pytest.fixture
def scene(library: Library, tmp_path: Path) -> Scene:
    return Scene(library, tmp_path)


async def test_an_equal_file_that_nobody_has_is_taken_over_and_stays_the_one_that_it_is(scene: Scene) -> None:
    there = scene.put("A film [1].mp4", FILM)
    number = there.stat().st_ino
    plan = await scene.publish()
    assert [move.path for move in plan.moves] == ["A film [1].mp4", "A film [1].en.vtt"]
    assert scene.files() == {"A film [1].mp4", "A film [1].en.vtt"}
    assert there.stat().st_ino == number
    assert not (scene.scratch / "media.mp4").exists()


async def test_one_that_differs_in_a_byte_stays_what_it_is(scene: Scene) -> None:
    there = scene.put("A film [1].mp4", b"Media.mp4")
    await scene.publish()
    assert there.read_bytes() == b"Media.mp4"
    assert (scene.media / "A film [1] (2).mp4").read_bytes() == FILM


async def test_the_first_equal_one_of_several_is_taken_and_the_others_are_left(scene: Scene) -> None:
    for name, content in (("", b"another!!"), (" (2)", FILM), (" (3)", FILM)):
        scene.put(f"A film [1]{name}.mp4", content)
    assert await scene.find() == {"A film [1] (2).mp4"}
    await scene.publish()
    assert len(scene.files()) == 4


async def test_a_file_that_another_job_has_stays_its(scene: Scene) -> None:
    scene.put("A film [1].mp4", FILM)
    job = (await scene.library.jobs.submit(new_job("other"))).job
    await scene.library.videos.publish(replace(publication("other", paths=("A film [1].mp4",)), job_id=job.id))
    assert await scene.find() == NOTHING


async def test_a_file_that_another_job_is_just_publishing_stays_its(scene: Scene) -> None:
    other = scene.scratch.with_name("video-2")
    plan = publish.make_plan(scene.job, scene.downloaded, scene.media, NOTHING)
    publish.write_plan(plan, other)
    scene.put("A film [1].mp4", FILM)
    assert await scene.find() == NOTHING


async def test_the_jobs_own_file_is_replaced_and_not_found(scene: Scene) -> None:
    scene.put("A film [1].mp4", FILM)
    assert await scene.find(frozenset({"A film [1].mp4"})) == NOTHING


async def test_a_link_is_not_taken_over(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.mp4").write_bytes(FILM)
    (scene.media / "A film [1].mp4").symlink_to(tmp_path / "elsewhere.mp4")
    assert await scene.find() == NOTHING


async def test_when_nobody_wants_the_job_any_more_what_was_there_before_stays(scene: Scene) -> None:
    scene.put("A film [1].mp4", FILM)
    plan = await scene.publish()
    publish.take_back(plan, scene.media, NOTHING)
    assert scene.files() == {"A film [1].mp4"}


async def test_a_kill_after_any_step_ends_with_the_same_files(scene: Scene) -> None:
    scene.put("A film [1].mp4", FILM)
    plan = publish.make_plan(scene.job, scene.downloaded, scene.media, NOTHING, await scene.find())
    publish.write_plan(plan, scene.scratch)
    (scene.scratch / "media.mp4").unlink()  # and then it was killed
    again = publish.read_plan(scene.job, scene.scratch)
    assert again == plan
    assert await scene.find() == NOTHING
    publish.carry_out(again, scene.scratch, scene.media, NOTHING)
    assert scene.files() == {"A film [1].mp4", "A film [1].en.vtt"}
    assert (scene.media / "A film [1].en.vtt").read_bytes() == WORDS
