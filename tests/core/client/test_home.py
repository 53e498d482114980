"""Where outputs may go, and that outputs of two jobs are never mixed there."""

from pathlib import Path

import pytest

from discomputify_core.client.home import keep_only, look, prepare, remove_collected
from discomputify_core.edge.trees import JOB_MARK
from discomputify_core.errors import BadInput, DiskError
from discomputify_core.model.ids import ProcessId
from discomputify_core.model.job import JobState, JobStatus, PartCounts


def status(submitted_at: float = 1.0) -> JobStatus:
    return JobStatus(ProcessId("job"), JobState.DONE, PartCounts(), submitted_at)


def test_a_new_folder_is_marked_and_may_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "job"
    assert not prepare(folder, status())
    assert (folder / JOB_MARK).exists()
    (folder / "job_1_1").mkdir()
    assert not prepare(folder, status())
    assert (folder / "job_1_1").is_dir()


def test_what_an_earlier_job_left_makes_room_and_the_rest_stays(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    prepare(folder, status())
    for name in ("job_1_3", "collected/3", "mine", "job_1_3_notes"):
        (folder / name).mkdir(parents=True)
    for name in ("job_1_3/o.txt", "logs/3.out", "logs/3.err", "logs/mine.txt", "summary.csv"):
        (folder / name).touch()
    assert prepare(folder, status(submitted_at=2.0))
    left = sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.name != JOB_MARK)
    assert left == ["collected", "job_1_3_notes", "logs", "logs/mine.txt", "mine", "summary.csv"]


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    prepare(tmp_path, status())
    assert (tmp_path / "logs").is_dir()


def test_what_was_fetched_of_other_parts_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    prepare(folder, status())
    for name in ("job_1_3", "job_2_3", "collected/2", "collected/3", "job_2_3_notes"):
        (folder / name).mkdir(parents=True)
    (folder / "job_2_3" / "o.txt").touch()
    assert keep_only(folder, {1, 3}) == [2]
    assert sorted(each.name for each in folder.iterdir() if each.is_dir()) == [
        "collected",
        "job_1_3",
        "job_2_3_notes",
        "logs",
    ]
    assert [each.name for each in (folder / "collected").iterdir()] == ["3"]
    remove_collected(folder, 3)
    remove_collected(folder, 3)
    assert not list((folder / "collected").iterdir())


def test_without_logs_there_is_no_folder_for_them(tmp_path: Path) -> None:
    prepare(tmp_path / "job", status(), logs=False)
    assert [each.name for each in (tmp_path / "job").iterdir()] == [JOB_MARK]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(BadInput, match="another process id"):
        look(tmp_path)
    with pytest.raises(BadInput, match="another process id"):
        prepare(tmp_path, status())
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "job").touch()
    with pytest.raises(BadInput, match="is a file"):
        prepare(tmp_path / "job", status())


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for attempt in (look, lambda folder: prepare(folder, status())):
        with pytest.raises(DiskError, match="file") as caught:
            attempt(tmp_path / "file" / "job")
        assert caught.value.fields["path"]


def test_looking_changes_nothing(tmp_path: Path) -> None:
    look(tmp_path / "out" / "job")
    assert list(tmp_path.iterdir()) == []
