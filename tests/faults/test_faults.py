"""A share of `make faults`, with another seed each day; the seed stands in the message of a failure."""

from datetime import date

from tests.faults.harness import CASES, run

KILLS = 14


def test_stages_survive_kills_torn_tails_and_full_disks() -> None:
    seed = date.today().toordinal()
    tolls = run(KILLS, seed)
    assert sum(toll.kills for toll in tolls.values()) == KILLS
    assert {name: toll.differences for name, toll in tolls.items() if toll.differences} == {}, f"seed {seed}"


def test_every_record_stage_is_tormented() -> None:
    from tests.test_architecture import record_commands

    assert {case.name for case in CASES} == record_commands()
