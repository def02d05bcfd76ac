"""Merges the imports of a file of ours that a team has edited, statement by statement.

Most lines of imports change where modules move. To git an import that somebody has put among them
would be a conflict; here it is one statement more.
"""

from collections.abc import Sequence

import libcst as cst

from scaffold.merge.codemod.nodes import absolute, alias_of, comments, dotted

Atom = tuple[str, str, str]  # a module, a name in it or nothing, and the alias or nothing
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


def aligned(old: bytes, mine: bytes, new: bytes, module: str) -> tuple[bytes, bytes]:
    """(old, mine) with the imports of the new file; mine has those of its team beside them.

    old and new: what the template made and makes, mine: the project's; module: its dotted name in
    all three. Both stay as they are where a statement among the imports was changed on both sides.
    Raises one of UNREADABLE (rewrite.py) where one does not parse.
    """
    files = [cst.parse_module(code) for code in (old, mine, new)]
    spans = [_span(file) for file in files]
    if not all(spans):
        return old, mine
    first, second, third = (
        list(file.body[span]) for file, span in zip(files, spans, strict=True) if span
    )
    merged = _merged(first, second, third, module, _defined(files[1]) - _defined(files[0]))
    if merged is None:
        return old, mine
    made = [
        file.with_changes(body=[*file.body[: span.start], *block, *file.body[span.stop :]]).bytes
        for file, span, block in zip(files, spans, (third, merged), strict=False)
        if span
    ]
    return made[0], made[1]


def _defined(module: cst.Module) -> set[str]:
    """The functions and classes at the top of a file."""
    kinds = (cst.FunctionDef, cst.ClassDef)
    return {statement.name.value for statement in module.body if isinstance(statement, kinds)}


def _span(module: cst.Module) -> slice | None:
    """The statements from the first import to the last one before a function or a class."""
    found = []
    for index, statement in enumerate(module.body):
        if isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
            break
        if _imports(statement):
            found.append(index)
    return slice(found[0], found[-1] + 1) if found else None


def _imports(statement: cst.CSTNode) -> list[cst.Import | cst.ImportFrom]:
    """The imports that a line consists of; none where it is anything else."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    found = [small for small in statement.body if isinstance(small, (cst.Import, cst.ImportFrom))]
    return found if len(found) == len(statement.body) else []


def _atoms(statement: cst.CSTNode, module: str) -> list[Atom]:
    """What a line imports."""
    found: list[Atom] = []
    for node in _imports(statement):
        names = [] if isinstance(node.names, cst.ImportStar) else node.names
        pairs = [(dotted(alias.name), alias_of(alias) or "") for alias in names]
        if isinstance(node, cst.Import):
            found += [(name, "", local) for name, local in pairs]
        else:
            found += [(absolute(node, module), *pair) for pair in pairs or [("*", "")]]
    return found


def _binds(atom: Atom) -> str:
    module, name, alias = atom
    return alias or name or module.partition(".")[0]


def _merged(
    old: list[Statement],
    mine: list[Statement],
    new: list[Statement],
    module: str,
    defined: set[str],
) -> list[Statement] | None:
    """The new statements without what the team has removed, and what it has added at its place.

    defined: what the team defines in the file itself. None where both sides bind the same name.
    """
    atoms = [[_atoms(statement, module) for statement in block] for block in (old, mine, new)]
    before, now, after = ({atom for line in lines for atom in line} for lines in atoms)
    others = [{_text(s) for s in block if not _imports(s)} for block in (old, mine, new)]
    own, gone = now - before, before - now
    # what the template binds anew must not be what the team binds already
    fresh = {_binds(atom) for atom in after - before}
    plain = {_binds(atom) for atom in after - before if atom[1:] == ("", "")}
    taken = {_binds(atom) for atom in own if atom[1:] != ("", "") or _binds(atom) not in plain}
    if others[0] != others[2] or fresh & (taken | defined):
        return None
    known = [comment for statement in old for comment in comments(statement)]
    added: dict[int, list[Statement]] = {}  # behind which of the new statements; -1: before all
    notes: dict[int, list[str]] = {}  # above which of them
    place = last = -1  # behind the statement before; behind all before
    for statement, line in zip(mine, atoms[1], strict=True):
        said = [comment for comment in comments(statement) if comment not in known]
        mates = [i for i, other in enumerate(atoms[2]) if set(other) & set(line)]
        place = mates[-1] if mates else place
        last = max([last, *mates])
        if line and not set(line) & own:  # ours
            notes.setdefault(max(0, mates[0] if mates else place), []).extend(said)
        elif line:
            binds = {_binds(atom) for atom in set(line) & own}
            place = last if binds & {_binds(atom) for atom in after} else place
            added.setdefault(place, []).append(_only(statement, own, module, known))
        elif _text(statement) not in others[0]:
            # it may do something, with anything before it
            place = last
            added.setdefault(place, []).append(statement)
        else:
            twin = next(i for i, other in enumerate(new) if _text(other) == _text(statement))
            place, last = twin, max(last, twin)
            notes.setdefault(twin, []).extend(said)
    merged = added.get(-1, [])
    waiting: list[str] = []  # comments whose statement is gone
    for index, statement in enumerate(new):
        waiting += notes.get(index, [])
        stays = _without(statement, gone, module)
        if stays is not None and (_imports(statement) or _text(statement) in others[1]):
            merged.append(_noted(stays, waiting))
            waiting = []
        merged += added.get(index, [])
    if waiting and merged:
        merged[-1] = _noted(merged[-1], waiting)
    return merged


def _text(statement: cst.CSTNode) -> str:
    """A statement without what stands around it."""
    if isinstance(statement, cst.SimpleStatementLine):
        return "; ".join(cst.Module([]).code_for_node(small) for small in statement.body)
    return cst.Module([]).code_for_node(statement).strip()


def _only(statement: Statement, own: set[Atom], module: str, known: list[str]) -> Statement:
    """A line of the team without what the template imports in it, and without its comments."""
    assert isinstance(statement, cst.SimpleStatementLine)
    everything = set(_atoms(statement, module))
    kept = _without(statement, everything - own, module)
    assert isinstance(kept, cst.SimpleStatementLine)
    above = [
        line
        for line in kept.leading_lines
        if line.comment is None or line.comment.value not in known
    ]
    missing = [c for c in comments(statement) if c not in known and c not in comments(kept)]
    return _noted(kept.with_changes(leading_lines=above), missing)


def _without(statement: Statement, gone: set[Atom], module: str) -> Statement | None:
    """A line without some of what it imports; None where nothing is left."""
    if not set(_atoms(statement, module)) & gone:
        return statement
    assert isinstance(statement, cst.SimpleStatementLine)
    smalls: list[cst.BaseSmallStatement] = []
    for node in _imports(statement):
        single = cst.SimpleStatementLine([node])
        if isinstance(node, cst.ImportFrom) and isinstance(node.names, cst.ImportStar):
            smalls += [] if set(_atoms(single, module)) & gone else [node]
            continue
        assert not isinstance(node.names, cst.ImportStar)
        pairs = zip(node.names, _atoms(single, module), strict=True)
        names: Sequence[cst.ImportAlias] = [alias for alias, atom in pairs if atom not in gone]
        if names:
            if not (isinstance(node, cst.ImportFrom) and node.lpar):
                names = [*names[:-1], names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
            smalls.append(node.with_changes(names=names))
    return statement.with_changes(body=smalls) if smalls else None


def _noted(statement: Statement, notes: list[str]) -> Statement:
    """A statement below some comments more."""
    if not notes:
        return statement
    lines = [cst.EmptyLine(indent=True, comment=cst.Comment(note)) for note in notes]
    return statement.with_changes(leading_lines=[*statement.leading_lines, *lines])
