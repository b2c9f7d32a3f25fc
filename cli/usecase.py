"""Use-case discovery: `init`, `apply`, `sign-off`."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import emit, say
from cli.state import (
    DEFAULT_HOME,
    ByOption,
    HomeOption,
    JsonOption,
    UsecaseOption,
    composed,
    opened,
    read_file,
    stated,
    usecase_of,
)
from shared.errors import ConfigurationError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from shared.registry.ledger import Entry
    from shared.usecase.charter import Charter, CharterVersion, Signature

WORKFLOW = Path(".github/workflows/tidegate.yml")


def init(
    home: HomeOption = DEFAULT_HOME,
    charter: Annotated[Path, typer.Option("--charter", metavar="FILE", help="The charter's file.")] = Path(
        "usecase.yaml"
    ),
    as_json: JsonOption = False,
) -> None:
    """Create a home and a commented usecase.yaml to start from.

    In a git repository it also writes .github/workflows/tidegate.yml, which checks, previews and deploys.
    Existing files stay as they are.

    Example: tidegate init && $EDITOR usecase.yaml && tidegate apply usecase.yaml
    """
    from functions.runtimes.local.home import create_home

    created = create_home(home)
    written = _write_template(charter, "usecase.yaml")
    workflow = _write_workflow()
    answer = {
        "home": str(created.path),
        "charter": str(charter),
        "charter_written": written,
        "workflow_written": workflow,
    }

    def show() -> None:
        say(f"home: {created.path}")
        say(f"charter: {charter} ({'written' if written else 'exists, unchanged'})")
        if workflow:
            say(f"workflow: {WORKFLOW} (written; its first lines list what the repository must set)")
        say(f"next: fill in {charter}, then `tidegate apply {charter}`")

    emit(answer, as_json, show)


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The charter, usecase.yaml.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Apply a charter: check it and put it on record.

    It takes effect once every role in `sign_off` has signed it.

    Example: tidegate apply usecase.yaml
    """
    from shared.usecase.charter import CharterVersion
    from shared.usecase.effective import charters
    from shared.usecase.reading import charter_digest, parse_charter

    charter = parse_charter(read_file(file, "FILE"), file.name)
    _check_filled_in(charter, file.name)
    system = composed(opened(home)).system
    version = CharterVersion(charter=charter, digest=charter_digest(charter))
    ledger = charters(system, charter.usecase)
    entry = ledger.append(lambda tail: None if tail and tail.document.digest == version.digest else version)
    existing = entry or ledger.tail()
    if existing is None:  # pragma: no cover - nothing is ever removed from a ledger
        raise ConfigurationError("the charters ledger is empty after an append; run `tidegate fsck`")
    _report(existing, "applied" if entry else "unchanged", as_json)


def sign_off(
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="The role that you sign for, of the charter's sign_off.")
    ],
    by: ByOption,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Sign off the newest charter for one of its roles.

    A role signs once: a second signature changes nothing.

    Example: tidegate sign-off --role business --by "the harbour master"
    """
    import msgspec

    from shared.usecase.charter import CharterVersion, Signature
    from shared.usecase.effective import charters

    name = stated(by, "--by")
    platform = composed(opened(home))
    chosen = usecase_of(platform.system, usecase)
    ledger = charters(platform.system, chosen)

    def signed(tail: "Entry[CharterVersion] | None") -> CharterVersion | None:
        if tail is None:  # pragma: no cover - usecase_of has found it there
            raise ConfigurationError("there is no charter to sign")
        version = tail.document
        if role not in version.charter.sign_off:
            raise InvalidInput(
                f"--role: the roles that sign the charter of {chosen} are {', '.join(version.charter.sign_off)}",
                field="--role",
                got=role[:60],
                expected=" or ".join(version.charter.sign_off),
            )
        if role not in version.missing_signatures():
            return None
        signature = Signature(role=role, by=name, at=platform.clock.now())
        return msgspec.structs.replace(version, signatures=(*version.signatures, signature))

    entry = ledger.append(signed)
    existing = entry or ledger.tail()
    if existing is None:  # pragma: no cover
        raise ConfigurationError("there is no charter to sign")
    _report(existing, "signed" if entry else "signed already", as_json, role)


def _report(entry: "Entry[CharterVersion]", outcome: str, as_json: bool, role: str = "") -> None:
    version = entry.document
    missing = version.missing_signatures()
    answer = {
        "usecase": version.charter.usecase,
        "charter": entry.number,
        "digest": version.digest,
        "outcome": outcome,
        "signatures": version.signatures,
        "missing": missing,
        "in_effect": not missing,
    }

    def show() -> None:
        by = _signer(version.signatures, role)
        say(f"charter {entry.number} of {version.charter.usecase}: {outcome}{f' by {by} as {role}' if by else ''}")
        for waiting in missing:
            owner = version.charter.owners.get(waiting, "?")
            say(f'missing signature of {waiting} ({owner}): tidegate sign-off --role {waiting} --by "{owner}"')
        if not missing:
            say("it is in effect; the next accepted file teaches its contract: `tidegate upload FILE`")

    emit(answer, as_json, show)


def _signer(signatures: "tuple[Signature, ...]", role: str) -> str:
    return next((signature.by for signature in signatures if signature.role == role), "")


def _check_filled_in(charter: "Charter", name: str) -> None:
    """Raises: InvalidInput: one of the template's placeholders is not filled in."""
    texts = {"problem": charter.problem, "objective": charter.objective}
    texts |= {f"owners.{role}": who for role, who in charter.owners.items()}
    for field, text in texts.items():
        if text.strip().startswith("<") and text.strip().endswith(">"):
            raise InvalidInput(
                f"{name}: {field}: replace the placeholder between < and >", field=field, got=text.strip()[:60]
            )


def _write_workflow() -> bool:
    """Write GitHub's workflow if the present folder is a git repository without one; return whether it was written."""
    if not Path(".git").exists() or WORKFLOW.exists():
        return False
    WORKFLOW.parent.mkdir(parents=True, exist_ok=True)
    return _write_template(WORKFLOW, "tidegate.yml")


def _write_template(path: Path, template: str) -> bool:
    """Write a template unless the file exists; return whether it was written."""
    from functions.runtimes.local.files import write_once

    text = files("cli").joinpath(f"templates/{template}").read_bytes()
    try:
        if path.exists():
            return False
        write_once(path, text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"cannot write {path}: its folder does not exist; create it, or choose another path with --charter"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"cannot write {path}: {error.strerror}; make the folder writable, or choose another path with --charter"
        ) from error
    return True
