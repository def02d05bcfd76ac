"""What becomes of each import of a module, and of each use of what it binds."""

import libcst as cst
from libcst.metadata import (
    BaseAssignment,
    ClassScope,
    ImportAssignment,
    MetadataWrapper,
    ParentNodeProvider,
    Scope,
    ScopeProvider,
)

from scaffold.merge.codemod.nodes import (
    ImportStatement,
    absolute,
    alias_of,
    as_name,
    dotted,
    expression,
    first_name,
    from_import,
    source,
    unique,
)
from scaffold.template.renames import Renames


class Plan:
    """What becomes of each statement and of each use; both by their nodes."""

    def __init__(
        self, wrapper: MetadataWrapper, renames: Renames, before: str, after: str, relative: bool
    ) -> None:
        self.renames, self.before, self.after, self.relative = renames, before, after, relative
        self.statements: dict[cst.CSTNode, list[ImportStatement]] = {}
        self.uses: dict[cst.CSTNode, cst.BaseExpression] = {}
        self.parents = wrapper.resolve(ParentNodeProvider)
        found = wrapper.resolve(ScopeProvider).values()
        self.scopes: list[Scope] = list(dict.fromkeys(scope for scope in found if scope))
        self.bound = {a.name for scope in self.scopes for a in scope.assignments}
        # these bind by other words than a name in the code, so that it has to stay
        self.fixed: set[str] = set()
        for node in self.parents:
            if isinstance(node, cst.NameItem):  # of `global` and `nonlocal`
                self.fixed.add(node.name.value)
            elif isinstance(node, cst.SimpleString) and "__all__" in self.bound:
                self.fixed.add(node.raw_value)

    @property
    def is_needed(self) -> bool:
        return bool(self.statements or self.uses)

    def make(self) -> None:
        statements: dict[ImportStatement, list[BaseAssignment]] = {}
        for scope in self.scopes:
            for assignment in scope.assignments:
                if isinstance(assignment, ImportAssignment):
                    node = assignment.node
                    assert isinstance(node, (cst.Import, cst.ImportFrom))
                    statements.setdefault(node, []).append(assignment)
        for node, parent in self.parents.items():  # a star binds no name that is known
            if isinstance(node, cst.ImportStar) and isinstance(parent, cst.ImportFrom):
                statements.setdefault(parent, [])
        for node, assignments in statements.items():
            by_name = {assignment.name: assignment for assignment in assignments}
            made = (
                self.of_import(node, by_name)
                if isinstance(node, cst.Import)
                else self.offrom_import(node, by_name)
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
            if local is None and "." in module:
                parts = module.split(".")
                prefixes = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
                made += self.follow_dotted([bound[name] for name in prefixes if name in bound])
                stay.append(alias.with_changes(name=expression(new)))
                continue
            assignment = bound.get(local or module)
            more, keep = self.follow_attributes(assignment, module, local or module)
            if keep and new == module:
                stay.append(alias)
            elif keep:
                made.append(self.import_module(new, assignment, local or module, local))
            made += more
        if not made and [dotted(a.name) for a in stay] == [dotted(a.name) for a in node.names]:
            return None
        if stay:
            stay[-1] = stay[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            return [node.with_changes(names=stay), *made]
        return made

    def import_module(
        self, new: str, assignment: BaseAssignment | None, local: str, alias: str | None
    ) -> ImportStatement:
        """The import of a module that has another name now."""
        package, _, name = new.rpartition(".")
        if alias is None and name != local:
            alias = self.rename(assignment, local, name)
        if package:
            return from_import(package, 0, [(name, alias)])
        made = cst.ImportAlias(expression(name), as_name(alias))
        return cst.Import([made])

    def offrom_import(
        self, node: cst.ImportFrom, bound: dict[str, BaseAssignment]
    ) -> list[ImportStatement] | None:
        """`from a.b import c, d as e`; None where it stays."""
        module = absolute(node, self.before)
        if isinstance(node.names, cst.ImportStar):
            new = self.renames.modules.get(module, module)
            gone = {to[0] for (old, _), to in self.renames.names.items() if old == module}
            moved = [self.retold(node, new)] if self.differs(node, module, new) else []
            if not moved and not gone:
                return None
            stars = [node.with_changes(**source(*self.spelt(node, m))) for m in sorted(gone)]
            return [*(moved or [node]), *stars]
        groups: dict[str, list[tuple[str, str | None]]] = {}
        more: list[ImportStatement] = []
        same = True
        for alias in node.names:
            name, local = dotted(alias.name), alias_of(alias)
            full = f"{module}.{name}" if module else name
            assignment = bound.get(local or name)
            if full in self.renames.modules:
                target, _, new = self.renames.modules[full].rpartition(".")
                extra, keep = self.follow_attributes(assignment, full, local or name)
                more += extra
                if not keep:
                    same = False
                    continue
            else:
                target, new = self.renames.of(module, name)
            chosen = local
            if local is None and new != name:
                chosen = self.rename(assignment, name, new)
            same = same and (target, new, chosen) == (module, name, local)
            groups.setdefault(target, []).append((new, chosen))
        if same and not more and not self.differs(node, module, module):
            return None
        target, pairs = next(iter(groups.items()), ("", []))
        if same or (not more and len(pairs) == len(node.names)):  # the statement keeps its form
            aliases = [
                alias.with_changes(name=cst.Name(new), asname=as_name(chosen, alias.asname))
                for alias, (new, chosen) in zip(node.names, pairs, strict=True)
            ]
            told = self.retold(node, target)
            return [told.with_changes(names=aliases)]
        return [
            *(from_import(*self.spelt(node, target), pairs) for target, pairs in groups.items()),
            *more,
        ]

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
        if shared == 0:
            return module, 0
        return ".".join(there[shared:]), len(here) - shared + 1

    def retold(self, node: cst.ImportFrom, module: str) -> cst.ImportFrom:
        return node.with_changes(**source(*self.spelt(node, module)))

    def follow_dotted(self, assignments: list[BaseAssignment]) -> list[ImportStatement]:
        """Rewrite `a.b.c` after `import a.b`; what was in a.b and is elsewhere is imported."""
        made: list[ImportStatement] = []
        for access in (access for assignment in assignments for access in assignment.references):
            node: cst.CSTNode = first_name(access)
            found: tuple[cst.CSTNode, cst.BaseExpression] | None = None
            while isinstance(node, (cst.Name, cst.Attribute)) and node in self.parents:
                told = dotted(node)
                parent = self.parents[node]
                is_left = isinstance(parent, cst.Attribute) and parent.value is node
                if told in self.renames.modules:
                    found = node, expression(self.renames.modules[told])
                    name = parent.attr.value if is_left else ""  # type: ignore[attr-defined]
                    if (told, name) in self.renames.names:
                        module, new = self.renames.names[told, name]
                        made.append(cst.Import([cst.ImportAlias(expression(module))]))
                        found = parent, expression(f"{module}.{new}")
                if not is_left:
                    break
                node = parent
            if found:
                self.uses[found[0]] = found[1]
        return unique(made)

    def follow_attributes(
        self, assignment: BaseAssignment | None, module: str, local: str
    ) -> tuple[list[ImportStatement], bool]:
        """(imports of what a module has no more and is used here, whether the rest is used)."""
        pairs: dict[str, dict[str, str | None]] = {}
        moved = 0
        references = list(assignment.references) if assignment else []
        for access in references:
            node = first_name(access)
            parent = self.parents.get(node)
            if not isinstance(parent, cst.Attribute) or parent.value is not node:
                continue
            target = self.renames.names.get((module, parent.attr.value))
            if not target:
                continue
            if target[0] == self.renames.modules.get(module, module):
                self.uses[parent] = parent.with_changes(attr=cst.Name(target[1]))
                continue
            known = target[1] if target[1] not in self.bound else f"{local}_{target[1]}"
            self.uses[parent] = cst.Name(known)
            pairs.setdefault(target[0], {})[target[1]] = known if known != target[1] else None
            moved += 1
        made = [from_import(new, 0, sorted(found.items())) for new, found in pairs.items()]
        return made, not references or moved < len(references)

    def rename(self, assignment: BaseAssignment | None, old: str, new: str) -> str | None:
        """Give what an import binds its new name in all uses; the alias where that cannot be."""
        references = list(assignment.references) if assignment else []
        nodes = [first_name(access) for access in references]
        alone = (
            assignment is not None
            and not isinstance(assignment.scope, ClassScope)
            and old not in self.fixed
            and all(other is assignment for other in assignment.scope[old])
        )
        if not alone or new in self.bound or not all(isinstance(n, cst.Name) for n in nodes):
            return old  # also where it is named in a text, as an annotation can be
        for node in nodes:
            # a use may be replaced already, together with what follows it
            parent = self.parents[node]
            held = self.uses.get(parent)
            if isinstance(held, cst.Attribute) and held.value is node:
                self.uses[parent] = held.with_changes(value=cst.Name(new))
            elif parent not in self.uses or parent.value is not node:  # type: ignore[attr-defined]
                self.uses[node] = cst.Name(new)
        return None
