"""The operator's wishes: a YAML file, read strictly. What is wrong is said with its line, all at once."""

from __future__ import annotations

import functools
import re
import reprlib

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self, cast

import yaml

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from hubwarden.domain.approval import Approvals
from hubwarden.domain.channels import Notify
from hubwarden.domain.exemption import Exempted, Exemption, TagExemption, is_exemption, read_tags
from hubwarden.domain.hub_id import HubId
from hubwarden.domain.jsons import JsonObject
from hubwarden.domain.limits import Limits
from hubwarden.domain.rule import Mode, Rule, RuleSettings
from hubwarden.domain.targets import Tickets
from hubwarden.domain.where import Scope, Tags, first_covering, kept, not_read
from hubwarden.domain.windows import Closed, Freeze, Maintenance, closed


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


type Loc = tuple[str | int, ...]
"""A place in the policy file: keys, and positions in lists."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A mode, and the place of the policy file that says so."""

    mode: Mode
    at: Loc
    sure: bool = True
    """False where the hub's tags are not known, and could have led to another mode."""

    def __str__(self) -> str:
        unsure = "" if self.sure else ", for the hub's tags are not known"
        return f"policy {place(self.at)} is {self.mode}{unsure}"


def place(loc: Loc) -> str:
    """The place in words: ``rules.tls-minimum.scopes[0].mode``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _subscription(value: str) -> str:
    if value == ALL:
        return value
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value, re.IGNORECASE):
        raise ValueError(f"not a subscription id (a GUID): {value!r}")
    return value.lower()


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be 1, found {value!r}")  # noqa: TRY004
    return value


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

    def settings_of(self, hub: HubId | None, tags: Tags | None) -> RuleSettings:
        """The settings that hold for this hub: those of the first scope that names it, over the section's own.

        A scope that asks for tags does not hold for a hub whose tags are not known.
        """
        found = (index for index, scope in enumerate(self.scopes) if hub and scope.where.covers(hub, tags))
        index = next(found, None)
        return cast("RuleSettings", self.settings) if index is None else self._merged(index)

    def wishes(self, rule_id: str, hub: HubId, tags: Tags | None) -> list[Wish]:
        """What the first scope that names the hub says; several answers where its tags are not known."""
        return [self._wish(rule_id, index) for index in first_covering(self._wheres, hub, tags)]

    @property
    def is_on(self) -> bool:
        """Whether the mode is another one than off for any hub that there could be."""
        return any(mode is not Mode.OFF for mode in (self.mode, *(scope.mode for scope in self.scopes)) if mode)

    def possible(self) -> list[tuple[Mode, RuleSettings]]:
        """Each mode and settings that a hub can have, whichever hubs there are."""
        scopes = [(scope.mode or self.mode, self._merged(index)) for index, scope in enumerate(self.scopes)]
        return [(self.mode, self.settings), *scopes]

    def _wish(self, rule_id: str, index: int | None) -> Wish:
        at = ("rules", rule_id)
        if index is None or self.scopes[index].mode is None:
            return Wish(self.mode, (*at, "mode"))
        return Wish(self.scopes[index].mode, (*at, "scopes", index, "mode"))

    @property
    def _wheres(self) -> list[Scope]:
        return [scope.where for scope in self.scopes]

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
    rules: Any = Field(default_factory=tuple)
    enforcement: Literal["enforce", "observe"] = Field(
        "enforce", description="`observe` does everything but change Azure: plans are made and shown in tickets."
    )
    exemptions: list[Exemption] = Field(default_factory=list, description="Drifts accepted for a while.")
    exemption_max_days: int = Field(90, ge=1, le=3650, description="How many days ahead an exemption may end.")
    exemption_notice_days: int = Field(
        7, ge=0, le=365, description="How many days before an exemption ends people are told."
    )
    exemptions_by_tag: Literal["allowed", "refused"] = Field(
        "refused", description="Whether a hub's tags hubwarden-exempt… count: whoever may tag the hub sets them."
    )
    refuse_tag_exemptions: list[str] = Field(
        default_factory=list, description="Rules that no tag exempts from, where others may."
    )
    maintenance: list[Maintenance] = Field(
        default_factory=list,
        description="When automatic fixes may run; the first that matches a hub counts. Where none does: always.",
    )
    freeze: list[Freeze] = Field(
        default_factory=list, description="Times in which no automatic fix runs; all that match count."
    )
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

    def mode_of(self, rule_id: str, hub: HubId, tags: Tags | None) -> Mode:
        """What to do with the rule's drift on this hub; see ``wish_for``."""
        return self.wish_for(rule_id, hub, tags).mode

    def wish_for(self, rule_id: str, hub: HubId, tags: Tags | None) -> Wish:
        """What to do with the rule's drift on this hub; a rule that the file does not name is only reported.

        Where the tags are not known (None), of all modes that are possible the one that lets a machine do least;
        but a drift is not hidden by what is not known: then the rule is off only if it is off in any case.
        """
        section: _RuleSection | None = self._section(rule_id)
        if section is None:
            return Wish(Mode.REPORT, ("rules", rule_id, "mode"))
        wishes = section.wishes(rule_id, hub, tags)
        least = min(wishes, key=lambda wish: list(Mode).index(wish.mode))
        if len({wish.mode for wish in wishes}) == 1:
            return least
        mode = Mode.REPORT if least.mode is Mode.OFF else least.mode
        return Wish(mode, least.at, sure=False)

    def is_on(self, rule_id: str) -> bool:
        """Whether any hub's drift is asked about: the rule is not off everywhere."""
        section: _RuleSection | None = self._section(rule_id)
        return section is None or section.is_on

    def possible(self, rule: Rule) -> list[tuple[Mode, RuleSettings]]:
        """Each mode of the rule, and the settings with it, that a hub can have, whichever hubs there are."""
        section: _RuleSection | None = self._section(rule.id)
        return [(Mode.REPORT, rule.settings())] if section is None else section.possible()

    def settings_of(self, rule: Rule, hub: HubId | None, tags: Tags | None = None) -> RuleSettings:
        """The rule's settings for this hub (None: for hubs in general), its defaults where the file names none."""
        section: _RuleSection | None = self._section(rule.id)
        return rule.settings() if section is None else section.settings_of(hub, tags)

    def tags_to_keep(self, tags: Tags | None) -> dict[str, str] | None:
        """Of the hub's tags those that this file asks about; no others are kept. None where they are not known.

        A file that asks about others later does not know those until the hub is looked at again.
        """
        return None if tags is None else kept(tags, self._asked_tags(), also=is_exemption)

    def tags_not_read(self, tags: Tags) -> list[str]:
        """What this file asks about and was not read when these tags were kept; the hub may have it."""
        return not_read(tags, self._asked_tags())

    def _asked_tags(self) -> Iterator[str]:
        yield from (name for where in self._wheres() for name in where.tags)
        yield from self.iac_markers

    def _heeds_tags(self, rule_id: str) -> bool:
        return self.exemptions_by_tag == "allowed" and rule_id not in self.refuse_tag_exemptions

    def _tagged(self, rule_id: str, subject: str, tags: Tags, today: date) -> list[TagExemption]:
        last = today + timedelta(days=self.exemption_max_days)
        return [each for each in read_tags(tags, self._rule_ids, last) if each.is_about(rule_id, subject)]

    @property
    def _rule_ids(self) -> list[str]:
        return [field.alias or name for name, field in type(self.rules).model_fields.items()]

    def _wheres(self) -> Iterator[Scope]:
        """Everything in the file that may ask for tags."""
        yield from (each.where for each in self.maintenance)
        yield from (each.where for each in self.freeze)
        for _, section in self.rules:
            yield from (scope.where for scope in section.scopes) if section else ()

    @property
    def observes(self) -> bool:
        """Whether nothing may be changed in Azure."""
        return self.enforcement == "observe"

    def exemption_of(
        self, hub: HubId, rule_id: str, now: datetime, *, subject: str = "", tags: Tags | None = None
    ) -> Exempted | None:
        """The exemption that covers this drift at this moment (UTC), if any; the longest of several."""
        today = now.astimezone(UTC).date()
        found = [
            Exempted(each.until, each.reason, each.owner, f"policy exemptions[{index}]")
            for index, each in enumerate(self.exemptions)
            if each.covers(hub, rule_id, subject)
        ]
        if self._heeds_tags(rule_id):
            said = self._tagged(rule_id, subject, tags or {}, today)
            found += [each.exempted for each in said if each.exempted]
        return max((each for each in found if today <= each.until), key=lambda each: each.until, default=None)

    def unreadable_exemption(self, rule_id: str, now: datetime, *, subject: str, tags: Tags | None) -> str | None:
        """Why it is not known whether a tag exempts this drift, or None; then no machine may touch it."""
        if not self._heeds_tags(rule_id):
            return None
        if tags is None:
            return "the hub's tags are not known, and one of them may exempt it"
        said = self._tagged(rule_id, subject, tags, now.astimezone(UTC).date())
        wrong = next((each for each in said if each.trouble), None)
        return (
            None
            if wrong is None
            else f"the hub's tag {wrong.tag} is no exemption that can be read: {wrong.trouble}"
        )

    def refused_tag(self, rule_id: str, now: datetime, *, subject: str, tags: Tags | None) -> str | None:
        """Why a tag of the hub that is meant to exempt this drift does not, where the file refuses it; or None."""
        if self._heeds_tags(rule_id):
            return None
        said = self._tagged(rule_id, subject, tags or {}, now.astimezone(UTC).date())
        tag = next((each.tag for each in said if each.rule), None)
        listed = rule_id in self.refuse_tag_exemptions
        why = "refuse_tag_exemptions names the rule" if listed else "exemptions_by_tag is refused"
        return None if tag is None else f"the hub's tag {tag} counts for nothing: policy {why}"

    def closed(self, hub: HubId, tags: Tags | None, now: datetime) -> Closed | None:
        """Why automatic fixes of this hub must wait at this moment (UTC), or None."""
        return closed(self.maintenance, self.freeze, hub, tags, now)

    def iac_marker(self, tags: Mapping[str, Any]) -> str | None:
        """The tag, as ``name=value``, by which the hub says that infrastructure code manages it, if any."""
        markers = {marker.casefold() for marker in self.iac_markers}
        return next((f"{name}={value}" for name, value in tags.items() if name.casefold() in markers), None)

    def markers_known(self, tags: Tags | None) -> bool:
        """Whether it can be told from the tags that nothing else manages the hub."""
        return tags is not None and not not_read(tags, self.iac_markers)

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
        policy = _model(tuple(rules)).model_validate(data)
    except ValidationError as error:
        problems += [_problem(details, lines, rules) for details in error.errors()]
        return None, sorted(problems, key=lambda problem: problem.line)
    problems += _unknown_rules(policy, rules, lines)
    problems += _too_long(policy, today, lines)
    usable = not problems
    problems += _expired(policy, today, lines)
    return policy if usable else None, sorted(problems, key=lambda problem: problem.line)


def policy_lines(text: str) -> dict[str, int]:
    """Place of a policy file that can be read → the line on which it stands."""
    root, _ = _parse(text)
    return {} if root is None else {place(loc): line for loc, line in _lines(root)}


def policy_schema(rules: Sequence[Rule]) -> JsonObject:
    """The JSON Schema of the policy file, for editors."""
    schema: JsonObject = _model(tuple(rules)).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "hubwarden policy"}


@functools.cache
def _model(rules: tuple[Rule, ...]) -> type[Policy]:
    sections: dict[str, Any] = {rule.id.replace("-", "_"): _rule_field(rule) for rule in rules}
    all_rules = create_model("Rules", __base__=_Section, **sections)
    described = Field(default_factory=all_rules, description="What to do about each rule's drift.")
    return create_model("Policy", __base__=Policy, rules=(all_rules, described))


def _rule_field(rule: Rule) -> tuple[Any, Any]:
    name = rule.id.title().replace("-", "")
    scope = create_model(
        f"{name}Scope",
        __base__=_Section,
        where=(Scope, Field(description="Which hubs this is for.")),
        mode=(Mode | None, Field(None, description="The mode there; by default the one above.")),
        settings=(
            rule.settings,
            Field(
                default_factory=rule.settings,
                description="What differs there; all else is as in the settings above.",
            ),
        ),
    )
    scopes: Any = Field(
        default_factory=list, description="Mode and settings for some hubs; the first scope that matches counts."
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


def _lines(node: yaml.Node, at: Loc = ()) -> Iterator[tuple[Loc, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from ((loc, line) for loc, line in _lines(value, (*at, key.value)) if len(loc) > len(at) + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*at, index))


def _repeated_keys(node: yaml.Node, at: Loc = ()) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                first = seen[key.value]
                yield Problem(line, place((*at, key.value)), f"is there twice; first on line {first}")
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


def _problem(details: Any, lines: Mapping[Loc, int], rules: Iterable[Rule]) -> Problem:
    loc: Loc = tuple(details["loc"])
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
    return Problem(_line(loc, lines), place(loc), message)


def _no_rule(rule_id: str, known: Iterable[str]) -> str:
    return f"no rule {rule_id!r}; there are: {', '.join(sorted(known))}"


def _unknown_rules(policy: Policy, rules: Iterable[Rule], lines: Mapping[Loc, int]) -> Iterator[Problem]:
    known = {rule.id for rule in rules}
    named: list[tuple[Loc, str]] = [(("accept_risk", i), rule) for i, rule in enumerate(policy.accept_risk)]
    named += [(("exemptions", i, "rule"), exemption.rule) for i, exemption in enumerate(policy.exemptions)]
    named += [(("refuse_tag_exemptions", i), rule) for i, rule in enumerate(policy.refuse_tag_exemptions)]
    named += [(("approvals", "four_eyes", i), rule) for i, rule in enumerate(policy.approvals.four_eyes)]
    named += [(("approvals", "needed", rule), rule) for rule in policy.approvals.needed]
    for loc, rule_id in named:
        if rule_id not in known:
            yield Problem(_line(loc, lines), place(loc), _no_rule(rule_id, known))


def _too_long(policy: Policy, today: date, lines: Mapping[Loc, int]) -> Iterator[Problem]:
    last = today + timedelta(days=policy.exemption_max_days)
    for index, exemption in enumerate(policy.exemptions):
        if exemption.until > last:
            loc = ("exemptions", index, "until")
            message = (
                f"{exemption.until} is {(exemption.until - today).days} days ahead, and exemption_max_days is "
                f"{policy.exemption_max_days}: {last} is the last day that is taken today"
            )
            yield Problem(_line(loc, lines), place(loc), message)


def _expired(policy: Policy, today: date, lines: Mapping[Loc, int]) -> Iterator[Problem]:
    for index, exemption in enumerate(policy.exemptions):
        if exemption.until < today:
            loc = ("exemptions", index, "until")
            message = f"expired on {exemption.until}: renew it with a reason, or delete the exemption"
            yield Problem(_line(loc, lines), place(loc), message, expired=True)


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


def _line(loc: Loc, lines: Mapping[Loc, int]) -> int:
    while loc not in lines and loc:
        loc = loc[:-1]
    return lines.get(loc, 1)
