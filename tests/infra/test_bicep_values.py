"""The evaluator that other tests take names and roles from: each expression comes to what Azure makes of it."""

import textwrap

from pathlib import Path

import pytest

from tests.infra import bicep_syntax as bicep
from tests.infra.bicep_values import NoValueError, Unknown, evaluate, keys_of, value_at


ROOT = Path(__file__).resolve().parents[2]
POLICY = "rules: {tls: {mode: auto}, other: {}}\n"


@pytest.fixture
def value(tmp_path):
    """The value of an expression; the file beside it is a policy's sample."""

    def evaluated(expression, declarations="", **params):
        (tmp_path / "policy.sample.yaml").write_text(POLICY)
        path = tmp_path / "main.bicep"
        path.write_text(f"{textwrap.dedent(declarations)}\nvar it = {expression}\n")
        return evaluate(path, "it", params)

    return evaluated


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'a${1 + 2}b${true}c${null}'", "a3bTruec"),
        (r"'it\'s \${x} \u{41}\n'", "it's ${x} A\n"),
        ("'''\nraw ${x}\n'''", "raw ${x}\n"),
        ("1 + 2 * 3 - 8 / 3", 5),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("1 + 1 == 2 && !false || false", True),
        ("1 == true", False),
        ("'A' == 'a'", False),
        ("'A' =~ 'a'", True),
        ("null ?? 'x'", "x"),
        ("false ? 1 : true ? 2 : 3", 2),
        ("{ a: { b: 1 } }.a.b", 1),
        ("{ a: 1 }.?b.c.d ?? 'none'", "none"),
        ("{ a: [1, 2] }[?'a'][1]", 2),
        ("[for (x, i) in ['a', 'b']: '${i}${x}']", ["0a", "1b"]),
        ("[for x in [1, 2]: [for y in [3]: x * y]]", [[3], [6]]),
        ("map(['a', 'b'], (x, i) => { n: x, i: i })[1]", {"n": "b", "i": 1}),
        ("map([{ a: { b: 1 } }], x => x.a.b == 1 ? x.a : null)", [{"b": 1}]),
        ("filter([1, 2, 3], (x, i) => x > 1 && i < 2)", [2]),
        ("reduce([1, 2], 10, (sum, x) => sum + x)", 13),
        ("toObject(['a'], x => 'k-${x}', x => true)", {"k-a": True}),
        ("toObject(['a'], x => x)", {"a": "a"}),
        ("items({ b: 1, a: 2 })", [{"key": "a", "value": 2}, {"key": "b", "value": 1}]),
        ("objectKeys({ b: 1, a: 2 })", ["a", "b"]),
        ("union({ a: { x: 1 }, c: 0 }, { a: { y: 2 }, c: 3 })", {"a": {"x": 1, "y": 2}, "c": 3}),
        ("union(['a', 'b'], ['b', 'c'])", ["a", "b", "c"]),
        ("intersection(['a', 'b'], ['b', 'c'])", ["b"]),
        ("flatten([['a'], [], ['b']])", ["a", "b"]),
        ("concat(['a'], ['b'])", ["a", "b"]),
        ("concat('a', 'b')", "ab"),
        ("contains(['a'], 'a') && contains('xay', 'a') && contains({ a: 1 }, 'a')", True),
        ("empty('') && empty([]) && empty({}) && empty(null)", True),
        ("length('abc') + length([1]) + length({ a: 1 })", 5),
        ("split('a-b_c', ['-', '_'])", ["a", "b", "c"]),
        ("join(split('a,b', ','), ';')", "a;b"),
        ("first('abc')", "a"),
        ("last([1, 2])", 2),
        ("first([])", None),
        ("indexOf('aXb', 'x')", 1),
        ("indexOf(['a'], 'b')", -1),
        ("startsWith('Abc', 'a') && endsWith('abC', 'c')", True),
        ("toLower(sys.toUpper('aB'))", "ab"),
        ("string({ a: [1, true] })", '{"a":[1,true]}'),
        ("array('a')", ["a"]),
        ("substring('abcd', 1, 2)", "bc"),
        ("take('abcd', 2)", "ab"),
        ("skip([1, 2, 3], 1)", [2, 3]),
        ("format('{0}-{1}', 'a', 1)", "a-1"),
        ("sort([3, 1, 2], (a, b) => a < b)", [1, 2, 3]),
        ("any(loadYamlContent('policy.yaml')).rules.tls.mode", "auto"),
    ],
)
def test_an_expression_has_its_value(value, expression, expected):
    assert value(expression) == expected


def test_every_variable_of_the_project_has_a_value():
    files = [path for path in (ROOT / "infra").rglob("*.bicep") if not bicep.parse(path).errors]
    if not files:
        pytest.skip("there is no infra/ yet")
    for path in files:
        for declared in bicep.parse(path).of(bicep.Variable):
            evaluate(path, declared.name.name)


def test_what_only_azure_knows_goes_through_interpolation_and_access(value):
    assert value("'st${uniqueString(subscription().id)}x'") == "st<uniqueString(subscription().id)>x"
    assert isinstance(value("environment().suffixes.storage"), Unknown)
    assert isinstance(value("environment().name == 'x' ? 1 : 2"), Unknown)
    assert value("false && environment().name == 'x'") is False
    assert value("r.properties.x[0]", "resource r 'A/b@2020-01-01' = { name: 'x' }") == "<r.properties.x[0]>"
    assert value("p", "param p string") == "<p>"


def test_parameters_are_given_or_have_their_default(value):
    assert value("'${p}${q}'", "param p string = 'd'\nparam q int = 1", q=2) == "d2"


def test_a_user_defined_function_is_called(value):
    assert value("hi('you', 2)", "func hi(who string, n int) string => '${who}${n + 1}'") == "you3"


def test_a_resource_is_its_body_and_a_condition_leaves_it_out(tmp_path):
    path = tmp_path / "main.bicep"
    path.write_text("""
param on bool = false
resource many 'A/b@2020-01-01' = [for n in ['a', 'b']: if (n != 'a') { name: n, properties: { list: [n] } }]
resource one 'A/b@2020-01-01' = if (on) { name: 'x' }
output first string = many[0].id
""")
    assert value_at(path, "many", 0, "properties", "list", 0) == "b"
    assert len(evaluate(path, "many")) == 1
    assert evaluate(path, "one") is None
    assert evaluate(path, "one", {"on": True}) == {"name": "x"}
    assert evaluate(path, "first") == "<many[0].id>"


def test_a_file_can_be_given_in_the_place_of_what_lies_there(tmp_path):
    path = tmp_path / "main.bicep"
    path.write_text(
        "var policy = loadYamlContent('../policy.yaml')\nvar mode = policy.?rules.?tls.?mode ?? 'report'\n"
    )
    assert evaluate(path, "mode", files={"policy.yaml": {"rules": {"tls": {"mode": "off"}}}}) == "off"
    assert evaluate(path, "mode", files={"policy.yaml": {}}) == "report"
    with pytest.raises(NoValueError, match=r"main.bicep:1: .*policy.yaml does not exist"):
        evaluate(path, "mode")


def test_all_keys_of_an_object_are_found_whatever_the_parameters(tmp_path):
    path = tmp_path / "main.bicep"
    path.write_text("""
param on bool = false
param extra object = {}
var base = { A: '1', 'B-C': uniqueString('x') }
var settings = union(base, on ? { D: 1 } : {}, toObject(['x'], n => 'X_${n}'), extra)
""")
    assert keys_of(path, "settings") == ("A", "B-C", "D", "X_x")
    assert keys_of(path, "settings", {"extra": {"E": 1}}) == ("A", "B-C", "D", "X_x", "E")


@pytest.mark.parametrize(
    ("declarations", "expression", "why"),
    [
        ("var o = { a: 1 }", "o.b", r"main.bicep:2: o.b: there is no 'b' in a"),
        ("", "nobody", "nobody: is not declared"),
        ("", "it", "refers to itself"),
        ("", "int('x')", "invalid literal"),
    ],
)
def test_what_has_no_value_is_said_with_file_and_line(value, declarations, expression, why):
    with pytest.raises(NoValueError, match=why):
        value(expression, declarations)
