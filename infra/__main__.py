"""The entry point of `pulumi up` in this folder."""

from infra.program import declare

declare()
