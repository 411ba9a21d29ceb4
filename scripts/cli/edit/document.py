"""A stack file's text, changed at one place at a time: every byte that a change is not about stays as it was.

ruamel.yaml says where each entry stands; written out by it, whole files would be laid out anew and a comment above a
removed entry would go with the entry before it. Each change is read back and must mean what was asked for, so a file
that is written in an unforeseen way is refused, not spoilt.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from scripts.cli.edit.writing import INDENT, lines, reindented, written

Path = tuple[str | int, ...]


class CannotEdit(Exception):
    """The file is written in a way that this program does not change by itself."""


class Document:
    """The text, and what it means."""

    def __init__(self, text: str) -> None:
        self.text = text if text.endswith("\n") or not text else f"{text}\n"
        self.values: Any = _loaded(self.text)

    def get(self, *path: str | int) -> Any:
        """Return what stands at a path, None where nothing does."""
        value = self.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def put(self, path: Path, value: Any) -> None:
        """Add an entry at the end of a map, which is made where it is lacking."""
        *parents, name = path
        wanted = _copied(self.values)
        _put(wanted, path, value)
        parent = self._node(tuple(parents))
        if parent is None:
            if not parents:
                raise CannotEdit("the file is no map")
            self.put(tuple(parents), {name: value})
            return
        self._settle(self._with_entry(tuple(parents), parent, str(name), value), wanted, path)

    def drop(self, path: Path) -> None:
        """Take an entry out, with the comment on its line; the last one leaves an empty map.

        Never nothing: of `services:` nothing would mean that all is open, and an empty map that all is closed.
        """
        *parents, name = path
        wanted = _copied(self.values)
        _drop(wanted, path)
        parent = self._node(tuple(parents))
        pairs = parent.value if isinstance(parent, MappingNode) else []
        at = next((at for at, (key, _) in enumerate(pairs) if key.value == name), None)
        if at is None:
            raise CannotEdit(f"{_told(path)} is not there")
        text = self._without_flow(pairs, at) if parent.flow_style else self._without_block(tuple(parents), pairs, at)
        self._settle(text, wanted, path)

    def rekey(self, path: Path, name: str) -> None:
        """Give an entry another name; it stays where it is."""
        wanted = _copied(self.values)
        _rekey(wanted, path, name)
        key, _ = self._pair(path)
        self._settle(self._replaced(key, written(name)), wanted, path)

    def replace(self, path: Path, value: str | int) -> None:
        """Write another value where one stands: in a map, or in a list."""
        wanted = _copied(self.values)
        _put(wanted, path, value)
        node = self._node(path)
        if not isinstance(node, ScalarNode) or node.start_mark.index == node.end_mark.index:
            raise CannotEdit(f"{_told(path)} is not a plain value")
        self._settle(self._replaced(node, written(value)), wanted, path)

    def append(self, path: Path, value: str | int) -> None:
        """Add to a list, which is made where it is lacking."""
        known = self.get(*path)
        if not known:
            if known is not None:
                self.drop(path)
            self.put(path, [value])
            return
        wanted = _copied(self.values)
        _at(wanted, path).append(value)
        node = self._node(path)
        if not isinstance(node, SequenceNode):
            raise CannotEdit(f"{_told(path)} is no list")
        last = node.value[-1]
        if node.flow_style:
            end = _end(last)
            text = f"{self.text[:end]}, {written(value)}{self.text[end:]}"
        else:
            dash = self._line_start(_start(last))
            indent = self.text[dash : _start(last)].partition("-")[0]
            end = self._line_end(_end(last))
            text = f"{self.text[:end]}{indent}- {written(value)}\n{self.text[end:]}"
        self._settle(text, wanted, path)

    def move(self, path: Path, target: Path) -> None:
        """Take an entry from one map to another, with the comments on its lines."""
        wanted = _copied(self.values)
        value = _at(wanted, path)
        _drop(wanted, path)
        _put(wanted, target, value)
        key, node = self._pair(path)
        start, end = self._line_start(_start(key)), self._line_end(_end(node) if _end(node) else _end(key))
        own = self.text[start:end]
        in_block = not self.text[start : _start(key)].strip()
        before = Document(self.text)
        before.drop(path)
        before.put(target, value)
        if in_block:
            new_key, new_node = before._pair(target)
            new_start = before._line_start(_start(new_key))
            if not before.text[new_start : _start(new_key)].strip():
                moved = reindented(own, _start(key) - start, _start(new_key) - new_start)
                new_end = before._line_end(_end(new_node))
                before = Document(before.text[:new_start] + moved + before.text[new_end:])
        self._settle(before.text, wanted, target)

    # Where things stand

    def _node(self, path: Path) -> Node | None:
        node = YAML(typ="safe", pure=True).compose(self.text)
        for part in path:
            if isinstance(node, MappingNode):
                node = next((value for key, value in node.value if key.value == part), None)
            elif isinstance(node, SequenceNode) and isinstance(part, int):
                node = node.value[part]
            else:
                return None
        return node

    def _pair(self, path: Path) -> tuple[Node, Node]:
        parent = self._node(path[:-1])
        for key, value in parent.value if isinstance(parent, MappingNode) else ():
            if key.value == path[-1]:
                return key, value
        raise CannotEdit(f"{_told(path)} is not there")

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        """Return where the next line begins."""
        return self.text.index("\n", index) + 1

    def _column(self, index: int) -> int:
        return index - self._line_start(index)

    # Texts

    def _replaced(self, node: Node, by: str) -> str:
        return self.text[: _start(node)] + by + self.text[_end(node) :]

    def _with_entry(self, parents: Path, parent: Node, name: str, value: Any) -> str:
        if isinstance(parent, MappingNode) and parent.value and parent.flow_style:
            end = _end(parent.value[-1][1]) or _end(parent.value[-1][0])
            return f"{self.text[:end]}, {name}: {written(value)}{self.text[end:]}"
        if isinstance(parent, MappingNode) and parent.value:
            first, last = parent.value[0][0], parent.value[-1]
            end = self._line_end(max(_end(last[1]), _end(last[0])))
            entry = "".join(lines(name, value, self._column(_start(first))))
            return self.text[:end] + entry + self.text[end:]
        if not parents or (isinstance(parent, ScalarNode) and parent.tag != "tag:yaml.org,2002:null"):
            raise CannotEdit(f"{_told(parents)} is no map")
        key, empty = self._pair(parents)
        colon = self.text.index(":", _end(key)) + 1
        if self.text[self._line_start(_start(key)) : _start(key)].strip():
            # A map of one line in another: {hosts: {}}.
            return f"{self.text[:colon]} {{{name}: {written(value)}}}{self.text[max(colon, _end(empty)) :]}"
        head = self.text[:colon] + self.text[max(colon, _end(empty)) : self._line_end(max(colon, _end(empty)))]
        entry = "".join(lines(name, value, self._column(_start(key)) + INDENT))
        return head + entry + self.text[self._line_end(max(colon, _end(empty))) :]

    def _without_block(self, parents: Path, pairs: list[tuple[Node, Node]], at: int) -> str:
        key, value = pairs[at]
        start, end = self._line_start(_start(key)), self._line_end(max(_end(key), _end(value)))
        if self.text[start : _start(key)].strip():
            raise CannotEdit(f"{key.value} does not begin a line")
        if len(pairs) > 1:
            return self.text[:start] + self.text[end:]
        own, _ = self._pair(parents)
        colon = self.text.index(":", _end(own)) + 1
        return f"{self.text[:colon]} {{}}{self.text[colon:start]}{self.text[end:]}"

    def _without_flow(self, pairs: list[tuple[Node, Node]], at: int) -> str:
        key, value = pairs[at]
        start, end = _start(key), max(_end(key), _end(value))
        if at + 1 < len(pairs):
            end = _start(pairs[at + 1][0])
        elif at:
            start = max(_end(pairs[at - 1][0]), _end(pairs[at - 1][1]))
        if "#" in self.text[start:end]:
            raise CannotEdit(f"a comment stands within the braces beside {key.value}")
        return self.text[:start] + self.text[end:]

    def _settle(self, text: str, wanted: Any, path: Path) -> None:
        try:
            understood = _loaded(text)
        except Exception as problem:
            raise CannotEdit(f"{_told(path)} could not be changed: {problem}") from None
        if understood != wanted:
            raise CannotEdit(f"{_told(path)} is written in a way that this program does not change")
        self.text, self.values = text, understood


def _loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _copied(value: Any) -> Any:
    """Copy, and give each alias of an anchor a life of its own: a change is meant for one of them."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _start(node: Node) -> int:
    return int(node.start_mark.index)


def _end(node: Node) -> int:
    """Return where a node's own text ends: a block's mark stands behind the comments that follow it."""
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(map(_end, last)) if isinstance(last, tuple) else _end(last)


def _at(values: Any, path: Path) -> Any:
    for part in path:
        values = values[part]
    return values


def _put(values: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        if isinstance(values, dict) and values.get(part) is None:
            values[part] = {}
        values = values[part]
    values[path[-1]] = value


def _drop(values: Any, path: Path) -> None:
    try:
        del _at(values, path[:-1])[path[-1]]
    except (KeyError, TypeError):
        raise CannotEdit(f"{_told(path)} is not there") from None


def _rekey(values: Any, path: Path, name: str) -> None:
    parent = _at(values, path[:-1])
    parent[name] = parent.pop(path[-1])


def _told(path: Path) -> str:
    return ".".join(str(part) for part in path[1:] or path)
