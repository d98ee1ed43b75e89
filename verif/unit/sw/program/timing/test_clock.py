"""Events of the model of time."""

from tegula_sw.program.timing.clock import LAST, Clock, Gate


def test_events_come_by_cycle_by_rank_and_in_order():
    clock, seen = Clock(), []
    for cycle, rank, name in ((7, 0, "d"), (3, LAST, "c"), (3, 0, "a"), (3, 0, "b")):
        clock.call(cycle, lambda name=name: seen.append((clock.now, name)), rank)
    clock.run()
    assert seen == [(3, "a"), (3, "b"), (3, "c"), (7, "d")]


def test_a_process_goes_on_in_the_cycle_that_it_yields():
    clock, seen = Clock(), []

    def steps():
        for cycle in (2, 2, 9, 4):
            yield cycle
            seen.append(clock.now)

    clock.start(steps())
    clock.run()
    assert seen == [2, 2, 9, 9]


def test_a_process_that_runs_ahead_stops_at_the_next_event():
    clock, seen = Clock(), []

    def steps(name, period):
        for _ in range(3):
            yield clock.now + period
            seen.append((clock.now, name))

    clock.start(steps("slow", 5))
    clock.start(steps("fast", 2))
    clock.run()
    assert seen == sorted(seen)
    assert [cycle for cycle, name in seen if name == "fast"] == [2, 4, 6]


def test_a_gate_lets_all_go_on_that_wait_and_none_that_comes_later():
    clock, seen = Clock(), []
    gate = Gate(clock)

    def waiter(name, cycle):
        yield cycle
        yield gate
        seen.append((clock.now, name))

    clock.start(waiter("early", 1))
    clock.start(waiter("late", 6))
    clock.call(4, lambda: gate.open(5))
    clock.run()
    assert seen == [(5, "early")]


def test_a_gate_keeps_the_rank_of_a_process():
    clock, seen = Clock(), []
    gate = Gate(clock)

    def waiter(name):
        yield gate
        seen.append(name)

    for name, rank in (("behind", 3), ("before", 1)):
        clock.start(waiter(name), rank=rank)
    clock.call(2, lambda: gate.open(2))
    clock.run()
    assert seen == ["before", "behind"]
