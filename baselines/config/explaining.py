"""What a setting means, in words: the help article of every parameter."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from typing import Any

from baselines.config.errors import ConfigError
from baselines.config.reading import in_words, preset_table, presets
from baselines.config.rules import WORKSPACE_BETWEEN, WORKSPACE_CHOICES, settings_of
from baselines.config.schema import Config

Field = dataclasses.Field[Any]


def explain(key: str) -> str:
    """A setting's help, or a line for each setting of a section, or of all for "".

    Raises ConfigError, naming the nearest, for a key that there is not.
    """
    known = {name: (value, field) for name, value, field in settings_of(Config())}
    if key in known:
        return _article(key, *known[key])
    inside = [name for name in known if not key or name.startswith(f"{key}.")]
    if inside:
        width = max(map(len, inside))
        return "\n".join(f"{name:{width}}  {known[name][1].metadata['about']}" for name in inside)
    endings = [name for name in known if name.rpartition(".")[2] == key]
    near = endings or difflib.get_close_matches(key, known, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ConfigError(f"there is no setting {key}.{hint} `baselines explain` lists them all.")


def settings_page() -> str:
    """Every setting as a page of Markdown, a table per section."""
    lines = [
        "# Settings",
        "",
        "Written by `baselines explain --page`.  Sizes in voxels are (Z, Y, X).",
    ]
    section = None
    for name, value, field in settings_of(Config()):
        here = name.rpartition(".")[0]
        if here != section:
            section = here
            lines += ["", f"## {here or 'The run'}", "", _section_about(here), ""]
            lines += ["| setting | default | may be | meaning |", "| --- | --- | --- | --- |"]
        cells = (f"`{name}`", f"`{shown(value)}`", allowed(field), field.metadata["about"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{k} = {shown(v)}" for k, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def allowed(field: Field) -> str:
    """What a setting may be: its choices, or its type, bounds and unit."""
    known = field.metadata
    if known.get("choices"):
        return ", ".join(map(shown, known["choices"]))
    bounds = "".join(
        f" {word} {known[bound]:g}"
        for word, bound in (("from", "least"), ("to", "most"))
        if known.get(bound) is not None
    )
    unit = f" {known['unit']}" if known.get("unit") else ""
    return in_words(str(field.type)) + bounds + unit


def _article(key: str, value: Any, field: Field) -> str:
    lines = [f"{key} = {shown(value)}", f"  {field.metadata['about']}", f"  {allowed(field)}"]
    for name in presets():
        section, _, last = key.rpartition(".")
        table = preset_table(name).get(section, {}) if section else preset_table(name)
        if isinstance(table, dict) and last in table and key != "preset":
            lines.append(f"  preset {name}: {shown(table[last])}")
    if key in WORKSPACE_BETWEEN:
        least, most = WORKSPACE_BETWEEN[key]
        lines.append(f"  in preset workspace: from {least:g} to {most:g}")
    if key in WORKSPACE_CHOICES:
        lines.append(f"  in preset workspace: {', '.join(map(str, WORKSPACE_CHOICES[key]))}")
    return "\n".join(lines)


def _section_about(section: str) -> str:
    kind = typing.get_type_hints(Config)[section] if section else Config
    return (kind.__doc__ or "").strip()
