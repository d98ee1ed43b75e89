"""Tests of the regression, each by name, so that none is lost unseen."""

from collections.abc import Callable
from dataclasses import dataclass

from tegula.config import TileConfig
from verif.benches import digits, fuzz
from verif.benches.simulation import TestOutcome

__all__ = ["BENCHES", "Bench"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A bench and its tests.

    Attributes
    ----------
    name
        First part of the tests' names.
    top, module
        The toplevel (see `simulation.Simulation`) and the cocotb module.
    run
        For a bench without cocotb: runs one test.
    tiny_tests
        Tests that always run on preset tiny: random work, where a small tile meets more corners in
        a second.
    preset_tests
        Tests that run on the chosen preset.
    """

    name: str
    top: str = ""
    module: str = ""
    run: Callable[[str, TileConfig, int, bool], TestOutcome] | None = None
    tiny_tests: tuple[str, ...] = ()
    preset_tests: tuple[str, ...] = ()

    def by_preset(self, chosen: str) -> dict[str, tuple[str, ...]]:
        """The tests of each preset, where `chosen` is the larger one."""
        if chosen == "tiny":
            return {"tiny": tuple(dict.fromkeys(self.tiny_tests + self.preset_tests))}
        return {"tiny": self.tiny_tests, chosen: self.preset_tests}


BENCHES = (
    Bench(
        name="array",
        top="ArrayTop",
        module="verif.benches.bench_array",
        tiny_tests=(
            "every_kind_of_data_in_back_to_back_passes",
            "all_pairs_of_e4m3fn_and_e4m3fn",
            "all_pairs_of_e4m3fn_and_e5m2",
            "all_pairs_of_e5m2_and_e5m2",
        ),
        preset_tests=("every_kind_of_data_in_back_to_back_passes",),
    ),
    Bench(
        name="vector",
        top="VectorTop",
        module="verif.benches.bench_vector",
        tiny_tests=(
            "random_instructions_without_denied_grants",
            "random_instructions_with_10_percent_denied_grants",
            "random_instructions_with_50_percent_denied_grants",
            "traps_come_after_all_before_them_and_nothing_after_them",
            "every_code_enters_as_in_golden",
            "elements_follow_each_other_at_the_documented_rate",
            "blocks_follow_each_other_at_the_documented_rate",
        ),
    ),
    Bench(
        name="activation",
        top="ActivationTop",
        module="verif.benches.bench_activation",
        tiny_tests=(
            "random_instructions_without_denied_grants",
            "random_instructions_with_10_percent_denied_grants",
            "random_instructions_with_50_percent_denied_grants",
            "traps_come_after_all_before_them_and_nothing_after_them",
            "columns_follow_each_other_at_the_documented_rate",
        ),
    ),
    Bench(
        name="dma",
        top="DmaTop",
        module="verif.benches.bench_dma",
        tiny_tests=(
            "transfers_without_pauses",
            "transfers_with_1_percent_pauses",
            "transfers_with_10_percent_pauses",
            "transfers_with_50_percent_pauses",
            "a_trap_of_one_engine_leaves_the_other_alone",
        ),
        preset_tests=(
            "transfers_without_pauses",
            "transfers_with_10_percent_pauses",
            "a_trap_of_one_engine_leaves_the_other_alone",
        ),
    ),
    Bench(
        name="control",
        top="ControlTop",
        module="verif.benches.bench_control",
        preset_tests=(
            "random_programs_keep_order_and_count",
            "the_host_signals_programs_that_wait_for_it",
            "traps_of_the_front_end_come_after_all_earlier_work",
            "traps_of_engines_stop_the_program",
            "a_failed_fetch_traps_at_its_granule",
            "abort_and_start_work_at_any_time",
        ),
    ),
    Bench(
        name="tile",
        top="Tile",
        module="verif.benches.bench_tile",
        tiny_tests=(
            "gemms_without_pauses",
            "gemms_with_1_percent_pauses",
            "gemms_with_10_percent_pauses",
            "gemms_with_50_percent_pauses",
            "gemms_in_every_combination_of_formats",
            "casts_round_to_even_and_stochastically",
            "random_programs_equal_golden",
            "programs_with_loops_equal_golden",
        ),
        preset_tests=(
            "gemms_without_pauses",
            "gemms_with_10_percent_pauses",
            "casts_round_to_even_and_stochastically",
            "random_programs_equal_golden",
            "programs_with_loops_equal_golden",
        ),
    ),
    Bench(
        name="traps",
        top="Tile",
        module="verif.benches.bench_traps",
        tiny_tests=(
            "every_cause_is_recorded_and_survived",
            "corrupted_programs_end_as_in_golden",
            "a_trap_of_an_earlier_instruction_comes_first",
            "bus_errors_have_the_address_of_their_burst",
            "a_fetch_that_fails_stops_behind_the_last_good_instruction",
            "abort_stops_a_program_at_any_time",
        ),
        preset_tests=(
            "every_cause_is_recorded_and_survived",
            "bus_errors_have_the_address_of_their_burst",
        ),
    ),
    Bench(
        name="bus",
        top="Tile",
        module="verif.benches.bench_bus",
        tiny_tests=(
            "reads_are_served_first",
            "writes_are_served_first",
            "one_transaction_at_a_time",
            "an_address_waits_for_the_first_beat",
            "an_address_waits_for_the_last_beat",
            "a_beat_waits_for_its_address",
            "answers_come_thousands_of_cycles_late",
            "reads_of_different_ids_interleave",
            "channels_rest_for_hundreds_of_cycles",
            "random_beats_fail",
            "reset_is_possible_at_any_time",
            "registers_are_accessed_while_programs_run",
            "random_bytes_end_as_in_golden",
        ),
    ),
    Bench(name="fuzz", run=fuzz.run, tiny_tests=tuple(fuzz.TESTS), preset_tests=tuple(fuzz.TESTS)),
    Bench(name="digits", run=digits.run, preset_tests=tuple(digits.TESTS)),
)
