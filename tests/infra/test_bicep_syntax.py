"""Expressions bind as Bicep's own parser binds them, and what its grammar refuses is refused."""

import pytest

from tests.infra import bicep_syntax as bicep


def _listed(parts, by=", "):
    return by.join(map(_shown, parts))


def _text(part):
    return "'" + "".join(p if isinstance(p, str) else f"${{{_shown(p)}}}" for p in part.pieces) + "'"


SHOWN = {
    bicep.Literal: lambda p: str(p.value),
    bicep.Text: _text,
    bicep.Name: lambda p: p.name,
    bicep.Member: lambda p: f"{_shown(p.base)}{'.?' if p.safe else '.'}{p.name.name}",
    bicep.Nested: lambda p: f"{_shown(p.base)}::{p.name.name}",
    bicep.Index: lambda p: f"{_shown(p.base)}[{'?' if p.safe else ''}{_shown(p.index)}]",
    bicep.NotNull: lambda p: f"{_shown(p.base)}!",
    bicep.Call: lambda p: f"{_shown(p.function)}({_listed(p.arguments)})",
    bicep.Unary: lambda p: f"({p.operator}{_shown(p.operand)})",
    bicep.Binary: lambda p: f"({_shown(p.left)} {p.operator} {_shown(p.right)})",
    bicep.Ternary: lambda p: f"({_shown(p.condition)} ? {_shown(p.yes)} : {_shown(p.no)})",
    bicep.Lambda: lambda p: f"<{_listed(p.parameters, ' ')} => {_shown(p.body)}>",
    bicep.Array: lambda p: f"[{_listed(p.items)}]",
    bicep.Object: lambda p: f"{{{_listed(p.properties)}}}",
    bicep.Property: lambda p: f"{_shown(p.key)}: {_shown(p.value)}",
}


def _shown(part):
    """An expression with every operation in brackets."""
    return SHOWN[type(part)](part)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a == b.c", "(a == b.c)"),
        ("a.b == c.d && e.f", "((a.b == c.d) && e.f)"),
        ("a ? b.c : d.e", "(a ? b.c : d.e)"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("!a.b", "(!a.b)"),
        ("-a.b + 2", "((-a.b) + 2)"),
        ("3 -1", "(3 - 1)"),
        ("a + b * c - d / e", "((a + (b * c)) - (d / e))"),
        ("a || b && c == d ?? e", "((a || (b && (c == d))) ?? e)"),
        ("(a || b) && c", "((a || b) && c)"),
        ("a.?b[?'c'][0]!.d", "a.?b[?'c'][0]!.d"),
        ("a::b.id", "a::b.id"),
        ("map(a, b => b.c)", "map(a, <b => b.c>)"),
        ("map(a, b => b.c == 1 ? b.d : !b.e)", "map(a, <b => ((b.c == 1) ? b.d : (!b.e))>)"),
        ("map(a, (b, i) => b[i].c(i).d ?? 'e')", "map(a, <b i => (b[i].c(i).d ?? 'e')>)"),
        ("map(map(a, b => b.c), d => map(d, e => e.f))", "map(map(a, <b => b.c>), <d => map(d, <e => e.f>)>)"),
        ("map(a, () => 'b')", "map(a, < => 'b'>)"),
        ("[a[0].b, c('d', 1).e]", "[a[0].b, c('d', 1).e]"),
        ("[\n  a[0]\n  b\n  c\n    ? d\n    : e\n]", "[a[0], b, (c ? d : e)]"),
        ("[subscription().id]", "[subscription().id]"),
        ("[[1], [2]]", "[[1], [2]]"),
        (r"'it\'s ${a.b} \${c} ${'d${e}'}'", "'it's ${a.b} ${c} ${'d${e}'}'"),
        ("{ a: b.c, 'd-e': [f] }", "{a: b.c, 'd-e': [f]}"),
        ("az.resourceGroup().location", "az.resourceGroup().location"),
    ],
)
def test_an_expression_binds_as_bicep_binds_it(text, shown):
    file = bicep.parse_text(f"var it = {text}\n")
    assert file.errors == ()
    assert _shown(file.declared("it").value) == shown


@pytest.mark.parametrize(
    "text",
    [
        "var a = b &&\n  c",
        "var a = b\n  && c",
        "var a = b\n  .c",
        "var a = b\n(1)",
        "var a = b ?\n  c : d",
        "var a = [1,\n  2]",
        "var a = { b: 1 c: 2 }",
        "var a = { b: 1,\n  c: 2 }",
        "var a = f(1, 2,)",
        "var a = f(1 2)",
        "var a = 1 var b = 2",
        "var a = 'b\nc'",
        r"var a = 'b\d'",
        "var a = '${[1][0]}'",
        "var a = '${{ b: 1 }.b}'",
        "var a = {",
        "var a = 'b",
        "param a strin g",
        "resource a = {}",
    ],
)
def test_what_bicep_refuses_is_refused(text):
    assert bicep.parse_text(text).errors


def test_a_problem_has_its_line():
    [problem] = bicep.parse_text("var a = 1\nvar b = [1,\n2]\n").errors
    assert str(problem) == "text.bicep:2: syntax: nothing follows this comma on its line"


def test_declarations_have_their_parts():
    file = bicep.parse_text("""
targetScope = 'managementGroup'
@description('x')
@secure()
param a string?
type t = { b: 'c' | 'd', *: int[] }
func f(a string) string => a
resource r 'X/y@2020-01-01' existing = if (a == 'é') {
  name: 'é'
  resource s 'z' = {
    name: 'n'
  }
}
module m 'x.bicep' = [for (i, n) in range(0, 2): if (n > 0) {
  name: '${i}'
}]
output o string = r::s.id
""")
    assert file.errors == ()
    assert file.target_scope == "managementGroup"
    a, t, f, r, m, o = file.declarations
    assert [d.name for d in a.decorators] == ["description", "secure"]
    assert isinstance(a.type, bicep.TypeNullable)
    assert [p.name for p in t.type.properties] == ["b"]
    assert isinstance(t.type.additional, bicep.TypeArray)
    assert [p.name.name for p in f.parameters] == ["a"]
    assert r.existing
    assert [s.name.name for s in bicep.body_of(r.value).resources] == ["s"]
    assert bicep.body_of(m.value).get("name") is not None
    assert file.text(o.value) == "r::s.id"
