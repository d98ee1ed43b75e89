"""From an Amaranth component to hierarchical RTLIL in which equal modules appear once.

Amaranth's own back end writes one module *per instance* and shapes the ports of each by what is
connected to them, so a 16 x 16 array becomes 258 modules. Here each `wiring.Component` of the
hierarchy is emitted on its own, with the ports of its signature, children first; a body seen before
is used again. What comes out has one module for each kind of component, named after its class, and
Yosys, Verilator and readers handle it many times faster. The scheme is ours.
"""

import hashlib
import re

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Instance, Signal
from amaranth.hdl._ir import Design, PortDirection
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import wiring

__all__ = ["emit_rtlil"]

_PLACEHOLDER = "@"
"""Name of a module while its body is compared with others."""


def _component_ports(component: wiring.Component) -> list[tuple]:
    """(name, signal, direction) of each port of at least one bit."""
    ports = []
    for path, member, value in component.signature.flatten(component):
        signal = value if isinstance(value, Signal) else value.as_value()
        if len(signal) > 0:
            is_input = member.flow == wiring.In
            direction = PortDirection.Input if is_input else PortDirection.Output
            ports.append(("__".join(map(str, path)), signal, direction))
    return ports


def _driven_signals(fragment: Fragment) -> set[int]:
    """Signals (by id) that statements, memories or instances of the fragment or below drive."""
    driven = set()
    for statements in fragment.statements.values():
        for statement in statements:
            driven |= {id(signal) for signal in statement._lhs_signals()}
    if isinstance(fragment, MemoryInstance):
        driven |= {id(s) for port in fragment._read_ports for s in port._data._lhs_signals()}
    for value, direction in getattr(fragment, "ports", {}).values():
        if direction == PortDirection.Output:
            driven |= {id(signal) for signal in value._lhs_signals()}
    for child, _, _ in fragment.subfragments:
        driven |= _driven_signals(child)
    return driven


class _Emitter:
    """Emits the fragments of a prepared design, children first, each distinct body once."""

    def __init__(self, design: Design, top: str):
        self._design = design
        self._top = top
        self._texts: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def emit(self) -> str:
        fragment = self._design.fragment
        self._replace_children(fragment)
        top = self._convert(fragment, self._design.ports, self._top)
        return "\n".join([top, *self._texts.values()])

    def _convert(self, fragment: Fragment, ports: list[tuple], name: str) -> str:
        """RTLIL of a fragment; what is connected to child `pe_0` is called `pe_0_...`."""
        design = Design(fragment, ports, hierarchy=(name,))
        own_ports = {id(signal) for _, signal, _ in ports}
        info = design.fragments[fragment]
        for child, child_name, _ in fragment.subfragments:
            for port, (signal, _) in getattr(child, "ports", {}).items():
                wire = f"{child_name}_{port}"
                if child_name and id(signal) not in own_ports and wire not in info.assigned_names:
                    info.assigned_names.add(wire)
                    info.signal_names[signal] = wire
        return rtlil.convert_fragment(design, emit_src=False)[0].replace(
            f"\\{name}.", f"\\{name}__"
        )

    def _replace_children(self, fragment: Fragment) -> None:
        for index, (child, name, src_loc) in enumerate(fragment.subfragments):
            self._replace_children(child)
            ports = self._boundary(child)
            if ports is not None:
                module = self._emit_module(child, ports)
                kinds = {PortDirection.Input: "i", PortDirection.Output: "o"}
                instance = Instance(module, *((kinds[way], port, s) for port, s, way in ports))
                fragment.subfragments[index] = (instance, name, src_loc)

    def _boundary(self, fragment: Fragment) -> list[tuple] | None:
        """Ports, if the fragment is a component that meets its surroundings at its ports only.

        Clocks, and what a ResetInserter or an EnableInserter around it looks at, become further
        inputs. A memory is not one (its ports belong to the parent's signature), and stays in its
        parent.
        """
        component = next(
            (o for o in fragment.origins or () if isinstance(o, wiring.Component)), None
        )
        if component is None:
            return None
        ports = _component_ports(component)
        depth = self._design.fragments[fragment].depth
        lca, info = self._design.signal_lca, self._design.fragments
        crossing = [s for s in info[fragment].used_signals if info[lca[s]].depth < depth]
        own = {id(signal) for _, signal, _ in ports}
        further = [signal for signal in crossing if id(signal) not in own]
        driven = _driven_signals(fragment)
        if any(id(signal) in driven or len(signal) > 1 for signal in further):
            return None
        names = {name for name, _, _ in ports}
        for signal in further:
            name = signal.name
            while name in names:
                name = f"{name}_"
            names.add(name)
            ports.append((name, signal, PortDirection.Input))
        return ports

    def _emit_module(self, fragment: Fragment, ports: list[tuple]) -> str:
        body = self._convert(fragment, ports, _PLACEHOLDER).replace("attribute \\top 1\n", "")
        digest = hashlib.sha256(body.encode()).hexdigest()
        if digest not in self._names:
            component = next(o for o in fragment.origins if isinstance(o, wiring.Component))
            name = self._unique_name(type(component).__name__)
            self._names[digest] = name
            self._texts[name] = body.replace(f"\\{_PLACEHOLDER}", f"\\{name}")
        return self._names[digest]

    def _unique_name(self, class_name: str) -> str:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
        base = f"{self._top}_{words.lower()}"
        taken = sum(re.fullmatch(rf"{base}(_\d+)?", name) is not None for name in self._texts)
        return base if taken == 0 else f"{base}_{taken + 1}"


def emit_rtlil(component: wiring.Component, name: str) -> str:
    """RTLIL of `component` as module `name`, each distinct component below it as one module.

    The modules below are called `name_<class>`, numbered where parameters make them differ.
    """
    ports = _component_ports(component)
    fragment = Fragment.get(component, None)
    design = fragment.prepare(
        [(port, signal, direction) for port, signal, direction in ports], hierarchy=(name,)
    )
    return _Emitter(design, name).emit()
