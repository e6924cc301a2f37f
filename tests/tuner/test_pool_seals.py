"""Damage that SQLite cannot see, and pools from before there were seals."""

import contextlib
import os
import sqlite3

import pytest

from keras_meta.tuner import ExperiencePool, pool_seals
from keras_meta.tuner.pool_schema import PoolError

SPACE = [{"class_name": "Boolean", "config": {"name": "flag"}}]


@pytest.fixture
def pool(tmp_path):
    pool = ExperiencePool(tmp_path / "pool.sqlite")
    trials = [
        {"values": {"flag": True}, "score": i / 8, "trial_id": str(i)} for i in range(3)
    ]
    pool.add("a", SPACE, trials, "val_loss")
    pool.add("b", SPACE, trials, "val_loss")
    pool.keep("prior", b"learned")
    return pool


def change(pool, *statements):
    with contextlib.closing(sqlite3.connect(pool.path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def make_older(pool):
    """Makes a pool what the first schema made of it."""
    change(
        pool,
        "ALTER TABLE tasks DROP COLUMN seal",
        "ALTER TABLE tasks DROP COLUMN num_trials",
        "ALTER TABLE trials DROP COLUMN seal",
        "DROP TABLE totals",
        "UPDATE computed SET value = x'6c6561726e6564'",  # Without its digest.
        "PRAGMA user_version = 1",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET score = 0.126 WHERE id = 2",
        "UPDATE trials SET task = 2 WHERE id = 2",
        'UPDATE trials SET "values" = \'{"flag":false}\' WHERE id = 2',
        "DELETE FROM trials WHERE id = 3",
        "DELETE FROM tasks WHERE id = 2",
        "UPDATE tasks SET direction = 'max' WHERE id = 1",
        "UPDATE tasks SET num_trials = 4 WHERE id = 1",
        "DELETE FROM totals",
    ],
)
def test_a_row_that_is_another_or_gone_is_told_and_stays_told(pool, statement):
    change(pool, statement)
    for _ in range(2):
        with pytest.raises(PoolError, match="is damaged.*import the projects"):
            pool.tasks()
        # Writing to it does not hide the damage.
        with contextlib.suppress(PoolError):
            pool.add("a", SPACE, [{"values": {"flag": True}, "score": 9}], "val_loss")
    with contextlib.suppress(PoolError):
        pool.add("c", SPACE, [], "val_loss")
    with pytest.raises(PoolError, match="is damaged"):
        pool.tasks()


def test_counts_notice_what_is_missing(pool):
    assert (len(pool), pool.num_trials) == (2, 6)
    change(pool, "DELETE FROM trials WHERE id = 3")
    with pytest.raises(PoolError, match="5 of 6 trials are there"):
        _ = pool.num_trials


def test_damage_of_a_task_is_told_before_it_is_written_over(pool):
    change(pool, "UPDATE tasks SET space = '[]' WHERE id = 1")
    with pytest.raises(PoolError, match="its seal does not fit"):
        pool.add("a", SPACE, [], "val_loss")


def test_what_was_computed_and_is_damaged_is_computed_anew(pool):
    assert pool.cached("prior") == b"learned"
    change(pool, "UPDATE computed SET value = value || x'00'")
    assert pool.cached("prior") is None


def test_a_pool_without_seals_is_read_and_sealed_at_the_next_write(pool):
    before = pool.tasks()
    make_older(pool)
    again = ExperiencePool(pool.path, read_only=True)
    assert again.tasks() == before
    assert (len(again), again.num_trials, again.cached("prior")) == (2, 6, None)
    pool.add("a", SPACE, [{"values": {"flag": False}, "score": 0.5}], "val_loss")
    assert [len(task.trials) for task in pool.tasks()] == [4, 3]
    assert pool.tasks()[1] == before[1]
    change(pool, "UPDATE trials SET score = 0.126 WHERE id = 2")
    with pytest.raises(PoolError, match="is damaged"):
        pool.tasks()


def test_a_pool_without_seals_is_not_sealed_where_it_is_damaged(pool):
    make_older(pool)
    change(pool, "UPDATE trials SET score = 0.126 WHERE id = 2")
    with pytest.raises(PoolError, match="its content is another one"):
        pool.add("a", SPACE, [], "val_loss")


def test_a_pool_without_seals_may_hold_the_score_minus_zero(pool):
    pool.add("c", SPACE, [{"values": {"flag": True}, "score": -0.0}], "val_loss")
    make_older(pool)
    again = [{"values": {"flag": True}, "score": -0.0}]
    assert pool.add("c", SPACE, again, "val_loss").unchanged == 1
    assert [trial.score for trial in pool.tasks()[2].trials] == [0.0]


def test_an_interrupt_while_sealing_is_no_damage(pool, monkeypatch):
    def interrupted(*cells):
        raise KeyboardInterrupt

    before = pool.tasks()
    new = [{"values": {"flag": False}, "score": 0.5}]
    with monkeypatch.context() as patch:
        patch.setattr(pool_seals, "seal_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            # An older pool is first sealed, and has no seals to check before.
            make_older(pool)
            pool.add("a", SPACE, new, "val_loss")
    assert pool.tasks() == before
    assert pool.add("a", SPACE, new, "val_loss").added == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
        "FROM n) SELECT i FROM n",
        "CREATE TRIGGER more AFTER INSERT ON trials BEGIN DELETE FROM tasks; END",
        "CREATE TABLE more (a)",
        "ALTER TABLE tasks ADD COLUMN more AS (zeroblob(1000000000))",
    ],
)
def test_a_pool_with_parts_that_would_be_run_is_refused(pool, statement):
    change(pool, statement)
    with pytest.raises(PoolError, match="holds what no pool holds.*Received: the"):
        ExperiencePool(pool.path)
    assert os.listdir(pool.path.parent) == ["pool.sqlite"]
