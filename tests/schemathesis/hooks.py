"""What Schemathesis does not know of Trellis: its scalars, and which errors are whose fault."""

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

# The codes of src/error.rs that tell a client what to do better.
FAULTS_OF_CLIENTS = {
    "BAD_USER_INPUT",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "INVALID_CURSOR",
    "LIMIT_EXCEEDED",
}

OPAQUE = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=80)
INSTANT = st.datetimes().map(lambda instant: instant.isoformat() + "Z")
JSON = st.text().map(nodes.String) | st.integers().map(nodes.Int) | st.booleans().map(nodes.Boolean)

schemathesis.graphql.scalar("DateTime", (INSTANT | st.text()).map(nodes.String))
schemathesis.graphql.scalar("Cursor", (OPAQUE | st.text()).map(nodes.String))
schemathesis.graphql.scalar("ConsistencyToken", (OPAQUE | st.text()).map(nodes.String))
schemathesis.graphql.scalar("JSON", JSON)


@schemathesis.check
def no_fault_of_the_server(ctx, response, case):
    """Schemathesis's own check takes every code that it does not know for a fault of the server."""
    assert response.status_code < 500, f"status {response.status_code}"
    answer = response.json()
    assert "data" in answer or answer["errors"], "neither data nor errors"
    for error in answer.get("errors", []):
        assert error["extensions"]["code"] in FAULTS_OF_CLIENTS, error
