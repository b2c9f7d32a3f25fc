"""What `pulumi up` runs in this folder: the stack's configuration, read, and its provider's program."""

from infra.program import declare

declare()
