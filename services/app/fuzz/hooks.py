"""What the OpenAPI document can say in words only."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(context, value):
    """A list as one line for each of its items. What is no list is a line that holds one, which is not valid either."""
    lines = value if isinstance(value, list) else [[value]]
    return "\n".join(json.dumps(line) for line in lines).encode()


@schemathesis.hook
def filter_case(context, case):
    """Leaves out GET and HEAD /logs with `tail` and `from`, each of them valid, together 400."""
    query = case.query or {}
    return not ("tail" in query and "from" in query)
