"""Random programs for the front end, and the order that their waits impose."""

from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES

__all__ = ["DMA", "assert_waits_held", "random_program"]

TENSOR, VECTOR, _, LOAD, STORE = ENGINES
DMA = {"mem_addr": 0, "run": 1, "sbuf_addr": 0, "layout": 0}
"""Fields of a DMA instruction, which takes several granules."""


def random_program(rng, config, length=40):
    """Instructions whose waits are met by earlier ones: (words, what each queue must deliver)."""
    counts, words, order, pc = [0] * config.semaphores, [], {e: [] for e in ENGINES}, 0
    for _ in range(length):
        engine = rng.choice(ENGINES)
        fields = {}
        sem = rng.randrange(config.semaphores)
        if counts[sem] and rng.random() < 0.6:
            # One engine consumes from a semaphore, or two could each take what the other needs.
            value, consume = rng.randrange(1, counts[sem] + 1), ENGINES[sem % 5] == engine
            if consume or (ENGINES[sem % 5] != engine and sem >= 8):
                fields |= {"wait": 1, "wait_sem": sem, "wait_value": value}
                if consume and sem < 8:
                    fields["consume"] = 1
                    counts[sem] -= value
        if rng.random() < 0.6:
            sem, value = rng.randrange(config.semaphores), rng.randrange(1, 9)
            fields |= {"signal": 1, "signal_sem": sem, "signal_value": value}
            counts[sem] += value
        if engine in (LOAD, STORE) and rng.random() < 0.5:
            word = encode(f"{engine.name.lower()}.dma", config, **DMA, **fields)
        elif engine == TENSOR and rng.random() < 0.5:
            operand = {"rows": 1, "format": "bf16", "columns": 1, "addr": 0}
            word = encode("tensor.load", config, **operand, **fields)
        elif engine == VECTOR and rng.random() < 0.5:
            usual = {"rows": 1, "format": "bf16", "columns": 1, "dst": 0}
            word = encode("vector.compute", config, **usual, **fields)
        else:
            word = encode(f"{engine.name.lower()}.sync", config, **fields)
        order[engine].append(pc)
        words.append((pc, fields, word))
        pc += len(word) // 16
    return words, order


def assert_waits_held(events, words):
    """Each instruction was taken only after the signals that its wait needs."""
    counts, waits = {}, 0
    fields = {pc: f for pc, f, _ in words}
    for kind, *rest in events:
        if kind == "signal":
            sem, value = rest
            counts[sem] = counts.get(sem, 0) + value
        elif fields[rest[0]].get("wait"):
            f = fields[rest[0]]
            assert counts.get(f["wait_sem"], 0) >= f["wait_value"], f"granule {rest[0]}"
            counts[f["wait_sem"]] -= f["wait_value"] * f.get("consume", 0)
            waits += 1
    return waits
