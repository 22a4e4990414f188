"""The operator's wishes: a YAML file, read strictly. What is wrong is said with its line, all at once."""

from __future__ import annotations

import re
import reprlib

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, Self, cast

import yaml

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)

from hubwarden.domain.approval import Approvals
from hubwarden.domain.channels import Notify
from hubwarden.domain.hub_id import HubId, NotAHubError
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.limits import Limits
from hubwarden.domain.rule import Mode, Rule, RuleSettings
from hubwarden.domain.targets import Tickets
from hubwarden.domain.where import Where


ALL: Final = "all"
"""Stands for every subscription that the identity can see."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a policy file. ``expired`` ones were right once."""

    line: int
    path: str
    message: str
    expired: bool = False

    def __str__(self) -> str:
        return f"line {self.line}, {self.path or '(top level)'}: {self.message}"


class PolicyError(ValueError):
    """The policy file is not usable as it stands; ``problems`` lists everything that is wrong, in file order."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{name}: {problem}" for problem in self.problems))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _hub_path(value: str) -> str:
    try:
        return HubId.parse(value).path
    except NotAHubError as error:
        raise ValueError(str(error)) from None


def _subscription(value: str) -> str:
    if value == ALL:
        return value
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value, re.IGNORECASE):
        raise ValueError(f"not a subscription id (a GUID): {value!r}")
    return value.lower()


def _day(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if not isinstance(value, str) or re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) is None:
        raise ValueError(f"must be a day such as 2027-01-31, found {_shown(value)}")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"must be a day of the calendar, found {_shown(value)}: {error}") from None


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be 1, found {value!r}")  # noqa: TRY004
    return value


type _Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Exemption(_Section):
    """A drift that the operator accepts for a while."""

    rule: str = Field(description="Id of the rule.")
    hub: Annotated[str, AfterValidator(_hub_path)] = Field(description="ARM resource id of the hub, any casing.")
    until: Annotated[date, BeforeValidator(_day)] = Field(description="Last day on which it holds (UTC).")
    reason: _Words = Field(description="Why the drift is accepted.")
    owner: _Words = Field(description="Who answers for it.")


class _RuleSection(_Section):
    """What the file says of one rule; each rule has its own, with its own kind of settings."""

    mode: Any
    settings: Any
    scopes: Any

    @model_validator(mode="after")
    def _scopes_fit(self) -> Self:
        for index in range(len(self.scopes)):
            try:
                self._merged(index)
            except ValidationError as error:
                said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"scopes[{index}] does not fit with the settings above it: {said}") from None
        return self

    def settings_of(self, hub: HubId | None) -> RuleSettings:
        """The settings that hold for this hub: those of the first scope that names it, over the section's own."""
        found = (index for index, scope in enumerate(self.scopes) if hub and scope.where.matches(hub))
        index = next(found, None)
        return cast("RuleSettings", self.settings) if index is None else self._merged(index)

    def _merged(self, index: int) -> RuleSettings:
        given = (self.settings, self.scopes[index].settings)
        named = {name: getattr(settings, name) for settings in given for name in settings.model_fields_set}
        return cast("RuleSettings", type(self.settings).model_validate(named))


class Policy(_Section):
    """The policy file as data. ``rules`` holds a section for every rule that the file names."""

    version: Annotated[Literal[1], BeforeValidator(_whole)] = Field(description="Version of this format.")
    subscriptions: list[Annotated[str, AfterValidator(_subscription)]] = Field(
        min_length=1,
        description="Ids of the subscriptions whose hubs are watched; `all` stands for all that the identity can "
        "see.",
    )
    rules: Any = Field(default_factory=dict)
    exemptions: list[Exemption] = Field(default_factory=list, description="Drifts accepted for a while.")
    accept_risk: list[str] = Field(
        default_factory=list,
        description="Rules whose fix may run without the approval that it asks for by itself.",
    )
    iac_markers: list[str] = Field(
        default_factory=lambda: ["managed-by", "managedby", "terraform", "pulumi"],
        description="Tags (compared without case) by which a hub says that infrastructure code manages it.",
    )
    keep_emails: bool = Field(
        default=False, description="Whether the e-mail address of who made a change is kept, besides id and name."
    )
    tickets: Tickets = Field(default_factory=Tickets, description="Where tickets go.")
    notify: Notify = Field(default_factory=Notify, description="Who is told what, and how.")
    approvals: Approvals = Field(default_factory=Approvals, description="Who may approve a fix, and for how long.")
    limits: Limits = Field(default_factory=Limits, description="How much may be fixed without a person.")

    def mode_of(self, rule_id: str) -> Mode:
        """What to do with the rule's drift; a rule that the file does not name is only reported."""
        section = self._section(rule_id)
        return Mode.REPORT if section is None else section.mode

    def settings_of(self, rule: Rule, hub: HubId | None) -> RuleSettings:
        """The rule's settings for this hub (None: for hubs in general), its defaults where the file names none."""
        section: _RuleSection | None = self._section(rule.id)
        return rule.settings() if section is None else section.settings_of(hub)

    def exemption_of(self, hub: HubId, rule_id: str, now: datetime) -> Exemption | None:
        """The exemption that covers this drift at this moment (UTC), if any."""
        today = now.astimezone(UTC).date()
        return next(
            (e for e in self.exemptions if e.rule == rule_id and e.hub == hub.path and today <= e.until), None
        )

    def iac_marker(self, tags: Mapping[str, Any]) -> str | None:
        """The tag, as ``name=value``, by which the hub says that infrastructure code manages it, if any."""
        markers = {marker.casefold() for marker in self.iac_markers}
        return next((f"{name}={value}" for name, value in tags.items() if name.casefold() in markers), None)

    @property
    def watches_all(self) -> bool:
        """Whether every subscription that the identity can see is watched."""
        return ALL in self.subscriptions

    def watches(self, hub: HubId) -> bool:
        """Whether the hub lies in a subscription that the file names; no other hub is ever touched."""
        return self.watches_all or hub.subscription in self.subscriptions

    def _section(self, rule_id: str) -> Any:
        return getattr(self.rules, rule_id.replace("-", "_"), None)


def load_policy(text: str, rules: Sequence[Rule], *, today: date, name: str = "policy.yaml") -> Policy:
    """Read a policy file.

    Args:
        text: the file's content.
        rules: the rules that it may name.
        today: exemptions that ended before this day are refused.
        name: what error messages call the file.

    Raises:
        PolicyError: it is not YAML, has unknown or repeated keys, bad values, or expired exemptions.
    """
    policy, problems = check_policy(text, rules, today=today)
    if policy is None or problems:
        raise PolicyError(name, problems)
    return policy


def check_policy(text: str, rules: Sequence[Rule], *, today: date) -> tuple[Policy | None, list[Problem]]:
    """Read a policy file as a running service does: what merely expired is a problem, but the rest still holds.

    Returns:
        The policy, or None where it must not be used, and everything that is wrong with it in file order.
    """
    if len(text) > _LONGEST:
        return None, [Problem(1, "", f"is {len(text):,} characters long; {_LONGEST:,} is the most")]
    try:
        root, data = _parse(text)
    except yaml.YAMLError as error:
        return None, [_syntax_problem(error, text)]
    if root is None or not isinstance(data, dict):
        return None, [Problem(1, "", "must be a mapping with version, subscriptions and rules")]
    lines = dict(_lines(root))
    problems = list(_repeated_keys(root))
    try:
        policy = _model(rules).model_validate(data)
    except ValidationError as error:
        problems += [_problem(details, lines, rules) for details in error.errors()]
        return None, sorted(problems, key=lambda problem: problem.line)
    problems += _unknown_rules(policy, rules, lines)
    usable = not problems
    problems += _expired(policy, today, lines)
    return policy if usable else None, sorted(problems, key=lambda problem: problem.line)


def policy_schema(rules: Sequence[Rule]) -> JsonObject:
    """The JSON Schema of the policy file, for editors."""
    schema: JsonObject = _model(rules).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "hubwarden policy"}


def _model(rules: Sequence[Rule]) -> type[Policy]:
    sections: dict[str, Any] = {rule.id.replace("-", "_"): _rule_field(rule) for rule in rules}
    all_rules = create_model("Rules", __base__=_Section, **sections)
    described = Field(default_factory=all_rules, description="What to do about each rule's drift.")
    return create_model("Policy", __base__=Policy, rules=(all_rules, described))


def _rule_field(rule: Rule) -> tuple[Any, Any]:
    name = rule.id.title().replace("-", "")
    scope = create_model(
        f"{name}Scope",
        __base__=_Section,
        where=(Where, Field(description="Which hubs these settings are for.")),
        settings=(rule.settings, Field(description="What differs there; all else is as in the settings above.")),
    )
    scopes: Any = Field(
        default_factory=list, description="Settings for some hubs; the first scope that matches counts."
    )
    section = create_model(
        f"{name}Rule",
        __base__=_RuleSection,
        mode=(Mode, Field(rule.default_mode, description="off, report, ticket, approve or auto.")),
        settings=(rule.settings, Field(default_factory=rule.settings, description="Settings of this rule.")),
        scopes=(list[scope], scopes),
    )
    return section | None, Field(None, alias=rule.id, description=rule.title)


_LONGEST: Final = 500_000
_LONGEST_NUMBER: Final = 20
_DEEPEST: Final = 20
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")
)


class _Loader(yaml.SafeLoader):
    """YAML as operators expect it: ``off`` is a word and not false, a date is text, and nothing is an alias."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose as usual, but refuse aliases: they make a small file endless, and lines ambiguous.

        Nor is there a use for tags and merge keys, or for a nesting that Python cannot follow.
        """
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", mark)
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"is nested deeper than {_DEEPEST} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in _TAGS:
            raise yaml.composer.ComposerError(None, None, f"{_tag(node)} is not allowed here", mark)
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        if node is not None and is_key and node.tag != "tag:yaml.org,2002:str":
            raise yaml.composer.ComposerError(None, None, f"a key must be a word, not {_tag(node)}", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Construct as usual; what PyYAML's own conversions trip over is the file's fault, and has a line."""
        try:
            if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _LONGEST_NUMBER:
                raise ValueError("Python would not even print it")  # noqa: TRY301
            return super().construct_object(node, deep=deep)
        except (AttributeError, LookupError, TypeError, ValueError):
            what = f"{_shown(node.value)} is no {_tag(node)}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _tag(node: yaml.Node) -> str:
    name = node.tag.removeprefix("tag:yaml.org,2002:")
    return "the merge key <<" if name == "merge" else f"!!{name}"


_shown: Final = reprlib.Repr(maxstring=80, maxlong=80).repr


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


type _Loc = tuple[str | int, ...]


def _lines(node: yaml.Node, at: _Loc = ()) -> Iterator[tuple[_Loc, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from ((loc, line) for loc, line in _lines(value, (*at, key.value)) if len(loc) > len(at) + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*at, index))


def _repeated_keys(node: yaml.Node, at: _Loc = ()) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                first = seen[key.value]
                yield Problem(line, _text((*at, key.value)), f"is there twice; first on line {first}")
            seen.setdefault(key.value, line)
            yield from _repeated_keys(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, (*at, index))


_NEEDED: Final = {
    "model_type": "must be a section with its own keys",
    "list_type": "must be a list",
    "string_type": "must be text",
}


def _problem(details: Any, lines: Mapping[_Loc, int], rules: Iterable[Rule]) -> Problem:
    loc: _Loc = tuple(details["loc"])
    found = details["input"]
    match details["type"]:
        case "extra_forbidden" if loc[:-1] == ("rules",):
            message = _no_rule(str(loc[-1]), {rule.id for rule in rules})
        case "extra_forbidden":
            message = "is not a key that is known here"
        case "missing":
            message = "is missing"
        case _ if found is None:
            message = "is empty: give it a value, or delete the line"
        case "value_error":
            message = str(details["msg"]).removeprefix("Value error, ")
        case "string_type" if isinstance(found, int | float):
            message = f"must be text: write {_shown(found)} in quotes"
        case kind:
            message = f"{_NEEDED.get(kind, details['msg'])}, found {_shown(found)}"
    return Problem(_line(loc, lines), _text(loc), message)


def _no_rule(rule_id: str, known: Iterable[str]) -> str:
    return f"no rule {rule_id!r}; there are: {', '.join(sorted(known))}"


def _unknown_rules(policy: Policy, rules: Iterable[Rule], lines: Mapping[_Loc, int]) -> Iterator[Problem]:
    known = {rule.id for rule in rules}
    named: list[tuple[_Loc, str]] = [(("accept_risk", i), rule) for i, rule in enumerate(policy.accept_risk)]
    named += [(("exemptions", i, "rule"), exemption.rule) for i, exemption in enumerate(policy.exemptions)]
    named += [(("approvals", "four_eyes", i), rule) for i, rule in enumerate(policy.approvals.four_eyes)]
    named += [(("approvals", "needed", rule), rule) for rule in policy.approvals.needed]
    for loc, rule_id in named:
        if rule_id not in known:
            yield Problem(_line(loc, lines), _text(loc), _no_rule(rule_id, known))


def _expired(policy: Policy, today: date, lines: Mapping[_Loc, int]) -> Iterator[Problem]:
    for index, exemption in enumerate(policy.exemptions):
        if exemption.until < today:
            loc = ("exemptions", index, "until")
            message = f"expired on {exemption.until}: renew it with a reason, or delete the exemption"
            yield Problem(_line(loc, lines), _text(loc), message, expired=True)


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        line = 1 + text.count("\n", 0, error.position)
        return Problem(line, "", f"is no text: character U+{ord(text[error.position]):04X} cannot be part of it")
    mark = getattr(error, "problem_mark", None)
    line = 1 if mark is None else mark.line + 1
    if isinstance(error, yaml.composer.ComposerError | yaml.constructor.ConstructorError):
        return Problem(line, "", " ".join(filter(None, (error.context, error.problem))))
    what = getattr(error, "problem", None) or str(error)
    if "'\\t'" in what:
        what = f"{what}: indent with spaces, not with tabs"
    return Problem(line, "", f"is not YAML: {what}")


def _line(loc: _Loc, lines: Mapping[_Loc, int]) -> int:
    while loc not in lines and loc:
        loc = loc[:-1]
    return lines.get(loc, 1)


def _text(loc: _Loc) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
