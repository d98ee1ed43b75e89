"""Runs of training for tests: configurations, batches, devices."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tegula.config import preset
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.training.data import CLASSES, INPUTS, digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.session import Session

__all__ = ["RUNS", "SMALL", "TINY", "batches", "interrupt_in_step", "rtl_session", "session"]

TINY, SMALL = preset("tiny"), preset("small")

RUNS = {
    "bf16": {},
    "fp8": {"format": "fp8"},
    "bf16 weights, stochastic": {"weights": "bf16", "rounding": "sr", "lr": 0.01},
    "adamw, gelu": {"optimizer": "adamw", "activation": "gelu"},
    "fp8, uneven": {
        "format": "fp8",
        "optimizer": "adamw",
        "weights": "bf16",
        "rounding": "sr",
        "batch": 29,
        "hidden": 37,
    },
}
"""Configurations that between them have every option."""


def batches(settings: TrainingSettings, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Samples and labels of steps."""
    samples, _ = digits(settings.seed)
    rng = np.random.default_rng(7)
    chosen = [rng.permutation(len(samples))[: settings.batch] for _ in range(count)]
    return [(samples.inputs[c], samples.labels[c]) for c in chosen]


def interrupt_in_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Send SIGINT while step `number` of the process, from 1, is in flight."""
    original, calls = Session.step, []

    def interrupted(self, *batch):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *batch)

    monkeypatch.setattr(Session, "step", interrupted)


def session(settings: TrainingSettings, config=SMALL) -> Session:
    """A classifier of the digits on golden."""
    return Session(GoldenDevice(config), settings, INPUTS, CLASSES)


@contextmanager
def rtl_session(settings: TrainingSettings, config=SMALL, **options) -> Iterator[Session]:
    """The same on RTL."""
    device = RtlDevice(config, **{"mem_latency": 20, "max_cycles": 400_000} | options)
    try:
        yield Session(device, settings, INPUTS, CLASSES)
    finally:
        device.close()
