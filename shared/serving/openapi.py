"""The OpenAPI description of the service, generated from the table of routes."""

import re
from typing import Any, get_args

from shared.data.records import UploadState
from shared.layout import GRAMMAR
from shared.serving.access import STACK
from shared.serving.problems import PROBLEM_JSON
from shared.serving.protocol import FLOAT32_MAX, NUMERIC_DATATYPES, OUTPUT_NAMES
from shared.serving.routes import NUMBER, ROUTES, Route

_PARAMETER = re.compile(r"\{([a-z]+)\}")
_PARAMETER_DESCRIPTIONS = {
    "usecase": "The use case.",
    "n": "A model's number.",
    "name": "The file's name; .csv or .parquet.",
    "receipt": "The id of a receipt: `receipt` of the upload's response.",
}


def openapi(version: str, server: str = "/") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of every route.

    Args: version: of Tidegate. server: the URL at which clients reach this stack.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": version,
            "summary": "Predictions, labels, uploads and releases of a stack's use cases.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "responses": {
                "Problem": {
                    "description": "What is wrong, where, and what to do (RFC 9457).",
                    "content": {PROBLEM_JSON: {"schema": _ref("Problem")}},
                }
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of a trusted issuer; its claim `scope` lists <use case>:<action>. "
                    "Get one with `tidegate token --usecase X --allow infer`.",
                }
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Accepted." if route.status == 202 else "Done."}
    if route.response:
        media = "text/plain" if route.response == "Text" else "application/json"
        success["content"] = {media: {"schema": _ref(route.response)}}
    statuses = ["400", "404"]
    if route.action is not None:
        statuses += ["401", "403"]
    if route.body:
        statuses += ["413", "415"]
    if route.function != "gateway":
        statuses += ["429", "503"]
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.function],
        "summary": route.about,
        "security": [] if route.action is None else [{"bearer": []}],
        "responses": {
            str(route.status): success,
            **{status: {"$ref": "#/components/responses/Problem"} for status in sorted(statuses)},
        },
    }
    parameters = _PARAMETER.findall(route.path)
    if parameters:
        operation["parameters"] = [_parameter(name) for name in parameters]
    if route.action is not None:
        scope = f"{'<use case>' if 'usecase' in parameters else STACK}:{route.action}"
        operation["description"] = f"Needs the scope `{scope}`."
    if route.body:
        media_types = ("text/csv", "application/vnd.apache.parquet") if route.body == "File" else ("application/json",)
        operation["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _ref(route.body)} for media in media_types},
        }
    return operation


def _parameter(name: str) -> dict[str, Any]:
    pattern = NUMBER.pattern if name == "n" else GRAMMAR[name][0]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PARAMETER_DESCRIPTIONS[name],
        "schema": {"type": "string", "pattern": f"^(?:{pattern})$"},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_TRUTH = {"type": "boolean"}
_CELL = {"type": ["string", "number", "null"], "maximum": FLOAT32_MAX, "minimum": -FLOAT32_MAX}
_IDS = {
    "type": "object",
    "description": "Columns that identify the rows (the charter's id columns and time column): one value for each row.",
    "additionalProperties": _list({"type": ["string", "number"]}),
    "maxProperties": 16,
}
_AT = {
    "type": "number",
    "minimum": 0,
    "description": "Time of the request, epoch s; with an id, a retry gets the same prediction ids.",
}
_OUTCOME = {
    "type": ["string", "number", "boolean"],
    "description": "A value of the target column, parsed as in a file; or a boolean: whether it is the positive one.",
}
_REQUEST_ID = {"type": "string", "minLength": 1, "maxLength": 128}
_DATATYPE = {"type": "string", "enum": sorted({*NUMERIC_DATATYPES, "BYTES"})}
_TENSOR = _object("name datatype shape", name=_TEXT, datatype=_DATATYPE, shape=_list(_WHOLE))
_INPUT = _object(
    "name shape datatype data",
    name=_TEXT,
    shape=_list(_WHOLE, minItems=1, maxItems=2, description="[rows] or [rows, 1]"),
    datatype=_DATATYPE,
    data=_list({"anyOf": [_CELL, _list(_CELL, minItems=1, maxItems=1)]}),
    parameters={"type": "object"},
)
_OUTPUT = _object(
    "name datatype shape data",
    name={"type": "string", "enum": list(OUTPUT_NAMES)},
    datatype=_DATATYPE,
    shape=_list(_WHOLE),
    data=_list({"type": ["number", "string"]}),
)
_SCHEMAS: dict[str, Any] = {
    "Object": {"type": "object"},
    "Text": _TEXT,
    "File": {"type": "string", "format": "binary"},
    "Problem": _object(
        "type title status detail instance",
        type=_TEXT,
        title=_TEXT,
        status=_WHOLE,
        detail=_TEXT,
        instance=_TEXT,
        field={**_TEXT, "description": "Where in the request: inputs[2].data[17]"},
        got=_TEXT,
        expected=_TEXT,
        error={**_TEXT, "description": "The detail again, under /v2."},
    ),
    "ServerMetadata": _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "Live": _object("live", live=_TRUTH),
    "Ready": _object("ready", ready=_TRUTH),
    "ModelReady": _object("name ready", name=_TEXT, ready=_TRUTH),
    "ModelMetadata": _object(
        "name versions platform inputs outputs",
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_TENSOR),
        outputs=_list(_TENSOR),
    ),
    "InferRequest": {
        **_object(
            "inputs",
            id=_REQUEST_ID,
            inputs=_list(_INPUT, minItems=1),
            outputs=_list(_object("name", name={"type": "string", "enum": list(OUTPUT_NAMES)})),
            parameters={"type": "object", "properties": {"ids": _IDS, "at": _AT}},
        ),
        "additionalProperties": False,
    },
    "InferResponse": _object(
        "model_name model_version outputs", model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(_OUTPUT)
    ),
    "Invocation": {
        "type": "object",
        "description": "Exactly one of dataframe_split, dataframe_records and inputs.",
        "properties": {
            "dataframe_split": _object("columns data", columns=_list(_TEXT), data=_list(_list(_CELL)), index=_list({})),
            "dataframe_records": _list({"type": "object", "additionalProperties": _CELL}),
            "inputs": {"type": "object", "additionalProperties": _list(_CELL)},
            "params": {"type": "object", "properties": {"id": _REQUEST_ID, "ids": _IDS, "at": _AT}},
        },
        "additionalProperties": False,
    },
    "InvocationResponse": _object(
        "model_name model_version predictions",
        model_name=_TEXT,
        model_version=_TEXT,
        predictions=_list(
            _object(
                "probability label prediction_id", probability={"type": "number"}, label=_WHOLE, prediction_id=_TEXT
            )
        ),
    ),
    "Labels": _object(
        "labels",
        labels=_list(
            _object("value", value=_OUTCOME, prediction=_TEXT, ids={"type": "object"}),
            minItems=1,
        ),
        at=_AT,
    ),
    "LabelsAccepted": _object("accepted", accepted=_WHOLE),
    "UploadAccepted": _object("receipt href", receipt=_TEXT, key=_TEXT, size_bytes=_WHOLE, href=_TEXT),
    "Receipt": _object(
        "state receipt",
        state={"type": "string", "enum": list(get_args(UploadState))},
        receipt=_TEXT,
    ),
    "ReleaseRequest": _object(
        "action reason",
        action={"type": "string", "enum": ["rollback", "promote"]},
        reason=_TEXT,
        model=_WHOLE,
    ),
    "ReleaseDecision": _object("revision release", revision=_WHOLE, release={"type": "object"}),
}
