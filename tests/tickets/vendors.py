"""Small servers of the vendors' APIs as they are documented: they refuse what the vendor would refuse."""

from __future__ import annotations

import base64
import json
import re

from dataclasses import dataclass, field

from aiohttp import web

from hubwarden.adapters.tickets.webhook import SIGNATURE


TOKEN = "0123456789abcdef0123456789abcdef"
KEY = re.compile(r"f-[0-9a-z]+")


@dataclass
class Item:
    """A ticket in the vendor's hands."""

    id: str
    key: str
    title: str = ""
    text: object = ""
    grade: object = None
    state: str = "open"
    notes: list = field(default_factory=list)
    follows: list = field(default_factory=list)


class Refused(Exception):  # noqa: N818
    def __init__(self, status, body):
        self.status, self.body = status, body


def need(condition, what):
    if not condition:
        raise Refused(400, {"message": f"the test's server says: {what}"})


class Vendor:
    """``faults`` are answers (status, headers, body) before any other; ``late`` ones after one is made."""

    def __init__(self):
        self.items = []
        self.requests = []
        self.faults = []
        self.late = []
        self.refusals = []
        self.refuse = lambda request: False

    async def handle(self, request):
        body = await request.read()
        self.requests.append((request.method, request.path))
        if self.refuse(request):
            return self.answer(400, {}, {"message": "not like that"})
        if self.faults:
            return self.answer(*self.faults.pop(0))
        before = len(self.items)
        try:
            self.check_auth(request)
            status, answer = self.route(request, json.loads(body) if body else None, body)
        except Refused as refused:
            self.refusals.append(refused.body)
            return self.answer(refused.status, {}, refused.body)
        if self.late and len(self.items) > before:
            return self.answer(*self.late.pop(0))
        return self.answer(status, {}, answer)

    def answer(self, status, headers, body):
        if body is None:
            return web.Response(status=status, headers=headers)
        if isinstance(body, str):
            return web.Response(status=status, headers=headers, text=body)
        return web.json_response(body, status=status, headers=headers)

    def check_auth(self, request):
        need(request.headers.get("Authorization") == self.auth, "who are you?")

    def item(self, id_):
        found = next((item for item in self.items if item.id == id_), None)
        if found is None:
            raise Refused(404, self.not_found)
        return found

    @property
    def open_ones(self):
        return [item for item in self.items if item.state == "open"]

    not_found = {"message": "Not Found"}  # noqa: RUF012
    auth = f"Bearer {TOKEN}"


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:{TOKEN}".encode()).decode()


class GitHub(Vendor):
    policy = "target: github\ngithub: {repository: example/ops}"

    def route(self, request, body, raw):
        need(request.headers["X-GitHub-Api-Version"] == "2022-11-28", "version")
        need(request.headers["Accept"] == "application/vnd.github+json", "accept")
        need(request.headers["User-Agent"], "GitHub wants a user agent")
        parts = request.path.removeprefix("/repos/example/ops/issues").strip("/").split("/")
        match (request.method, parts):
            case ("GET", [""]):
                need(request.query["labels"] == "hubwarden" and request.query["state"] == "all", "query")
                size, page = int(request.query["per_page"]), int(request.query["page"])
                need(size <= 100, "per_page")
                newest = self.items[::-1][(page - 1) * size : page * size]
                return 200, [self.shown(item) for item in newest]
            case ("POST", [""]):
                need(body.keys() <= {"title", "body", "labels"}, "unknown key")
                need(all(isinstance(label, str) for label in body["labels"]), "labels")
                item = Item(str(len(self.items) + 1), KEY.findall(body["body"])[-1])
                self.items.append(item)
                self.write(item, body)
                item.grade = body["labels"][1]
                item.follows = re.findall(r"^Follows \S+/issues/(\d+)$", body["body"], re.MULTILINE)
                return 201, self.shown(item)
            case ("GET", [number]):
                return 200, self.shown(self.item(number))
            case ("PATCH", [number]):
                need(body.keys() <= {"title", "body", "state", "state_reason"}, "unknown key")
                need(body.get("state") in {None, "open", "closed"}, "state")
                reasons = {None, "completed", "not_planned", "duplicate", "reopened"}
                need(body.get("state_reason") in reasons, "reason")
                item = self.item(number)
                item.state = body.get("state", item.state)
                self.write(item, body)
                return 200, self.shown(item)
            case ("POST", [number, "comments"]):
                self.item(number).notes.append(body["body"])
                return 201, {"id": 1}
        raise Refused(404, self.not_found)

    def write(self, item, body):
        if "title" in body:
            need(body["title"].strip() and "\n" not in body["title"] and len(body["title"]) <= 256, "title")
            need(len(body["body"]) <= 65536, "body is too long (maximum is 65536 characters)")
            item.title, item.text = body["title"], body["body"]

    def shown(self, item):
        return {
            "number": int(item.id), "state": item.state, "body": item.text,
            "html_url": f"https://github.com/example/ops/issues/{item.id}",
        }  # fmt: skip


class Jira(Vendor):
    """Its workflow leads from open to done and back, and from "final" nowhere."""

    api = "/rest/api/2"
    search = "/search"
    auth = f"Bearer {TOKEN}"
    policy = "target: jira\nallowed_hosts: [jira.example.com]\njira: {url: https://jira.example.com, project: OPS}"
    not_found = {"errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {}}  # noqa: RUF012

    def route(self, request, body, raw):  # noqa: PLR0911
        need(request.path.startswith(self.api), f"no {request.path} here")
        path = request.path.removeprefix(self.api)
        if request.method == "GET" and path == self.search:
            asked = re.fullmatch(
                r'project = "OPS" AND labels = "hubwarden-(f-\w+)" ORDER BY created DESC', request.query["jql"]
            )
            need(asked and request.query["maxResults"] == "1", "jql")
            found = [self.shown(item) for item in self.items[::-1] if item.key == asked[1]]
            return 200, {"issues": found[:1]}
        if request.method == "POST" and path == "/issue":
            fields = body["fields"]
            need(fields["project"] == {"key": "OPS"} and fields["issuetype"] == {"name": "Task"}, "fields")
            need(all(" " not in label for label in fields["labels"]), "a label has no spaces")
            item = Item(f"OPS-{len(self.items) + 1}", fields["labels"][1].removeprefix("hubwarden-"))
            self.items.append(item)
            self.write(item, fields)
            item.follows = re.findall(r"Follows: \S+/browse/(OPS-\d+)", self.words(fields["description"]))
            return 201, {"id": "1", "key": item.id, "self": "…"}
        match (request.method, path.removeprefix("/issue/").split("/")):
            case ("GET", [key]):
                need(request.query["expand"] == "transitions", "expand")
                item = self.item(key)
                return 200, {**self.shown(item), "transitions": self.ways(item)}
            case ("PUT", [key]):
                self.write(self.item(key), body["fields"])
                return 204, None
            case ("GET", [key, "transitions"]):
                return 200, {"transitions": self.ways(self.item(key))}
            case ("POST", [key, "transitions"]):
                item = self.item(key)
                way = next((way for way in self.ways(item) if way["id"] == body["transition"]["id"]), None)
                need(way, "It seems that you have tried to perform a workflow operation that is not valid")
                item.state = "closed" if way["to"]["statusCategory"]["key"] == "done" else "open"
                return 204, None
            case ("POST", [key, "comment"]):
                self.item(key).notes.append(self.words(body["body"]))
                return 201, {"id": "1"}
        raise Refused(404, self.not_found)

    def write(self, item, fields):
        need("\n" not in fields["summary"] and len(fields["summary"]) <= 255, "summary")
        self.words(fields["description"])
        item.title, item.text, item.grade = fields["summary"], fields["description"], fields["priority"]["name"]

    def words(self, text):
        need(isinstance(text, str) and len(text) <= 32767, "the description is wiki markup")
        return text

    def ways(self, item):
        ways = {
            "open": [("31", "indeterminate"), ("41", "done")],
            "closed": [("11", "new")],
            "final": [],
            "stuck": [],
        }
        return [{"id": id_, "to": {"statusCategory": {"key": key}}} for id_, key in ways[item.state]]

    def shown(self, item):
        category = "done" if item.state in {"closed", "final"} else "new"
        return {"key": item.id, "fields": {"status": {"name": "x", "statusCategory": {"key": category}}}}


class JiraCloud(Jira):
    api = "/rest/api/3"
    search = "/search/jql"
    auth = basic("bot@example.com")
    policy = (
        "target: jira\njira: {url: https://example.atlassian.net, project: OPS, user: bot@example.com, "
        "token_setting: HUBWARDEN_JIRA_TOKEN}"
    )

    def words(self, text):
        """The document's text, which must be one in Atlassian's format."""
        need(isinstance(text, dict) and text["type"] == "doc" and text["version"] == 1, "no document")
        said = []
        for block in text["content"]:
            need(block["type"] == "paragraph" and block.keys() == {"type", "content"}, "paragraph")
            for part in block["content"]:
                need(part["type"] == "text" and part["text"], "a text node must have text")
                need(part.get("marks", []) in ([], [{"type": "strong"}]), "marks")
            said.append("".join(part["text"] for part in block["content"]))
        return "\n".join(said)


class ServiceNow(Vendor):
    auth = basic("hubwarden")
    policy = "target: servicenow\nservicenow: {url: https://example.service-now.com, user: hubwarden}"
    not_found = {"error": {"message": "No Record found", "detail": "Record doesn't exist"}, "status": "failure"}  # noqa: RUF012
    numbers = {"1": "open", "2": "open", "6": "closed", "7": "final", "8": "final"}  # noqa: RUF012

    def route(self, request, body, raw):
        path = request.path.removeprefix("/api/now/table/incident")
        if body is not None:
            known = {"short_description", "description", "impact", "urgency", "state", "close_code", "close_notes"}
            need(body.keys() <= known | {"correlation_id", "correlation_display"}, "unknown field")
            need(all(isinstance(value, str) for value in body.values()), "values are strings")
        match (request.method, path):
            case ("GET", ""):
                query = request.query["sysparm_query"]
                asked = re.fullmatch(r"correlation_id=(f-\w+)\^ORDERBYDESCsys_created_on", query)
                need(asked and request.query["sysparm_limit"] == "1", "query")
                return 200, {"result": [self.shown(i) for i in self.items[::-1] if i.key == asked[1]][:1]}
            case ("POST", ""):
                item = Item(f"{len(self.items) + 1:032x}", body["correlation_id"])
                self.items.append(item)
                self.write(item, body)
                item.follows = re.findall(r"Follows: \S+sys_id=(\w+)", body["description"])
                return 201, {"result": self.shown(item)}
            case ("GET", _):
                return 200, {"result": self.shown(self.item(path[1:]))}
            case ("PATCH", _):
                item = self.item(path[1:])
                if body.get("state") == "6" and not (body.get("close_code") and body.get("close_notes")):
                    said = {"message": "Operation Failed", "detail": "Data Policy Exception"}
                    raise Refused(403, {"error": said, "status": "failure"})
                if "close_notes" in body:
                    item.notes.append(body["close_notes"])
                item.state = self.numbers[body["state"]] if "state" in body else item.state
                self.write(item, body)
                return 200, {"result": self.shown(item)}
        raise Refused(404, self.not_found)

    def write(self, item, body):
        if "short_description" in body:
            need(len(body["short_description"]) <= 160 and len(body["description"]) <= 4000, "too long")
            item.title, item.text = body["short_description"], body["description"]
            item.grade = (body["impact"], body["urgency"])

    def shown(self, item):
        number = next(number for number, state in self.numbers.items() if state == item.state)
        return {"sys_id": item.id, "number": "INC0010001", "state": number}


class AzureDevOps(Vendor):
    auth = basic("")
    policy = "target: azure_devops\nazure_devops: {organization: example, project: Plant Ops}"
    not_found = {"message": "TF401232: Work item does not exist."}  # noqa: RUF012
    names = {"open": "To Do", "closed": "Done", "final": "Removed"}  # noqa: RUF012
    categories = {"To Do": "Proposed", "Doing": "InProgress", "Done": "Completed", "Removed": "Removed"}  # noqa: RUF012

    def route(self, request, body, raw):
        need(request.query["api-version"] == "7.1", "api-version")
        need(request.path.startswith("/example/Plant Ops/_apis/wit/"), "no such project")
        path = request.path.removeprefix("/example/Plant Ops/_apis/wit/")
        match (request.method, path.split("/")):
            case ("POST", ["wiql"]):
                asked = re.search(r"\[System.Tags\] CONTAINS 'hubwarden-(f-\w+)'", body["query"])
                need(asked and body["query"].startswith("SELECT [System.Id] FROM WorkItems WHERE"), "wiql")
                found = [{"id": int(item.id)} for item in self.items[::-1] if item.key == asked[1]]
                return 200, {"queryType": "flat", "workItems": found[: int(request.query["$top"])]}
            case ("GET", ["workitemtypes", "Issue", "states"]):
                return 200, {"value": [{"name": n, "category": c} for n, c in self.categories.items()]}
            case ("POST", ["workitems", "$Issue"]):
                fields = self.fields(request, body)
                tag = fields["System.Tags"].split("; ")[1]
                item = Item(str(len(self.items) + 1), tag.removeprefix("hubwarden-"))
                self.items.append(item)
                self.write(item, fields)
                links = [change["value"] for change in body if change["path"] == "/relations/-"]
                item.follows = [link["url"].rsplit("/", 1)[1] for link in links]
                return 200, self.shown(item)
            case ("GET", ["workitems", id_]):
                return 200, self.shown(self.item(id_))
            case ("PATCH", ["workitems", id_]):
                self.write(self.item(id_), self.fields(request, body))
                return 200, self.shown(self.item(id_))
        raise Refused(404, self.not_found)

    def fields(self, request, body):
        need(request.headers["Content-Type"] == "application/json-patch+json", "content type")
        need(all(change["op"] == "add" for change in body), "op")
        return {c["path"].removeprefix("/fields/"): c["value"] for c in body if c["path"].startswith("/fields/")}

    def write(self, item, fields):
        if "System.Title" in fields:
            need(len(fields["System.Title"]) <= 255 and "\n" not in fields["System.Title"], "title")
            item.title, item.text = fields["System.Title"], fields["System.Description"]
            item.grade = fields["Microsoft.VSTS.Common.Priority"]
        if "System.State" in fields:
            item.state = next(state for state, name in self.names.items() if name == fields["System.State"])
        if "System.History" in fields:
            item.notes.append(fields["System.History"])

    def shown(self, item):
        return {"id": int(item.id), "fields": {"System.State": self.names[item.state]}}


class PagerDuty(Vendor):
    policy = "target: pagerduty\npagerduty: {}"

    def check_auth(self, request):
        need("Authorization" not in request.headers, "the key is in the body")

    def route(self, request, body, raw):
        need((request.method, request.path) == ("POST", "/v2/enqueue"), "path")
        if len(body["routing_key"]) != 32:
            errors = ["Length of 'routing_key' is incorrect (should be 32 characters)"]
            raise Refused(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
        need(body["event_action"] in {"trigger", "resolve"}, "event_action")
        item = next((item for item in self.open_ones if item.key == body["dedup_key"]), None)
        if body["event_action"] == "trigger":
            payload = body["payload"]
            need(payload["severity"] in {"critical", "error", "warning", "info"}, "severity")
            need(payload["source"] and 0 < len(payload["summary"]) <= 1024, "payload")
            if item is None:
                item = Item(body["dedup_key"], body["dedup_key"])
                self.items.append(item)
            item.title, item.grade = payload["summary"], payload["severity"]
            item.text = payload["custom_details"]["text"]
        elif item is not None:
            item.state = "closed"
        return 202, {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}


class Hook(Vendor):
    policy = "target: webhook\nallowed_hosts: [tickets.example.com]\nwebhook: {url: https://tickets.example.com/in/hubwarden}"

    def check_auth(self, request):
        need("Authorization" not in request.headers, "it is signed")

    def route(self, request, body, raw):
        import hashlib
        import hmac

        need((request.method, request.path) == ("POST", "/in/hubwarden"), "path")
        said = dict(part.split("=") for part in request.headers[SIGNATURE].split(","))
        mac = hmac.new(TOKEN.encode(), said["t"].encode() + b"." + raw, hashlib.sha256).hexdigest()
        need(hmac.compare_digest(mac, said["v1"]), "signature")
        need(body["version"] == 1 and body["event"] in {"open", "close"}, "event")
        item = next((item for item in self.items if item.key == body["key"]), None)
        if body["event"] == "open":
            if item is None:
                item = Item(body["key"], body["key"])
                self.items.append(item)
            item.state, item.title, item.text, item.grade = "open", body["title"], body["text"], body["severity"]
        elif item is not None:
            item.state = "closed"
            item.notes.append(body["note"])
        return 204, None


VENDORS = {
    "github": GitHub,
    "jira": Jira,
    "jira cloud": JiraCloud,
    "servicenow": ServiceNow,
    "azure_devops": AzureDevOps,
    "pagerduty": PagerDuty,
    "webhook": Hook,
}
ASKED = ["github", "jira", "jira cloud", "servicenow", "azure_devops"]
"""Those that can be asked how a ticket stands."""
