"""`tegula gemm` and `tegula profile`."""

import argparse
from dataclasses import asdict

from tegula.config import TileConfig, preset
from tegula_golden.array_types import Codes, Floats
from tegula_sw.arrays import load_array, save_array
from tegula_sw.cli.commands.common import (
    as_floats,
    format_of,
    make_device,
    make_recorder,
    note,
    operand_format_of,
    show_progress,
)
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json
from tegula_sw.gemm.operands import Operand, operand_from_array, scale_rule
from tegula_sw.gemm.run import GemmReport
from tegula_sw.gemm.run import gemm as run_gemm
from tegula_sw.profile.recording import Recorder

__all__ = ["gemm", "profile"]


def gemm(options: argparse.Namespace) -> None:
    """`tegula gemm`."""
    config = preset(options.preset)
    _check_formats(options, config)
    check_outputs(("-o", options.output), ("--json", options.json), ("--trace", options.trace))
    recorder = make_recorder(options, "gemm")
    result, report = _run_gemm(options, config, options.device, recorder)
    if report.cycles_predicted is not None:
        note(f"cycles_predicted {report.cycles_predicted:,}")
    with Outputs() as outputs:
        _write_gemm(outputs, options, result, recorder)
        if options.json is not None:
            with outputs.writing(options.json):
                write_json(options.json, asdict(report))


def profile(options: argparse.Namespace) -> None:
    """`tegula profile`."""
    from tegula_sw.profile.picture import check_picture, draw
    from tegula_sw.profile.table import breakdown, profile_table

    config = preset(options.preset)
    _check_formats(options, config)
    check_outputs(
        ("-o", options.output),
        ("--json", options.json),
        ("--trace", options.trace),
        ("--picture", options.picture),
    )
    if options.picture is not None:
        check_picture(options.picture)
    elif options.window:
        raise ValueError("--window needs --picture FILE")
    recorder = Recorder(label="gemm")
    result, report = _run_gemm(options, config, "rtl", recorder)
    with Outputs() as outputs:
        _write_gemm(outputs, options, result, recorder)
        if options.picture is not None:
            with outputs.writing(options.picture):
                draw(recorder.recordings, options.picture, options.window)
        if options.json is not None:
            states = breakdown(recorder.recordings).states
            engines = {
                engine.name.lower(): {str(state): cycles for state, cycles in found.items()}
                for engine, found in states.items()
            }
            with outputs.writing(options.json):
                write_json(options.json, asdict(report) | {"engines": engines})
        if STDOUT not in (options.output, options.json, options.trace):
            with outputs.writing(STDOUT):
                print_text(profile_table(recorder.recordings))


def _check_formats(options: argparse.Namespace, config: TileConfig) -> None:
    """Replace the names of the formats in `options` by the formats."""
    for side in ("a", "b"):
        option = f"--format-{side}"
        fmt = operand_format_of(option, getattr(options, f"format_{side}"), config)
        setattr(options, f"format_{side}", fmt)
    options.format_out = format_of("--format-out", options.format_out, config, fp32=True)


def _operand(options: argparse.Namespace, side: str, k_axis: int) -> Operand:
    """A or B, cast or quantised if it holds floats."""
    path, scales = getattr(options, side), getattr(options, f"scales_{side}")
    return operand_from_array(
        path,
        load_array(path),
        getattr(options, f"format_{side}"),
        k_axis=k_axis,
        scales=None if scales is None else load_array(scales),
        rule=scale_rule(options.scale_rule),
    )


def _run_gemm(
    options: argparse.Namespace, config: TileConfig, device_name: str, recorder: Recorder | None
) -> tuple[Codes | Floats, GemmReport]:
    """Load A and B and multiply: C, and what it cost."""
    axis_a, axis_b = int(not options.transpose_a), int(options.transpose_b)
    a = _operand(options, "a", axis_a)
    b = _operand(options, "b", axis_b)
    if a.codes.shape[axis_a] != b.codes.shape[axis_b]:
        axes = ("rows", "columns")
        raise ValueError(
            f"{options.a} {a.codes.shape} and {options.b} {b.codes.shape} disagree on K:"
            f" {a.codes.shape[axis_a]} {axes[axis_a]} and {b.codes.shape[axis_b]} {axes[axis_b]}"
        )
    device = make_device(
        device_name,
        config,
        mem_latency=options.mem_latency,
        stall=options.stall,
        seed=options.seed,
        recorder=recorder,
    )
    codes, report = run_gemm(
        device,
        a.codes,
        b.codes,
        a.fmt,
        b.fmt,
        options.format_out,
        scales_a=a.scales,
        scales_b=b.scales,
        saturate=options.saturate,
        transpose_a=options.transpose_a,
        transpose_b=options.transpose_b,
        progress=show_progress,
        predicted_latency=options.mem_latency if device_name == "golden" else None,
    )
    if report.cycles_per_second is not None:
        note(f"cycles {report.cycles:,}, cycles_per_second {report.cycles_per_second:,.0f}")
    return as_floats(codes, options.format_out), report


def _write_gemm(
    outputs: Outputs, options: argparse.Namespace, result: Codes | Floats, recorder: Recorder | None
) -> None:
    """C, and the trace, where they are wanted."""
    if options.output is not None:
        with outputs.writing(options.output):
            save_array(options.output, result)
    if options.trace is not None and recorder is not None:
        from tegula_sw.profile.chrome import write_chrome_trace

        with outputs.writing(options.trace):
            write_chrome_trace(recorder.recordings, options.trace)
