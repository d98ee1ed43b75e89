"""The instruction set, register map and trap causes: one source that everything else is made from.

Free of HDL. `instructions` holds the tables (`control`, `tensor`, `vector`, `activation`, `dma`,
made of `fields`, `kinds` and `common`), `codec` packs and unpacks words, `assembly` turns words
into text and back, `registers` and `traps` hold the host's view; `scripts.isa_doc` writes
docs/isa.md.
"""
