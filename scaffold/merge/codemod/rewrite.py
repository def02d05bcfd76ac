"""Follows renamed modules and names through Python code: imports, and their uses by scope.

Nothing is found by pattern: what is rewritten is known from the syntax tree and its scopes. Strings
and comments stay as they are.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper

from scaffold.merge.codemod.nodes import comments, in_place
from scaffold.merge.codemod.plan import Plan
from scaffold.template.renames import Renames

# what reading code can raise: no Python of today, an encoding that is not there, nested too deep
UNREADABLE = (
    cst.ParserSyntaxError,
    cst.CSTValidationError,
    SyntaxError,
    ValueError,
    RecursionError,
)


class Rewritten(NamedTuple):
    """The code of a module as it is now, and what in it may use a name that has moved."""

    code: bytes
    unsure: list[tuple[str, str]]  # (what may be one, what it would be)


@lru_cache(256)  # most files of a project are still those of its render
def rewritten(
    code: bytes,
    renames: Renames,
    before: str,
    after: str,
    others: frozenset[str] = frozenset(),
    relative: bool = False,
) -> Rewritten:
    """The code of a module, called `before` once and `after` now, with the names of today.

    others: modules that only look like renamed ones from here, as one that lies beside this one.
    relative: whether what is imported from its own package shall be named from there.
    Raises one of UNREADABLE where it does not parse.
    """
    wrapper = MetadataWrapper(cst.parse_module(code))
    known = renames.within({*renames.modules, *(old for old, _ in renames.names)} - others)
    plan = Plan(wrapper, known, before, after, relative)
    plan.make()
    made = wrapper.module.visit(Rewriter(plan)).bytes if plan.is_needed else code
    return Rewritten(made, sorted(plan.uses.unsure))


class Rewriter(cst.CSTTransformer):
    """Carries a plan out."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Put what is planned into the place of a node."""
        if original_node in self.plan.uses.changed:
            return in_place(original_node, self.plan.uses.changed[original_node])
        if isinstance(original_node, (cst.SimpleStatementLine, cst.SimpleStatementSuite)):
            return self.of_line(original_node, updated_node)
        return super().on_leave(original_node, updated_node)

    def of_line(
        self,
        original: cst.SimpleStatementLine | cst.SimpleStatementSuite,
        updated: cst.SimpleStatementLine | cst.SimpleStatementSuite,
    ) -> cst.CSTNode | cst.FlattenSentinel[cst.SimpleStatementLine]:
        """A line of statements, or several where an import became several."""
        if not any(small in self.plan.statements for small in original.body):
            return updated
        smalls: list[cst.BaseSmallStatement] = []
        for before, after in zip(original.body, updated.body, strict=True):
            smalls += self.plan.statements.get(before, [after])
        smalls = [small.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for small in smalls]
        lost = [c for small in original.body for c in comments(small)]
        for small in smalls:
            lost = [comment for comment in lost if comment not in comments(small)]
        if isinstance(updated, cst.SimpleStatementSuite):
            return updated.with_changes(body=smalls)
        lines = [cst.SimpleStatementLine([small]) for small in smalls]
        above = [*updated.leading_lines, *(cst.EmptyLine(comment=cst.Comment(c)) for c in lost)]
        lines[0] = lines[0].with_changes(leading_lines=above)
        lines[-1] = lines[-1].with_changes(trailing_whitespace=updated.trailing_whitespace)
        return cst.FlattenSentinel(lines)
