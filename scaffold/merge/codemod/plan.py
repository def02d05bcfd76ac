"""What becomes of each import of a module."""

from functools import partial

import libcst as cst
from libcst.metadata import BaseAssignment, ImportAssignment, MetadataWrapper

from scaffold.merge.codemod.nodes import (
    ImportStatement,
    absolute,
    alias_of,
    as_name,
    dotted,
    expression,
    from_import,
    source,
    unique,
)
from scaffold.merge.codemod.uses import Uses
from scaffold.template.renames import Renames


class Plan:
    """What becomes of each import statement, by its node, and of the uses."""

    def __init__(
        self, wrapper: MetadataWrapper, renames: Renames, before: str, after: str, relative: bool
    ) -> None:
        self.renames, self.before, self.after, self.relative = renames, before, after, relative
        self.statements: dict[cst.CSTNode, list[ImportStatement]] = {}
        self.uses = Uses(wrapper, renames)

    @property
    def is_needed(self) -> bool:
        return bool(self.statements or self.uses.changed)

    def make(self) -> None:
        statements: dict[ImportStatement, list[BaseAssignment]] = {}
        for scope in self.uses.scopes:
            for assignment in scope.assignments:
                if isinstance(assignment, ImportAssignment):
                    node = assignment.node
                    assert isinstance(node, (cst.Import, cst.ImportFrom))
                    statements.setdefault(node, []).append(assignment)
        for node, parent in self.uses.parents.items():  # a star binds no name that is known
            if isinstance(node, cst.ImportStar) and isinstance(parent, cst.ImportFrom):
                statements.setdefault(parent, [])
        for node, assignments in statements.items():
            by_name = {assignment.name: assignment for assignment in assignments}
            made = (
                self.of_import(node, by_name)
                if isinstance(node, cst.Import)
                else self.of_from(node, by_name)
            )
            if made is not None:
                self.statements[node] = made

    def of_import(
        self, node: cst.Import, bound: dict[str, BaseAssignment]
    ) -> list[ImportStatement] | None:
        """`import a, b.c as d`; None where it stays."""
        stay: list[cst.ImportAlias] = []
        made: list[ImportStatement] = []
        for alias in node.names:
            module, local = dotted(alias.name), alias_of(alias)
            new = self.renames.modules.get(module, module)
            if local is None and ("." in module or self.is_package(module)):
                parts = module.split(".")
                prefixes = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
                needed = self.uses.follow_dotted([bound[n] for n in prefixes if n in bound])
                others = [cst.ImportAlias(expression(other)) for other in needed if other != new]
                made += [cst.Import([other]) for other in others]
                stay.append(alias.with_changes(name=expression(new)))
                continue
            assignment = bound.get(local or module)
            more, keep = self.uses.follow(assignment, module, local or module, lambda m: (m, 0))
            if keep and new == module:
                stay.append(alias)
            elif keep:
                made.append(self.import_module(new, assignment, local or module, local))
            made += more
        if not made and [dotted(a.name) for a in stay] == [dotted(a.name) for a in node.names]:
            return None
        if stay:
            stay[-1] = stay[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            made = [node.with_changes(names=stay), *made]
        return unique(made)

    def is_package(self, name: str) -> bool:
        """Whether modules that were renamed are in it."""
        return any(module.startswith(f"{name}.") for module in self.renames.modules)

    def import_module(
        self, new: str, assignment: BaseAssignment | None, local: str, alias: str | None
    ) -> ImportStatement:
        """The import of a module that has another name now."""
        package, _, name = new.rpartition(".")
        if alias is None and name != local:
            alias = self.uses.rename(assignment, local, name)
        if package:
            return from_import(package, 0, [(name, alias)])
        made = cst.ImportAlias(expression(name), as_name(alias))
        return cst.Import([made])

    def of_from(
        self, node: cst.ImportFrom, bound: dict[str, BaseAssignment]
    ) -> list[ImportStatement] | None:
        """`from a.b import c, d as e`; None where it stays."""
        module = absolute(node, self.before)
        if isinstance(node.names, cst.ImportStar):
            return self.of_star(node, module)
        groups: dict[str, list[tuple[str, str | None]]] = {}
        more: list[ImportStatement] = []
        same = True
        for alias in node.names:
            name, local = dotted(alias.name), alias_of(alias)
            full = f"{module}.{name}" if module else name
            assignment = bound.get(local or name)
            if self.renames.concerns(full):
                target, _, new = self.renames.modules.get(full, full).rpartition(".")
                spell = partial(self.spelt, node)
                extra, keep = self.uses.follow(assignment, full, local or name, spell)
                more += extra
                if not keep:
                    same = False
                    continue
            else:
                target, new = self.renames.of(module, name)
            chosen = local
            if local is None and new != name:
                chosen = self.uses.rename(assignment, name, new)
            same = same and (target, new, chosen) == (module, name, local)
            groups.setdefault(target, []).append((new, chosen))
        if same and not more and not self.differs(node, module, module):
            return None
        target, pairs = next(iter(groups.items()), ("", []))
        if len(groups) == 1 and len(pairs) == len(node.names):  # the statement keeps its form
            aliases = [
                alias.with_changes(name=cst.Name(new), asname=as_name(chosen, alias.asname))
                for alias, (new, chosen) in zip(node.names, pairs, strict=True)
            ]
            return unique([self.retold(node, target).with_changes(names=aliases), *more])
        told = [from_import(*self.spelt(node, target), pairs) for target, pairs in groups.items()]
        return unique([*told, *more])

    def of_star(self, node: cst.ImportFrom, module: str) -> list[ImportStatement] | None:
        """`from a.b import *`; None where it stays."""
        new = self.renames.modules.get(module, module)
        gone = {to[0] for (old, _), to in self.renames.names.items() if old == module}
        moved = [self.retold(node, new)] if self.differs(node, module, new) else []
        if not moved and not gone:
            return None
        stars = [node.with_changes(**source(*self.spelt(node, m))) for m in sorted(gone)]
        return [*(moved or [node]), *stars]

    def differs(self, node: cst.ImportFrom, old: str, new: str) -> bool:
        """Whether the statement has to name its module in another way."""
        return old != new or self.spelt(node, new) != (
            dotted(node.module) if node.module else "", len(node.relative)
        )  # fmt: skip

    def spelt(self, node: cst.ImportFrom, module: str) -> tuple[str, int]:
        """(name, dots) of a module, relative where the statement was so and still can be."""
        if not (node.relative or self.relative):
            return module, 0
        here, there = self.after.split(".")[:-1], module.split(".")
        shared = 0
        while shared < min(len(here), len(there)) and here[shared] == there[shared]:
            shared += 1
        if shared == 0 and not node.relative:
            return module, 0
        return ".".join(there[shared:]), len(here) - shared + 1

    def retold(self, node: cst.ImportFrom, module: str) -> cst.ImportFrom:
        return node.with_changes(**source(*self.spelt(node, module)))
