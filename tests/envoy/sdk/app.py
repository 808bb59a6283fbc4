"""An application as users write them: Langfuse's SDK around OpenAI's, whose calls go through the gateway.

Standard input is one JSON object, the task:

    scenario    one of SCENARIOS
    gateway     base URL that OpenAI's SDK is given
    attributes  what the application says of itself (arguments of propagate_attributes)

Standard output is one JSON object, what the test compares with what Langfuse holds:

    trace         id of the trace
    observations  id of each observation (or span) by its name
    answers       text that each call got, by the question
    sent          context headers of each request, by the question

The keys and the address of Langfuse are in the environment (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_BASE_URL).
"""

import asyncio
import json
import sys

import openai
from langfuse import Langfuse, propagate_attributes
from langfuse.span_filter import is_default_export_span
from opentelemetry import propagate, trace
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider

CONTEXT_HEADERS = ("traceparent", "tracestate", "baggage")
HTTP_SCOPE = "opentelemetry.instrumentation.httpx"

task = json.load(sys.stdin)
told = {"trace": None, "observations": {}, "answers": {}, "sent": {}}


def note_sent(request):
    """What the test is told of a request that is about to leave."""
    question = json.loads(request.content)["messages"][0]["content"]
    told["sent"][question] = {name: request.headers[name] for name in CONTEXT_HEADERS if name in request.headers}


def inject(request):
    """Puts the current context on a request: the one line that makes generations children of observations."""
    propagate.inject(request.headers)
    note_sent(request)


def openai_client(hook):
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [hook]})
    return openai.OpenAI(**connection(), http_client=http_client)


def async_openai_client(hook):
    async def async_hook(request):
        await hook(request)

    http_client = openai.DefaultAsyncHttpxClient(event_hooks={"request": [async_hook]})
    return openai.AsyncOpenAI(**connection(), http_client=http_client)


def connection():
    return {"base_url": task["gateway"], "api_key": "sk-of-the-application", "max_retries": 0, "timeout": 30}


def question(text, **more):
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


def ask(client, text):
    answer = client.chat.completions.create(**question(text))
    told["answers"][text] = answer.choices[0].message.content


def ask_for_stream(client, text):
    stream = client.chat.completions.create(**question(text, stream=True, stream_options={"include_usage": True}))
    told["answers"][text] = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def observe(langfuse, name, kind):
    """An observation that is current inside `with`, and that the test is told of."""
    observation = langfuse.start_as_current_observation(name=name, as_type=kind)

    class Noted:
        def __enter__(self):
            entered = observation.__enter__()
            told["observations"][name] = entered.id
            return entered

        def __exit__(self, *error):
            return observation.__exit__(*error)

    return Noted()


async def ask_in_parallel(langfuse, texts):
    """All requests leave when each of them is ready to: then all of their observations are open and current."""
    ready = asyncio.Barrier(len(texts))

    async def leave_together(request):
        inject(request)
        await ready.wait()

    async def ask_one(client, text):
        with observe(langfuse, f"observation of {text}", "tool"):
            answer = await client.chat.completions.create(**question(text))
        told["answers"][text] = answer.choices[0].message.content

    async with async_openai_client(leave_together) as client:
        await asyncio.gather(*(ask_one(client, text) for text in texts))


def nested():
    """A plain call, a stream below it, and two parallel calls, each under an observation of its own."""
    langfuse = Langfuse()
    client = openai_client(inject)
    with propagate_attributes(**task["attributes"], as_baggage=True):
        with observe(langfuse, "root", "span") as root:
            told["trace"] = root.trace_id
            with observe(langfuse, "observation of plain", "agent"):
                ask(client, "plain")
                with observe(langfuse, "observation of streamed", "chain"):
                    ask_for_stream(client, "streamed")
            with observe(langfuse, "fan out", "span"):
                asyncio.run(ask_in_parallel(langfuse, ["parallel one", "parallel two"]))
    langfuse.shutdown()


def instrumented():
    """OpenTelemetry's instrumentation of the HTTP client writes the headers, and Langfuse is sent its spans too.

    Without `should_export_span` Langfuse lacks the span that the generation names as its parent.
    """
    langfuse = Langfuse(
        should_export_span=lambda span: is_default_export_span(span) or span.instrumentation_scope.name == HTTP_SCOPE
    )
    HTTPX2ClientInstrumentor().instrument()
    client = openai.OpenAI(**connection())
    with propagate_attributes(**task["attributes"], as_baggage=True):
        with observe(langfuse, "root", "span") as root:
            told["trace"] = root.trace_id
            ask(client, "plain")
    langfuse.shutdown()


def other_tracer():
    """An application that is traced elsewhere and does not know Langfuse."""
    trace.set_tracer_provider(TracerProvider())
    client = openai_client(inject)
    with trace.get_tracer("other").start_as_current_span("root") as root:
        context = root.get_span_context()
        told["trace"] = trace.format_trace_id(context.trace_id)
        told["observations"]["root"] = trace.format_span_id(context.span_id)
        ask(client, "plain")


SCENARIOS = {"nested": nested, "instrumented": instrumented, "other tracer": other_tracer}

if __name__ == "__main__":
    SCENARIOS[task["scenario"]]()
    json.dump(told, sys.stdout)
