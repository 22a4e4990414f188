"""What the hooks' tests put on the PATH as ``az``: notes each call, and answers from a small state of Azure.

The state is a JSON file, named by FAKE_AZ. ``calls`` are the arguments of each call. ``fail`` maps the words of a
command to what it says on stderr and how often; -1 is always.
"""

import json
import os
import re
import stat
import sys

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


State = dict[str, Any]
Options = Mapping[str, Any]


def words(args: list[str]) -> str:
    """The command, without its options."""
    return " ".join(args[: next((i for i, arg in enumerate(args) if arg.startswith("--")), len(args))])


def options(args: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for arg in args:
        if arg.startswith("--"):
            name = arg
            found[name] = ""
        elif found:
            found[name] = f"{found[name]} {arg}".strip()
    return found


def _tsv(rows: list[list[str | None]]) -> str:
    return "".join("\t".join("None" if cell is None else cell for cell in row) + "\n" for row in rows)


def _secret_list(state: State, given: Options) -> str:
    name = re.search(r"name=='([^']+)'", given["--query"])[1]
    return f"{name}\n" if name in state["secrets"] else ""


def _secret_set(state: State, given: Options) -> str:
    file = Path(given["--file"])
    modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in (file, file.parent)]
    state["secrets"][given["--name"]] = {"text": file.read_text(), "modes": modes}
    return ""


def _functions(state: State, given: Options) -> str:
    state["functions_after"] = state.get("functions_after", 0) - 1
    names = state["functions"] if state["functions_after"] < 0 else []
    return "".join(f"{given['--name']}/{name}\n" for name in names)


def _apps(state: State, given: Options) -> str:
    return "".join(f"{name}\n" for name in state["settings"])


def _app_settings(state: State, given: Options) -> str:
    name = re.search(r"name=='([^']+)'", given["--query"])[1]
    return f"{state['settings'][given['--name']].get(name, '')}\n"


def _topics(state: State, given: Options) -> str:
    topics = [topic for topic in state["topics"] if topic["id"].split("/")[2] == given["--subscription"]]
    if ", source" in given["--query"]:
        return _tsv([[topic["id"], topic["source"], topic.get("identity")] for topic in topics])
    return _tsv([[topic["id"], topic["id"].split("/")[8], topic["id"].split("/")[4]] for topic in topics])


def _topic(state: State, given: Options) -> dict[str, Any]:
    name = given.get("--system-topic-name") or given["--name"]
    where = f"/subscriptions/{given['--subscription']}/resourceGroups/{given['--resource-group']}/"
    [topic] = [one for one in state["topics"] if one["id"].startswith(where) and one["id"].endswith(f"/{name}")]
    return topic


def _topic_delete(state: State, given: Options) -> str:
    topic = _topic(state, given)
    assert not topic["events"], "events go with it"
    state["topics"].remove(topic)
    return ""


def _events(state: State, given: Options) -> str:
    return "".join(f"{event}\n" for event in _topic(state, given)["events"])


def _event_delete(state: State, given: Options) -> str:
    _topic(state, given)["events"].remove(given["--name"])
    return ""


def _group_exists(state: State, given: Options) -> str:
    return "true\n" if [given["--subscription"], given["--name"]] in state["groups"] else "false\n"


def _resources(state: State, given: Options) -> str:
    where = f"/subscriptions/{given['--subscription']}/resourceGroups/{given['--resource-group']}/"
    return "".join(f"{topic['id']}\n" for topic in state["topics"] if topic["id"].startswith(where))


def _group_delete(state: State, given: Options) -> str:
    state["groups"].remove([given["--subscription"], given["--name"]])
    return ""


def _assignments(state: State, given: Options) -> str:
    """Of a subscription, those above it too.

    https://learn.microsoft.com/rest/api/authorization/role-assignments/list-for-subscription
    """
    scope = given.get("--scope") or (f"/subscriptions/{given['--subscription']}/", "/providers/")
    return "".join(f"{id_}\n" for id_ in state["assignments"] if id_.startswith(scope))


def _assignment_delete(state: State, given: Options) -> str:
    state["assignments"].remove(given["--ids"])
    return ""


def _rest(state: State, given: Options) -> str:
    url = given["--url"]
    if given["--method"] == "delete":
        del state["roles"][url.partition("?")[0]]
        return ""
    if given["--method"] == "post":
        state["told"] = url
        return ""
    if "/vaults/" in url:
        return "".join(f"{name}\n" for name in state["secrets"] if f"'{name}'" in given["--query"])
    start, middle = re.fullmatch(
        r"value\[\?starts_with\(properties.roleName, '([^']+)'\) && contains\(properties.roleName, '([^']+)'\)\]"
        r"\.\[id, properties.assignableScopes\[0\]\]",
        given["--query"],
    ).groups()
    seen = (url, "/providers/Microsoft.Management/")  # what a management group has is seen below it too
    return _tsv([
        [id_, id_.partition("/providers/Microsoft.Authorization/")[0]]
        for id_, name in state["roles"].items()
        if id_.startswith(seen) and name.startswith(start) and middle in name
    ])  # fmt: skip


def _deploy(state: State, given: Options) -> str:
    file = given["--parameters"]
    if file.startswith("@"):
        state["deployed"] = json.loads(Path(file[1:]).read_text())
    return ""


ANSWERS: Mapping[str, Callable[[State, Options], str]] = {
    "account show": lambda state, given: "",
    "keyvault secret list": _secret_list,
    "keyvault secret set": _secret_set,
    "functionapp function list": _functions,
    "functionapp list": _apps,
    "functionapp config appsettings list": _app_settings,
    "eventgrid system-topic list": _topics,
    "eventgrid system-topic delete": _topic_delete,
    "eventgrid system-topic event-subscription list": _events,
    "eventgrid system-topic event-subscription delete": _event_delete,
    "group exists": _group_exists,
    "group delete": _group_delete,
    "resource list": _resources,
    "role assignment list": _assignments,
    "role assignment delete": _assignment_delete,
    "rest": _rest,
    "deployment sub create": _deploy,
    "deployment mg create": _deploy,
}


def main(args: list[str]) -> int:
    file = Path(os.environ["FAKE_AZ"])
    state = json.loads(file.read_text())
    state["calls"].append(args)
    command = words(args)
    message, times = state["fail"].get(command, ("", 0))
    if times:
        state["fail"][command] = (message, times - 1)
        sys.stderr.write(f"{message}\n")
    else:
        sys.stdout.write(ANSWERS[command](state, options(args)))
    file.write_text(json.dumps(state))
    return 1 if times else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
