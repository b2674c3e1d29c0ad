"""Slots and addresses of real sessions."""

from __future__ import annotations

from conftest import every_session

from spark_keras.cluster import files, session, slots


@every_session
def test_slots_are_what_the_session_can_run_at_once(spark):
    assert slots.slots(spark) == 2
    assert slots.task_cpus(spark) == 1
    assert not session.slots_can_grow(spark)


@every_session
def test_files_go_through_sparks_file_system(spark, tmp_path):
    path = f"file://{tmp_path}/some folder/file"
    assert files.read_file(spark, path) is None
    data = bytes(range(256)) * 1000
    files.write_file(spark, path, data)
    assert files.read_file(spark, path) == data
    assert (tmp_path / "some folder" / "file").read_bytes() == data
