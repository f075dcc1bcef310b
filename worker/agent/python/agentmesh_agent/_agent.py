"""Definitions: which handlers a program has, and their schemas."""

from __future__ import annotations

import dataclasses
import sys
import typing
from typing import Any, Callable

from ._errors import Permanent

_agents: dict[str, "Agent"] = {}


class Agent:
    """A name and its handler."""

    def __init__(self, name: str, handler: Callable, description: str = "", version: str = "", input_schema: Any = None):
        self.name, self.handler, self.description, self.version = name, handler, description, version
        self.input_schema = None if input_schema is None else schema_of(input_schema)

    def __call__(self, job):
        return self.handler(job)


def agent(name: str, *, description: str = "", version: str = "", input_schema: Any = None):
    """Makes a function the handler of an agent. input_schema is a JSON Schema, a
    TypedDict, a dataclass or a pydantic model."""

    def register(handler: Callable) -> Agent:
        if name in _agents:
            raise ValueError(f"there are two agents {name}")
        _agents[name] = Agent(name, handler, description or (handler.__doc__ or "").strip().split("\n")[0], version, input_schema)
        return _agents[name]

    return register


def registered() -> list[Agent]:
    return list(_agents.values())


def choose(agents: list[Agent], name: str) -> Agent:
    """The agent of a job. A program that has one runs it, whatever it is called in
    agents.yaml."""
    for one in agents:
        if one.name == name:
            return one
    if len(agents) == 1:
        return agents[0]
    raise Permanent(f"this program has no agent {name!r}, it has " + (", ".join(a.name for a in agents) or "none"), "no_such_agent")


def describe(agents: list[Agent] | None = None) -> dict:
    """What a program has, as --describe prints it."""
    known = {"name": None, "description": "", "version": "", "input_schema": None}
    return {"agents": [{k: getattr(a, k) for k in known if getattr(a, k)} for a in (registered() if agents is None else agents)]}


_simple = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object", type(None): "null"}


def schema_of(kind: Any) -> Any:
    """The JSON Schema of a type."""
    if kind is Any:
        return {}
    if isinstance(kind, (dict, bool)) and kind is not bool:
        return kind
    if hasattr(kind, "model_json_schema"):
        return kind.model_json_schema()
    if kind in _simple:
        return {"type": _simple[kind]}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
        return _object({f.name: hints[f.name] for f in dataclasses.fields(kind)}, needed)
    if hasattr(kind, "__required_keys__"):
        return _object(typing.get_type_hints(kind), sorted(kind.__required_keys__))
    return _generic(kind)


def _object(members: dict, required: list) -> dict:
    s = {"type": "object", "properties": {name: schema_of(of) for name, of in members.items()}}
    if required:
        s["required"] = required
    return s


def _generic(kind: Any) -> dict:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, set, tuple, frozenset):
        return {"type": "array", "items": schema_of(args[0])} if args else {"type": "array"}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1])}
    if origin is typing.Literal:
        return {"enum": list(args)}
    union = origin is typing.Union or sys.version_info >= (3, 10) and type(kind).__name__ == "UnionType"
    if union:
        return {"anyOf": [schema_of(a) for a in args]}
    raise TypeError(f"there is no JSON Schema of {kind!r}: write one as a dict")
