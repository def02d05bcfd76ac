"""Import statements as libcst has them: what they say, and new ones."""

from collections.abc import Sequence

import libcst as cst
from libcst.metadata import Access

ImportStatement = cst.Import | cst.ImportFrom


def absolute(statement: cst.ImportFrom, module: str) -> str:
    """The dotted name of the module that a statement in this module imports from."""
    named = dotted(statement.module) if statement.module else ""
    if not statement.relative:
        return named
    parents = module.split(".")[: -len(statement.relative)]
    return ".".join([*parents, *filter(None, [named])])


def dotted(node: cst.BaseExpression) -> str:
    """A name with its dots; empty where it is anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr.value}" if left else ""
    return ""


def first_name(access: Access) -> cst.CSTNode:
    node: cst.CSTNode = access.node
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def alias_of(alias: cst.ImportAlias) -> str | None:
    return alias.evaluated_alias


def expression(name: str) -> cst.Name | cst.Attribute:
    first, *rest = name.split(".")
    node: cst.Name | cst.Attribute = cst.Name(first)
    for part in rest:
        node = cst.Attribute(node, cst.Name(part))
    return node


def as_name(alias: str | None, before: cst.AsName | None = None) -> cst.AsName | None:
    if alias is None:
        return None
    return before or cst.AsName(cst.Name(alias))


def source(module: str, dots: int) -> dict[str, object]:
    """The part of a statement that says where it imports from."""
    return {
        "module": expression(module) if module else None,
        "relative": [cst.Dot()] * dots,
        "whitespace_after_from": cst.SimpleWhitespace(" "),
        "whitespace_before_import": cst.SimpleWhitespace(" "),
    }


def from_import(module: str, dots: int, pairs: Sequence[tuple[str, str | None]]) -> ImportStatement:
    aliases = [cst.ImportAlias(cst.Name(name), as_name(alias)) for name, alias in pairs]
    if not module and not dots:  # out of a package, to where the modules lie side by side
        return cst.Import(aliases)
    return cst.ImportFrom(
        expression(module) if module else None, aliases, relative=[cst.Dot()] * dots
    )


def unique(made: list[ImportStatement]) -> list[ImportStatement]:
    texts = {cst.Module([]).code_for_node(statement): statement for statement in made}
    return list(texts.values())


def comments(node: cst.CSTNode) -> list[str]:
    """All comments in a part of the code."""
    found = [node.value] if isinstance(node, cst.Comment) else []
    return found + [comment for child in node.children for comment in comments(child)]


def imported_modules(module: cst.Module) -> list[tuple[str, int]]:
    """(name, dots before it) of all modules that a file imports from, wherever it does."""
    found: list[tuple[str, int]] = []

    class Collector(cst.CSTVisitor):
        def visit_Import(self, node: cst.Import) -> None:
            found.extend((dotted(alias.name), 0) for alias in node.names)

        def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
            found.append((dotted(node.module) if node.module else "", len(node.relative)))

    module.visit(Collector())
    return found


def in_place(before: cst.BaseExpression, after: cst.BaseExpression) -> cst.BaseExpression:
    """An expression within the parentheses of another: `return(a)` needs them."""
    inner: cst.CSTNode = before
    while isinstance(inner, cst.Attribute) and not inner.lpar:
        inner = inner.value
    lpar, rpar = getattr(inner, "lpar", ()), getattr(inner, "rpar", ())
    first: cst.CSTNode = after
    while isinstance(first, cst.Attribute) and not first.lpar:
        first = first.value
    return after if getattr(first, "lpar", ()) else after.with_changes(lpar=lpar, rpar=rpar)
