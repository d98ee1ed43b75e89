"""What the commands of `tegula` do: one function each, named as the command."""

import argparse
import json
import sys
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np

from tegula.config import TileConfig, preset
from tegula.formats import FP32, FloatFormat
from tegula_sw.arrays import codes_from_array, fp32_bits, load_array, save_array
from tegula_sw.device import Device
from tegula_sw.gemm import GemmReport
from tegula_sw.gemm import gemm as run_gemm
from tegula_sw.profile.recording import Recorder

__all__ = ["asm", "cast", "disasm", "eval", "gemm", "info", "profile", "train"]

_STDOUT = "-"
_TRACE_NEEDS_RTL = "--trace needs --device rtl: golden has no clock"


def _format(option: str, name: str, config: TileConfig, *, fp32: bool = False) -> FloatFormat:
    """The format called `name`, if the tile has it."""
    formats = (*config.operand_formats, FP32) if fp32 else config.operand_formats
    for fmt in formats:
        if fmt.name == name:
            return fmt
    known = ", ".join(fmt.name for fmt in formats)
    raise ValueError(f"{option} {name!r} is unknown: it must be one of {known}")


def _device(name: str, config: TileConfig, **rtl_options: object) -> Device:
    """The device; `rtl_options` mean nothing to golden, which has neither clock nor bus."""
    if name == "golden":
        from tegula_sw.golden import GoldenDevice

        return GoldenDevice(config)
    from tegula_sw.rtl.device import RtlDevice

    _progress(f"building or finding the RTL of preset {config.name}")
    return RtlDevice(config, **rtl_options)


def _progress(message: str) -> None:
    if sys.stderr.isatty():
        print(f"tegula: {message}", file=sys.stderr)


def _write_json(path: str, content: dict) -> None:
    text = json.dumps(content, indent=2) + "\n"
    if path == _STDOUT:
        sys.stdout.write(text)
    else:
        Path(path).write_text(text)


def _check_writable(*paths: str | None) -> None:
    """Find out before the work whether the folder of each output exists."""
    for path in paths:
        if path is not None and not Path(path).parent.is_dir():
            raise ValueError(f"{path}: {Path(path).parent} is not a folder")


def gemm(options: argparse.Namespace) -> None:
    """`tegula gemm`."""
    config = preset(options.preset)
    _check_formats(options, config)
    _check_writable(options.output, options.json, options.trace)
    if options.trace is None:
        report = _run_gemm(options, config, options.device)
    else:
        if options.device != "rtl":
            raise ValueError(_TRACE_NEEDS_RTL)
        from tegula_sw.profile.chrome import write_chrome_trace

        recorder = Recorder(label="gemm")
        report = _run_gemm(options, config, "rtl", recorder=recorder)
        write_chrome_trace(recorder.recordings, options.trace)
    if options.json:
        _write_json(options.json, asdict(report))


def profile(options: argparse.Namespace) -> None:
    """`tegula profile`."""
    from tegula_sw.profile.chrome import write_chrome_trace
    from tegula_sw.profile.picture import check_picture, draw
    from tegula_sw.profile.table import breakdown, profile_table

    config = preset(options.preset)
    _check_formats(options, config)
    _check_writable(options.output, options.json, options.trace, options.picture)
    if options.picture:
        check_picture(options.picture)
    elif options.window:
        raise ValueError("--window needs --picture FILE")
    recorder = Recorder(label="gemm")
    report = _run_gemm(options, config, "rtl", recorder=recorder)
    if options.trace:
        write_chrome_trace(recorder.recordings, options.trace)
    if options.picture:
        draw(recorder.recordings, options.picture, options.window)
    if options.json:
        states = breakdown(recorder.recordings).states
        engines = {
            engine.name.lower(): {str(state): cycles for state, cycles in found.items()}
            for engine, found in states.items()
        }
        _write_json(options.json, asdict(report) | {"engines": engines})
    if options.json != _STDOUT:
        sys.stdout.write(profile_table(recorder.recordings))


def _check_formats(options: argparse.Namespace, config: TileConfig) -> None:
    """Replace the names of the formats in `options` by the formats."""
    options.format_a = _format("--format-a", options.format_a, config)
    options.format_b = _format("--format-b", options.format_b, config)
    options.format_out = _format("--format-out", options.format_out, config, fp32=True)


def _run_gemm(
    options: argparse.Namespace, config: TileConfig, device_name: str, **rtl_options: object
) -> GemmReport:
    """Load A and B, multiply, write C where that is wanted."""
    a = load_array(options.a)
    b = load_array(options.b)
    if a.ndim == b.ndim == 2:
        axis_a, axis_b = int(not options.transpose_a), int(options.transpose_b)
        if a.shape[axis_a] != b.shape[axis_b]:
            axes = ("rows", "columns")
            raise ValueError(
                f"{options.a} {a.shape} and {options.b} {b.shape} disagree on K:"
                f" {a.shape[axis_a]} {axes[axis_a]} and {b.shape[axis_b]} {axes[axis_b]}"
            )
    a_codes = codes_from_array(options.a, a, options.format_a)
    b_codes = codes_from_array(options.b, b, options.format_b)
    device = _device(
        device_name,
        config,
        mem_latency=options.mem_latency,
        stall=options.stall,
        seed=options.seed,
        **rtl_options,
    )
    codes, report = run_gemm(
        device,
        a_codes,
        b_codes,
        options.format_a,
        options.format_b,
        options.format_out,
        saturate=options.saturate,
        transpose_a=options.transpose_a,
        transpose_b=options.transpose_b,
        progress=lambda number, total: _progress(f"running program {number + 1} of {total}"),
    )
    if options.output:
        save_array(options.output, codes.view(np.float32) if options.format_out == FP32 else codes)
    return report


def cast(options: argparse.Namespace) -> None:
    """`tegula cast`."""
    config = preset(options.preset)
    fmt = _format("--to", options.to, config, fp32=True)
    _check_writable(options.output)
    bits = fp32_bits(options.x, load_array(options.x))
    random = None
    if options.rounding == "sr":
        if options.random_bits is None:
            raise ValueError("--rounding sr needs --random-bits R.npy")
        random = _random_bits(options.random_bits, bits.shape)
    elif options.random_bits is not None:
        raise ValueError("--random-bits needs --rounding sr")
    if options.device == "golden":
        from tegula_golden.cast import cast as cast_golden

        codes = cast_golden(bits, fmt, saturate=options.saturate, random=random)
    else:
        from tegula_sw.casts import cast_on_device

        device = _device(options.device, config)
        codes = cast_on_device(device, bits, fmt, saturate=options.saturate, random=random)
    save_array(options.output, codes.view(np.float32) if fmt == FP32 else codes)


def _random_bits(path: str, shape: tuple[int, ...]) -> np.ndarray:
    random = load_array(path)
    if random.dtype.kind != "u" or random.dtype.itemsize != 2:
        raise ValueError(f"{path} must be uint16, not {random.dtype}")
    if random.shape != shape:
        raise ValueError(f"{path} must have the shape {shape} of X, not {random.shape}")
    return random.astype(np.uint16)


def train(options: argparse.Namespace) -> None:
    """`tegula train`."""
    from tegula_sw.training.parameters import TrainingSettings
    from tegula_sw.training.run import train as run_training

    settings = TrainingSettings(
        **{field.name: getattr(options, field.name) for field in fields(TrainingSettings)}
    )
    config = preset(options.preset)
    _check_writable(options.trace)
    recorder = None
    if options.trace is None:
        device = _device(options.device, config)
    elif options.device != "rtl":
        raise ValueError(_TRACE_NEEDS_RTL)
    else:
        recorder = Recorder(label="training step")
        device = _device("rtl", config, recorder=recorder)
    folder = Path(options.out)
    record = run_training(device, settings, folder, resume=options.resume, recorder=recorder)
    if recorder is not None and recorder.recordings:
        _write_step(recorder, options.trace, folder / "step.png")
    last = record.epochs[-1]
    print(f"epoch {last.epoch}: loss {last.loss:.4f}, test accuracy {100 * last.accuracy:.2f} %")
    if last.utilisation is not None:
        print(f"utilisation of the array: {100 * last.utilisation:.1f} %")
    print(f"sha256 of the weights: {last.sha256}")


def eval(options: argparse.Namespace) -> None:
    """`tegula eval`."""
    from tegula_sw.evaluate import check_arity, evaluate_golden, evaluate_on_device

    config = preset(options.preset)
    check_arity(options.operation, options.y is not None)
    _check_writable(options.output)
    x = load_array(options.x)
    operands = [fp32_bits(options.x, x, empty=True)]
    if options.y is not None:
        operands.append(fp32_bits(options.y, load_array(options.y), empty=True))
        if operands[1].shape != x.shape:
            raise ValueError(
                f"{options.y} {operands[1].shape} must have the shape of {options.x} {x.shape}"
            )
    run = evaluate_golden
    if options.device != "golden":
        run = partial(evaluate_on_device, _device(options.device, config))
    bits = run(
        options.operation,
        *operands,
        progress=lambda number, total: _progress(f"running program {number + 1} of {total}"),
    )
    save_array(options.output, bits.view(np.float32) if x.dtype.kind == "f" else bits)


def _write_step(recorder: Recorder, trace: str, picture: Path) -> None:
    """Trace, picture and table of a step of training."""
    from tegula_sw.profile.chrome import write_chrome_trace
    from tegula_sw.profile.picture import draw
    from tegula_sw.profile.table import profile_table

    write_chrome_trace(recorder.recordings, trace)
    draw(recorder.recordings, str(picture))
    sys.stdout.write(profile_table(recorder.recordings))


def info(options: argparse.Namespace) -> None:
    """`tegula info`."""
    from tegula_sw.info import describe, format_text

    description = describe(preset(options.preset))
    if options.json:
        _write_json(options.json, description)
    if options.json != _STDOUT:
        print(format_text(description))


def asm(options: argparse.Namespace) -> None:
    """`tegula asm`."""
    from tegula.isa.assembly import assemble

    Path(options.output).write_bytes(assemble(Path(options.file).read_text()))


def disasm(options: argparse.Namespace) -> None:
    """`tegula disasm`."""
    from tegula.isa.assembly import disassemble

    sys.stdout.write(disassemble(Path(options.file).read_bytes()))
