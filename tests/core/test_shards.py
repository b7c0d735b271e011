import pytest

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.shards import Shard, parse_shard


def test_shards_are_read():
    assert parse_shard("1/1") == Shard(1, 1)
    assert parse_shard("3/16") == Shard(3, 16)


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "-1/4", "a/4", "1/b", "1/0", "1.5/2"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(UsageError, match="as in 2/4"):
        parse_shard(text)


def test_every_record_is_in_one_shard_and_shards_are_of_similar_size():
    shards = [Shard(index, 4) for index in range(1, 5)]
    holders = [[shard.index for shard in shards if shard.holds(f"q-{number}")] for number in range(2000)]
    assert all(len(found) == 1 for found in holders)
    sizes = [sum(found == [shard.index] for found in holders) for shard in shards]
    assert min(sizes) > 400
