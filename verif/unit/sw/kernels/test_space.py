"""Space is handed out oldest first, and never twice."""

import numpy as np
import pytest

from tegula_sw.kernels.space import Space


def test_pieces_begin_at_multiples_of_the_quantum():
    space = Space("words", 64, 8)
    assert [space.take("piece", size) for size in (1, 8, 9)] == [0, 8, 16]
    assert space.free == 64 - 32 and space.end == 32


def test_what_has_been_free_longest_is_given_first():
    space = Space("words", 40, 1)
    pieces = [space.take("piece", 8) for _ in range(5)]
    for number in (3, 1, 2):
        space.give(pieces[number])
    assert [space.take("piece", 8) for _ in range(3)] == [pieces[n] for n in (3, 1, 2)]


def test_words_never_given_are_older_than_all():
    space = Space("words", 32, 8)
    places = []
    for _ in range(5):
        places.append(space.take("buffer", 8))
        space.give(places[-1])
    assert places == [0, 8, 16, 24, 0]


def test_neighbours_are_joined_where_no_piece_is_large_enough():
    space = Space("words", 32, 1)
    pieces = [space.take("piece", 8) for _ in range(4)]
    for number in (2, 0, 1):
        space.give(pieces[number])
    assert space.take("large", 24) == 0
    with pytest.raises(ValueError, match="one more does not fit"):
        space.take("one more", 1)


def test_a_joined_hole_is_as_young_as_its_youngest_part():
    space = Space("words", 48, 1)
    pieces = [space.take("piece", 8) for _ in range(6)]
    for number in (0, 4, 5, 1):  # 4 and 5 are free longer than 0 and 1 together
        space.give(pieces[number])
    assert space.take("large", 16) == pieces[4]


def test_old_neighbours_come_before_a_young_hole_that_is_large_enough():
    space = Space("words", 48, 1)
    pieces = [space.take("piece", size) for size in (8, 8, 8, 24)]
    for number in (0, 1, 3):
        space.give(pieces[number])
    assert space.take("large", 16) == pieces[0]
    assert space.take("large", 24) == pieces[3]


def test_of_neighbours_only_as_many_are_taken_as_are_needed():
    space = Space("words", 32, 1)
    pieces = [space.take("piece", 8) for _ in range(4)]
    for number in (1, 2, 3):
        space.give(pieces[number])
    assert space.take("large", 12) == pieces[1]
    assert space.take("rest", 12) == pieces[1] + 12
    assert space.free == 0


def test_the_end_is_behind_the_last_piece_in_use():
    space = Space("words", 32, 1)
    first, second = space.take("first", 8), space.take("second", 8)
    assert space.end == 16
    space.give(first)
    assert space.end == 16
    space.give(second)
    assert space.end == 0 and space.free == 32


def test_what_does_not_fit_is_said_in_a_sentence():
    space = Space("scratchpad's partitions", 32, 8)
    pieces = [space.take("piece", 8) for _ in range(4)]
    space.give(pieces[0])
    space.give(pieces[2])
    message = (
        r"matrix w does not fit: it needs 16 words of the scratchpad's partitions, of whose 32"
        r" there are 16 left, 8 in one piece"
    )
    with pytest.raises(ValueError, match=message):
        space.take("matrix w", 9)
    full = Space("words", 8, 8)
    full.take("all", 8)
    with pytest.raises(ValueError, match="there are 0 left, 0 in one piece"):
        full.take("more", 1)


def test_only_a_piece_can_be_given_back():
    space = Space("words", 32, 8)
    space.take("piece", 16)
    with pytest.raises(KeyError):
        space.give(8)


@pytest.mark.parametrize("seed", range(4))
def test_no_word_is_given_twice(seed):
    rng = np.random.default_rng(seed)
    space, taken = Space("words", 256, 4), {}
    owner = np.zeros(256, int)
    refused = 0
    for number in range(1, 1500):
        if taken and rng.random() < 0.48:
            start = int(rng.choice(list(taken)))
            assert (owner[start : start + taken[start][1]] == taken[start][0]).all()
            owner[start : start + taken.pop(start)[1]] = 0
            space.give(start)
        else:
            size = int(rng.integers(1, 60))
            try:
                start = space.take("piece", size)
            except ValueError:
                refused += 1
                # Truly no place: no run of free words is that long, at multiples of 4.
                free = "".join(" x"[bool(word)] for word in owner)
                assert max(map(len, free.split("x"))) < -(-size // 4) * 4
                continue
            size = -(-size // 4) * 4
            assert start % 4 == 0 and not owner[start : start + size].any()
            owner[start : start + size] = number
            taken[start] = number, size
        assert space.free == 256 - np.count_nonzero(owner)
        assert space.end == max((s + size for s, (_, size) in taken.items()), default=0)
    assert refused > 10
