"""Optimizers: one strip of a parameter at a time, where its gradient arises.

What does not need the gradient (`decay`) is a call of its own, so that a program can do it while
the vector engine has nothing else to do.
"""

import math
from dataclasses import dataclass

from tegula.formats import FP32
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Strip
from tegula_sw.kernels.operands import SELF, PerPartition, Step

__all__ = ["AdamW", "Momentum", "Optimizer", "Update"]


@dataclass(frozen=True, kw_only=True)
class Update:
    """Update of a strip of a parameter from its slots.

    Attributes
    ----------
    weight
        fp32 or bf16; changed.
    slots, scalars
        By the names of the optimizer's `slots` and `scalars`.
    rounding
        Rounding of a bf16 weight, as `KernelBuilder.compute` names it.
    """

    weight: Strip
    slots: dict[str, Strip]
    scalars: dict[str, Strip]
    rounding: str


class Optimizer:
    """Interface of an optimizer.

    Attributes
    ----------
    slots
        Names of the fp32 matrices that it keeps for each parameter, zero at first.
    scalars
        Name -> first value of the numbers that it keeps for all of them.
    hidden_overflow
        Slots that may overflow while the weights stay finite: to be checked by themselves.
    functions
        Functions that the activation engine's table must have.
    """

    slots: tuple[str, ...]
    scalars: dict[str, float]
    hidden_overflow: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def begin(self, b: KernelBuilder, scalars: dict[str, Strip]) -> None:
        """Instructions that are executed once a step, before all others."""

    def decay(self, b: KernelBuilder, slots: dict[str, Strip]) -> None:
        """Part of the update of a strip that does not need its gradient."""

    def accumulate(
        self, b: KernelBuilder, slots: dict[str, Strip], grad: Strip, scaled: tuple[Step, ...]
    ) -> None:
        """Update of the slots of a strip by its gradient, after `decay`.

        Parameters
        ----------
        slots
            As `slots` names them; changed.
        grad, scaled
            The gradient in PSUM or in the scratchpad, and the steps (none or one) that scale it.
        """
        raise NotImplementedError

    def apply(self, b: KernelBuilder, update: Update) -> None:
        """Update of the weight of a strip from its slots, after `accumulate`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Momentum(Optimizer):
    """SGD with momentum: ``u = momentum * u + g; w = w - lr * u``, each operation rounded to fp32.

    As PyTorch's SGD without dampening (Sutskever et al. 2013 fold lr into u).
    """

    lr: float
    momentum: float = 0.9
    slots = ("momentum",)
    scalars = {}  # noqa: RUF012 (of the class, and never changed)

    def decay(self, b: KernelBuilder, slots: dict[str, Strip]) -> None:
        """``u = momentum * u``."""
        b.compute(slots["momentum"], slots["momentum"], Step("mul", self.momentum))

    def accumulate(
        self, b: KernelBuilder, slots: dict[str, Strip], grad: Strip, scaled: tuple[Step, ...]
    ) -> None:
        """``u = u + g``."""
        b.compute(slots["momentum"], grad, *scaled, Step("add", slots["momentum"]))

    def apply(self, b: KernelBuilder, update: Update) -> None:
        """``w = w - lr * u``."""
        w, u = update.weight, update.slots["momentum"]
        b.compute(w, u, Step("mul", -self.lr), Step("add", w), rounding=update.rounding)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2019), with bias correction, decay apart from the gradient.

    ``m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g g``;
    ``w = (1 - lr decay) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)``. The powers of
    b1 and b2 are kept on the tile, a value of each partition.

    The order of products is such that nothing overflows before the results do: the square is that
    of ``sqrt(1 - b2) g``, and the root of v is corrected, not v. v overflows from a gradient of
    5.8e20 on; a weight does not show that, for it no longer moves then.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    slots = ("mean", "square")
    scalars = {"power1": 1.0, "power2": 1.0, "step size": 0.0, "correction2": 0.0}  # noqa: RUF012
    hidden_overflow = ("square",)
    functions = ("recip", "rsqrt", "sqrt")

    def begin(self, b: KernelBuilder, scalars: dict[str, Strip]) -> None:
        """``power = power * beta``; ``-lr / (1 - power1)``; ``1 / sqrt(1 - power2)``."""
        for number, beta in ((1, self.beta1), (2, self.beta2)):
            b.compute(scalars[f"power{number}"], scalars[f"power{number}"], Step("mul", beta))
        size, correction = scalars["step size"], scalars["correction2"]
        b.apply(size, scalars["power1"], "recip", scale=-1.0, bias=1.0)
        b.compute(size, size, Step("mul", -self.lr))
        b.apply(correction, scalars["power2"], "rsqrt", scale=-1.0, bias=1.0)

    def decay(self, b: KernelBuilder, slots: dict[str, Strip]) -> None:
        """``m = b1 m; v = b2 v``."""
        b.compute(slots["mean"], slots["mean"], Step("mul", self.beta1))
        b.compute(slots["square"], slots["square"], Step("mul", self.beta2))

    def accumulate(
        self, b: KernelBuilder, slots: dict[str, Strip], grad: Strip, scaled: tuple[Step, ...]
    ) -> None:
        """``s = sqrt(1 - b2) g; v = v + s s; m = m + (1 - b1) / sqrt(1 - b2) s``."""
        m, v, root = slots["mean"], slots["square"], math.sqrt(1.0 - self.beta2)
        with b.temporary("gradient", grad.rows, grad.columns, FP32) as scaled_gradient:
            s = scaled_gradient.strip()
            b.compute(s, grad, *scaled, Step("mul", root))
            b.compute(v, s, Step("mul", SELF), Step("add", v))
            b.compute(m, s, Step("mul", (1.0 - self.beta1) / root), Step("add", m))

    def apply(self, b: KernelBuilder, update: Update) -> None:
        """The rest, in the order of the formula."""
        m, v, scalars = update.slots["mean"], update.slots["square"], update.scalars
        with b.temporary("root", v.rows, v.columns, FP32, skew=3) as root_matrix:
            root = root_matrix.strip()
            b.apply(root, v, "sqrt")
            correction = PerPartition(scalars["correction2"])
            b.apply(root, root, "recip", scale=correction, bias=self.epsilon)
            b.compute(root, root, Step("mul", m), Step("mul", PerPartition(scalars["step size"])))
            kept = Step("mul", 1.0 - self.lr * self.weight_decay)
            w = update.weight
            b.compute(w, w, kept, Step("add", root), rounding=update.rounding)
