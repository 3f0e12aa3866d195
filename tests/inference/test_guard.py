"""What stands before a served model: limits, one plain line for what is wrong, and nothing else changed."""

import asyncio
import json

import fastapi
import mlflow
import pandas as pd
import pytest
from conftest import blob, encoded, log_tiny
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from unetlab.inference import guard, package

JSON = (b"content-type", b"application/json")
REQUEST = b'{"dataframe_split": {"columns": ["image"], "data": [["abc"]]}}'


def ask(app, body=REQUEST, headers=(JSON,), most=1000, parts=1, ends=True, path="/invocations", method="POST"):
    """Status and body of the answer to a request whose body comes in parts; 0 where there is none."""
    size = max(1, -(-len(body) // parts))
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = not ends
    answer = []

    async def receive():
        if messages:
            return messages.pop(0)
        return {"type": "http.disconnect"}

    async def send(message):
        answer.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(guard.Guard(app, most)(scope, receive, send))
    if not answer:
        return 0, b""
    assert answer[0]["type"] == "http.response.start" and all(m["type"] == "http.response.body" for m in answer[1:])
    return answer[0]["status"], b"".join(message["body"] for message in answer[1:])


def answering(status, body, seen=None):
    async def app(scope, receive, send):
        message = await receive()
        if seen is not None:
            seen.append(message["body"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:]})

    return app


async def unreached(scope, receive, send):
    raise AssertionError("it was passed on")


@pytest.mark.parametrize("parts", [1, 7])
def test_a_good_request_and_its_answer_pass_as_they_are(parts):
    seen = []
    assert ask(answering(200, b'{"predictions": []}', seen), parts=parts) == (200, b'{"predictions": []}')
    assert seen == [REQUEST]
    assert ask(answering(200, b"\n"), b"", method="GET", headers=()) == (200, b"\n")


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"0" * 1001, (JSON,), 413, "the body has more than 1,000 bytes; send fewer"),
        (b"0" * 1001, (JSON, (b"content-length", b"1001")), 413, "more than 1,000 bytes"),
        (b"", (JSON, (b"content-length", b"9" * 30), (b"expect", b"100-continue")), 413, "more than 1,000 bytes"),
        (REQUEST, (), 415, "send the content type application/json"),
        (REQUEST, ((b"content-type", b"text/csv"),), 415, "send the content type application/json"),
        (b"hello", (JSON,), 400, "the body is no JSON in UTF-8 (Expecting value"),
        (b"\xff\xfe\x00", (JSON,), 400, "the body is no JSON"),
        (b"[1, 2]", (JSON,), 400, "the body is no object such as"),
        (
            b'{"params": {"treshold": 0.9}}',
            (JSON,),
            400,
            "no parameter 'treshold'; there are threshold, channels, pages",
        ),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", (JSON,), 400, "nests values more than 8 deep"),
    ],
)
def test_what_is_no_request_is_refused_before_anything_sees_it(body, headers, status, message):
    found, answer = ask(unreached, body, headers, parts=3)
    told = json.loads(answer)
    assert found == status and message in told["message"] and set(told) == {"error_code", "message"}


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' + b"9" * 5000 + b"}", b"[" + b"{}," * 200_000 + b"{}]"])
def test_json_that_takes_memory_or_depth_is_refused(body):
    with pytest.raises(guard.Refused) as caught:
        guard.check(body)
    assert caught.value.status == 400 and "\n" not in caught.value.message


def test_the_parameters_are_those_of_the_model():
    assert [each.name for each in package.PARAMS.params] == list(guard.PARAMS)


def test_a_slow_body_ends_and_a_client_that_goes_away_gets_no_answer(monkeypatch):
    assert ask(unreached, REQUEST[:9], ends=False) == (0, b"")
    monkeypatch.setattr(guard, "SLOWEST", 0.01)

    async def never():
        await asyncio.sleep(9)

    answer = []

    async def send(message):
        answer.append(message)

    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": [JSON]}
    asyncio.run(guard.Guard(unreached, 1000)(scope, never, send))
    assert answer[0]["status"] == 408


def test_an_error_is_one_line_without_trace_or_request(caplog):
    trace = 'Traceback (most recent call last):\n  File "x.py", line 3, in f\nKeyError'
    message = f"Failed to predict data '{'x' * 9000}'. \nError: row 0: no image;\nsend one"
    said = json.dumps({"error_code": "BAD_REQUEST", "message": message, "stack_trace": trace}).encode()
    status, answer = ask(answering(400, said))
    assert status == 400 and json.loads(answer) == {"error_code": "BAD_REQUEST", "message": "row 0: no image; send one"}
    assert "KeyError" in caplog.text
    status, answer = ask(answering(404, b"<h1>not found</h1>" * 99))
    assert json.loads(answer)["error_code"] == "NOT_FOUND" and len(answer) < 600


def test_a_fault_of_the_server_is_told_without_its_trace(caplog):
    async def failing(scope, receive, send):
        raise KeyError("secret")

    status, answer = ask(failing)
    assert status == 500 and b"secret" not in answer and "secret" in caplog.text


@pytest.mark.parametrize("value", ["many", "0", "-1", "1e6"])
def test_a_limit_that_is_none_is_told(value, monkeypatch):
    monkeypatch.setenv("UNETLAB_MAX_BYTES", value)
    with pytest.raises(MlflowException, match=f"^UNETLAB_MAX_BYTES={value} is no number above 0$"):
        guard.limit("UNETLAB_MAX_BYTES")


@pytest.fixture
def server(store, monkeypatch):
    """What loads a model as MLflow's scoring server loads it, which takes 5,000 pixels a request."""
    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, "somewhere")
    monkeypatch.setenv("UNETLAB_MAX_PIXELS", "5000")
    monkeypatch.setattr(fastapi, "FastAPI", fastapi.FastAPI)  # so that it is put back
    return lambda **changes: mlflow.pyfunc.load_model(log_tiny(**changes).model_uri)


@pytest.fixture
def served(server):
    """A model in that server."""
    return server()


def test_an_image_that_the_network_enlarges_counts_as_it_sees_it(server):
    enlarging = server(view="patches", scale=2.0)
    request = pd.DataFrame({"image": [encoded(blob(40, 40))]})  # 6,400 pixels of the network
    with pytest.raises(MlflowException, match=r"^row 0: the images .* more pixels than this server takes \(5,000\)"):
        enlarging.predict(request)
    two = pd.DataFrame({"image": [encoded(blob(30, 30))] * 2})  # 3,600 each
    with pytest.raises(MlflowException, match="^row 1: the images"):
        enlarging.predict(two)
    assert len(enlarging.predict(two[:1])) == 1


@pytest.mark.parametrize(
    ("images", "row"),
    [
        ([encoded(blob(71, 71))], 0),
        ([encoded(blob(60, 60)), encoded(blob(40, 40))], 1),
        ([encoded(blob(2, 2))] * 5, 4),  # each counts as what the network sees, 32 x 32
    ],
)
def test_a_server_takes_so_many_pixels_a_request(served, images, row):
    with pytest.raises(
        MlflowException, match=rf"^row {row}: the images .* more pixels than this server takes \(5,000\)"
    ):
        served.predict(pd.DataFrame({"image": images}))
    assert len(served.predict(pd.DataFrame({"image": images[:row] or [encoded(blob(70, 70))]}))) == max(row, 1)


def test_mlflow_s_application_has_the_guard_around_it(served):
    app = scoring_server.init(served)
    assert type(app.build_middleware_stack()).__name__ == "Guard"


def test_requests_are_worked_on_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(guard, "AT_ONCE", 2)
    going, most = [0], [0]

    async def app(scope, receive, send):
        going[0] += 1
        most[0] = max(most[0], going[0])
        await asyncio.sleep(0.05)
        going[0] -= 1

    async def asked():
        stands = guard.Guard(app, 1000)

        async def one():
            async def receive():
                return {"type": "http.request", "body": REQUEST, "more_body": False}

            await stands({"type": "http", "method": "POST", "path": "/invocations", "headers": [JSON]}, receive, None)

        await asyncio.gather(*(one() for _ in range(6)))

    asyncio.run(asked())
    assert most == [2]
