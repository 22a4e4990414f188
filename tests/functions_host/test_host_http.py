import json

import pytest


APP = """
@app.route("echo/{id:int}/{rest?}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    told = {"method": req.method, "url": req.url, "query": dict(req.params), "route": dict(req.route_params),
            "header": req.headers.get("X-Tried"), "body": req.get_body().hex()}
    return func.HttpResponse(json.dumps(told), mimetype="application/json")

@app.route("echo/new", auth_level=func.AuthLevel.ANONYMOUS)
def literal(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("literal")

@app.route("hubs/{id}", auth_level=func.AuthLevel.ANONYMOUS)
def hub(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params["id"])

@app.route("files/{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def files(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params.get("path", "none"))

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def answers(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(b"\\x00\\xff", status_code=418, headers={"X-Own": "yes"}, mimetype="image/x-own")
    response.headers.add("Set-Cookie", "a=1; HttpOnly; Path=/")
    response.headers.add("Set-Cookie", "b=2; SameSite=Lax")
    return response

@app.route("fails", auth_level=func.AuthLevel.ANONYMOUS)
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("broken on purpose")

@app.route("slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        saw(cancelled=True)
        raise

@app.route("logs", auth_level=func.AuthLevel.ANONYMOUS)
def logs(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    logging.warning("a line of %s", req.params["who"])
    print("printed")
    return func.HttpResponse(context.invocation_id)

@app.route("locked")
def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")

@app.route("admins", auth_level=func.AuthLevel.ADMIN)
def admins(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")

@app.event_grid_trigger("event")
def eventful(event: func.EventGridEvent):
    saw(event=event.id)
"""


@pytest.fixture(scope="module")
def host(start_host):
    return start_host(APP, host_json={"functionTimeout": "00:00:01", "unheardOf": 1, "logging": {}})


@pytest.fixture(scope="module")
def guarded(start_host):
    return start_host(APP, "--enable-auth", host_json={"extensions": {"http": {"routePrefix": ""}}})


def test_the_function_sees_the_whole_request(host):
    answer = host.call("POST", "/api/ECHO/-7/x%20y?a=1&b=2&a=3", b"\x00\xff", X_Tried="yes")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "method": "POST",
        "url": f"{host.ready['url']}/api/ECHO/-7/x%20y?a=1&b=2&a=3",
        "query": {"a": "1,3", "b": "2"},
        "route": {"id": "-7", "rest": "x y"},
        "header": "yes",
        "body": "00ff",
    }


def test_an_optional_segment_may_be_missing(host):
    assert host.call("GET", "/api/echo/7").json()["route"] == {"id": "7"}


def test_the_most_specific_route_wins(host):
    assert host.call("GET", "/api/echo/new").body == b"literal"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/echo/seven"), ("PUT", "/api/echo/7"), ("GET", "/api/none"), ("GET", "/echo/7"), ("GET", "/")],
)
def test_what_no_route_answers_is_not_found(host, method, path):
    assert host.call(method, path).status == 404


def test_an_escaped_slash_does_not_split_a_segment(host):
    assert host.call("GET", "/api/hubs/a%2Fb").body == b"a%2Fb"


def test_a_catch_all_takes_the_rest_or_nothing(host):
    assert host.call("GET", "/api/files/a/b.txt").body == b"a/b.txt"
    assert host.call("GET", "/api/files").body == b"none"


def test_the_response_arrives_as_the_function_made_it(host):
    answer = host.call("GET", "/api/answers")
    assert (answer.status, answer.body) == (418, b"\x00\xff")
    assert answer.headers["X-Own"] == "yes"
    assert answer.headers["content-type"] == "image/x-own"
    assert answer.headers.get_all("Set-Cookie") == ["a=1; HttpOnly; Path=/", "b=2; SameSite=Lax"]


def test_a_failing_function_is_a_500_and_its_traceback_is_logged(host):
    assert host.call("GET", "/api/fails").status == 500
    host.wait_for_log("RuntimeError: broken on purpose")


def test_a_function_is_cancelled_at_function_timeout(host):
    assert host.call("GET", "/api/slow").status == 500
    host.wait_for(cancelled=True)
    host.wait_for_log("Timeout value of 1.0 s exceeded by function slow")


def test_a_log_record_carries_level_function_and_invocation(host):
    invocation_id = host.call("GET", "/api/logs?who=mine").body.decode()
    host.wait_for_log(f"WARNING [logs {invocation_id}] root: a line of mine")
    host.wait_for_log("printed")


def test_unknown_host_json_keys_are_noted(host):
    assert "host.json: unheardof is ignored" in host.log
    assert "logging is ignored" not in host.log


def test_without_enable_auth_nothing_is_locked(host):
    assert host.call("GET", "/api/locked").body == b"in"
    assert host.call("GET", "/api/admins").body == b"in"
    assert host.call("GET", "/admin/functions").status == 200


def test_the_list_of_functions_is_shown_and_served(host):
    assert f"echo: [GET,POST] {host.ready['url']}/api/echo/{{id:int}}/{{rest?}}" in host.log
    listed = {each["name"]: each for each in host.call("GET", "/admin/functions").json()}
    assert listed.keys() == set(host.ready["functions"])
    assert listed["echo"]["config"]["bindings"][0]["route"] == "echo/{id:int}/{rest?}"


def test_the_status_says_running(host):
    assert host.call("GET", "/admin/host/status").json()["state"] == "Running"


def test_anonymous_functions_need_no_key(guarded):
    assert guarded.call("GET", "/echo/7").status == 200


def keys_for(host, *names):
    ready = host.ready
    known = {"function": ready["function_keys"]["locked"], "other": ready["function_keys"]["admins"]}
    known |= {name: ready[f"{name}_key"] for name in ("host", "master", "eventgrid")} | {"none": "", "wrong": "x"}
    return [known[name] for name in names]


@pytest.mark.parametrize("path", ["/locked", "/admins", "/admin/functions", "/admin/host/status"])
def test_a_locked_route_refuses_without_a_key(guarded, path):
    assert guarded.call("GET", path).status == 401


def test_a_function_takes_its_own_key_the_hosts_and_the_masters(guarded):
    for key in keys_for(guarded, "function", "host", "master"):
        assert guarded.call("GET", f"/locked?code={key}").body == b"in"
        assert guarded.call("GET", "/locked", x_functions_key=key).body == b"in"
    for key in keys_for(guarded, "other", "eventgrid", "none", "wrong"):
        assert guarded.call("GET", f"/locked?code={key}").status == 401
        assert guarded.call("GET", "/locked", x_functions_key=key).status == 401


def test_admin_takes_the_master_key_only(guarded):
    for path in ("/admins", "/admin/functions", "/admin/host/status"):
        for key in keys_for(guarded, "function", "other", "host", "eventgrid"):
            assert guarded.call("GET", f"{path}?code={key}").status == 401
        assert guarded.call("GET", path, x_functions_key=guarded.ready["master_key"]).status == 200


def test_running_by_hand_takes_the_master_key_only(guarded):
    path, body = "/admin/functions/eventful", json.dumps({"input": '{"id": "by hand"}'})
    for key in keys_for(guarded, "function", "host", "eventgrid", "none"):
        assert guarded.call("POST", f"{path}?code={key}", body).status == 401
    assert guarded.call("POST", path, body, x_functions_key=guarded.ready["master_key"]).status == 202
    guarded.wait_for(event="by hand")
    assert len(guarded.seen(event="by hand")) == 1


def test_event_grid_takes_its_system_key(guarded):
    path, body = "/runtime/webhooks/eventgrid?functionName=eventful", json.dumps([{"id": "keyed"}])
    for key in keys_for(guarded, "function", "host", "none"):
        assert guarded.call("POST", f"{path}&code={key}", body, aeg_event_type="Notification").status == 401
    for key in keys_for(guarded, "eventgrid", "master"):
        assert guarded.call("POST", f"{path}&code={key}", body, aeg_event_type="Notification").status == 202
    guarded.wait_for(event="keyed", times=2)
