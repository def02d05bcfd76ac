"""Follows what an import binds to where it is used, by the scopes of the code."""

from collections.abc import Callable

import libcst as cst
from libcst.metadata import (
    BaseAssignment,
    ClassScope,
    ExpressionContext,
    ExpressionContextProvider,
    MetadataWrapper,
    ParentNodeProvider,
    Scope,
    ScopeProvider,
)

from scaffold.merge.codemod.nodes import (
    ImportStatement,
    comments,
    dotted,
    expression,
    first_name,
    from_import,
)
from scaffold.template.renames import Name, Renames

Spell = Callable[[str], tuple[str, int]]  # a module -> its name, and the dots before it


class Uses:
    """What becomes of each use in a module, by its node."""

    def __init__(self, wrapper: MetadataWrapper, renames: Renames) -> None:
        self.renames = renames
        self.changed: dict[cst.CSTNode, cst.BaseExpression] = {}
        self.unsure: set[tuple[str, str]] = set()  # (what may be one, what it would be)
        self.parents = wrapper.resolve(ParentNodeProvider)
        self.contexts = wrapper.resolve(ExpressionContextProvider)
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

    def is_alone(self, assignment: BaseAssignment | None, local: str) -> bool:
        """Whether an import is all that binds a name, and every use of it is in sight."""
        return (
            assignment is not None
            and not isinstance(assignment.scope, ClassScope)
            and local not in self.fixed
            and all(other is assignment for other in assignment.scope[local])
            # a text can name it too, as an annotation may be
            and all(isinstance(first_name(use), cst.Name) for use in assignment.references)
        )

    def rename(self, assignment: BaseAssignment | None, old: str, new: str) -> str | None:
        """Give what an import binds its new name in all uses; the alias where that cannot be."""
        if new in self.bound or not self.is_alone(assignment, old):
            return old
        assert assignment is not None
        for node in map(first_name, assignment.references):
            # a use may be replaced already, together with what follows it
            parent = self.parents[node]
            held = self.changed.get(parent)
            if isinstance(held, cst.Attribute) and held.value is node:
                self.changed[parent] = held.with_changes(value=cst.Name(new))
            elif parent not in self.changed or getattr(parent, "value", None) is not node:
                self.changed[node] = cst.Name(new)
        return None

    def follow(
        self, assignment: BaseAssignment | None, module: str, local: str, spell: Spell
    ) -> tuple[list[ImportStatement], bool]:
        """(imports of what a module has no more and is used here, whether the rest is used).

        local: the name that the module has here. spell: how its import names a module.
        """
        references = list(assignment.references) if assignment else []
        found: list[tuple[cst.Attribute, Name]] = []
        for node in map(first_name, references):
            parent = self.parents.get(node)
            if isinstance(parent, cst.Attribute) and parent.value is node:
                target = self.renames.names.get((module, parent.attr.value))
                if target:
                    found.append((parent, target))
            elif isinstance(parent, cst.Arg):
                self.note_texts(module, parent)
        if not self.is_alone(assignment, local):
            self.unsure |= {(f"{local}.{node.attr.value}", ".".join(new)) for node, new in found}
            return [], True
        # what is set in its module is set there, and not here
        is_set = any(
            self.contexts.get(node) is not ExpressionContext.LOAD or comments(node)
            for node, _ in found
        )
        pairs: dict[str, dict[str, str | None]] = {}
        moved = 0
        for node, (place, name) in found:
            if place == self.renames.modules.get(module, module):
                self.changed[node] = node.with_changes(attr=cst.Name(name))
                continue
            moved += 1
            package, _, last = place.rpartition(".")
            by_module = is_set and bool(package)
            origin, wanted = (package, last) if by_module else (place, name)
            known = wanted
            while known in self.bound:
                known = f"{local}_{known}"
            pairs.setdefault(origin, {})[wanted] = known if known != wanted else None
            self.changed[node] = (
                node.with_changes(value=cst.Name(known), attr=cst.Name(name))
                if by_module
                else cst.Name(known)
            )
        made = [from_import(*spell(place), sorted(names.items())) for place, names in pairs.items()]
        return made, not references or moved < len(references)

    def note_texts(self, module: str, argument: cst.Arg) -> None:
        """Note what a call takes from a module by a text, as `setattr(module, "name", ...)`."""
        call = self.parents[argument]
        for other in call.args if isinstance(call, cst.Call) else ():
            text = other.value
            if isinstance(text, cst.SimpleString) and isinstance(text.evaluated_value, str):
                target = self.renames.names.get((module, text.evaluated_value))
                if target:
                    self.unsure.add((f"{module}.{text.evaluated_value}", ".".join(target)))

    def follow_dotted(self, assignments: list[BaseAssignment]) -> list[str]:
        """Rewrite `a.b.c` after `import a.b` or `import a`; the modules that this needs."""
        needed = []
        for node in (first_name(use) for binding in assignments for use in binding.references):
            found: tuple[cst.CSTNode, str] | None = None
            while isinstance(node, (cst.Name, cst.Attribute)) and node in self.parents:
                told, parent = dotted(node), self.parents[node]
                longer = parent if isinstance(parent, cst.Attribute) else None
                if longer and longer.value is not node:
                    longer = None
                name = longer.attr.value if longer else ""
                if (told, name) in self.renames.names:
                    module, new = self.renames.names[told, name]
                    found = parent, f"{module}.{new}"
                    needed.append(module)
                elif told in self.renames.modules:
                    found = node, self.renames.modules[told]
                    needed.append(found[1])
                if longer is None:
                    break
                node = longer
            if found:
                self.changed[found[0]] = expression(found[1])
        return needed
