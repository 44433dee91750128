"""Every deliberate error: typed, with a stable code, a next step and the runbook that explains it.

The message is ours and safe to show. Anything that isn't a `CourtsideError` is masked by the guard and
logged with a reference id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Code:
    """What a stable error code means, for the generated page and for the runbook link.

    Args:
        meaning: one sentence, for a person.
        runbook: the name of the runbook that says what to do.
    """

    meaning: str
    runbook: str


CODES: dict[str, Code] = {
    "E_ARG": Code("An argument is missing, unknown, of the wrong type or out of bounds.", "invalid-request"),
    "E_NOT_FOUND": Code("Nothing with that name or id can be seen by this caller.", "invalid-request"),
    "E_EXISTS": Code("The name is taken, or differs from a taken one only in case or form.", "invalid-request"),
    "E_CONFLICT": Code("The thing changed meanwhile, or is in a state that doesn't allow this.", "invalid-request"),
    "E_KEY_REUSED": Code("The idempotency key was used before with other arguments.", "invalid-request"),
    "E_IN_PROGRESS": Code("A call with this idempotency key is still running.", "invalid-request"),
    "E_AUTH": Code("No valid API key was given.", "access"),
    "E_SCOPE": Code("The caller lacks the scope that this needs.", "access"),
    "E_THROTTLED": Code("The caller's rate for this tool is used up.", "throttled"),
    "E_BUSY": Code("Too many calls are running; nothing was started.", "throttled"),
    "E_DEADLINE": Code("The call ran out of time; what it had not committed was undone.", "slow-calls"),
    "E_QUOTA": Code("A stated bound on rows, bytes, seconds or memory would be exceeded.", "limits"),
    "E_TRANSIENT": Code("A dependency failed in a way that usually passes.", "dependency-down"),
    "E_STORAGE": Code("The database or the artefact store refused or failed.", "dependency-down"),
    "E_DISK_FULL": Code("The disk is full; reading goes on, writing is refused.", "disk-full"),
    "E_CORRUPT": Code("Stored bytes don't have the digest that they were stored under.", "corrupt-artefact"),
    "E_COMPUTE": Code("The computing process ended or broke its limits.", "compute-failed"),
    "E_JOB": Code("The job failed; its record says in which step.", "job-failed"),
    "E_CANCELLED": Code("The job or call was cancelled.", "job-failed"),
    "E_UNVERIFIED": Code("The model version isn't verified, or its verification failed.", "verification-failed"),
    "E_LEAK": Code("A feature gives the target away.", "leak-found"),
    "E_TARGET": Code("The target can't be learned: absent, constant, missing or unsuitable.", "training-refused"),
    "E_TRAINING": Code("There is too little or unsuitable data to train, calibrate and test.", "training-refused"),
    "E_POLICY": Code("The policy doesn't let the model version into the stage.", "policy-unmet"),
    "E_PARITY": Code("The serving form doesn't answer as the trained estimator does.", "verification-failed"),
    "E_ADOPT": Code("A person's model file has a step or a state that can't be adopted.", "verification-failed"),
    "E_CONFIG": Code("A setting is misspelt, unsafe or contradicts another.", "configuration"),
    "E_UNSUPPORTED": Code("This platform or version can't do that.", "configuration"),
    "E_INTERNAL": Code("Something unexpected broke; the log has the details under the reference.", "internal-error"),
    "E_PATH": Code("The path is outside the allowed folders or isn't a plain file.", "import-refused"),
    "E_PERMISSION": Code("The file, address or table may not be read.", "import-refused"),
    "E_IO": Code("The file could not be read to its end.", "import-refused"),
    "E_CHANGED": Code("The file changed while it was read.", "import-refused"),
    "E_DIGEST": Code("The file isn't the one whose digest is stated.", "import-refused"),
    "E_URL": Code("The address has a form that isn't read, or leads to what isn't public.", "remote-source"),
    "E_NAME": Code("The name isn't allowed.", "invalid-request"),
    "E_EMPTY": Code("The file has no content.", "import-refused"),
    "E_NO_ROWS": Code("There is a header and no row, or no row is left after the filter.", "import-refused"),
    "E_ENCODING": Code("The bytes aren't valid in the encoding.", "import-refused"),
    "E_FORMAT": Code("The content isn't the format that was asked for.", "import-refused"),
    "E_DELIM": Code("The delimiter can't be told, or isn't the stated one.", "import-refused"),
    "E_RAGGED": Code("A row has more or fewer fields than the header.", "import-refused"),
    "E_DUP_HEADER": Code("Two columns have the same name.", "import-refused"),
    "E_HEADER": Code("A column has no usable name.", "import-refused"),
    "E_QUOTE": Code("A quote is never closed.", "import-refused"),
    "E_NUL": Code("A NUL byte is in the text.", "import-refused"),
    "E_NONFINITE": Code("A number is infinite or not a number.", "import-refused"),
    "E_NUMBER": Code("Numbers are written in a way that can be read in two ways.", "import-refused"),
    "E_DATE_AMBIGUOUS": Code("Dates can be read as day-month or month-day.", "import-refused"),
    "E_COLUMNS": Code("There are more columns than allowed.", "limits"),
    "E_ROWS": Code("There are more rows than allowed.", "limits"),
    "E_CELL": Code("A cell is larger than allowed.", "limits"),
    "E_LINE": Code("A line is longer than allowed.", "limits"),
    "E_SIZE": Code("The input is larger than allowed.", "limits"),
    "E_BOMB": Code("Unpacked, the file would be out of all proportion.", "limits"),
    "E_ARCHIVE": Code("The archive doesn't hold exactly one plain file.", "import-refused"),
    "E_DAMAGED": Code("The file is cut off or damaged.", "import-refused"),
    "E_JSON": Code("The text isn't valid JSON.", "import-refused"),
    "E_SHAPE": Code("Objects or files don't have the same columns and types.", "import-refused"),
    "E_NESTED": Code("A column holds lists or records.", "import-refused"),
    "E_TYPE": Code("A column has a type that tables can't hold.", "import-refused"),
    "E_DEPTH": Code("JSON is nested too deeply.", "limits"),
    "E_DUP_KEY": Code("An object has a key twice.", "import-refused"),
    "E_EXPRESSION": Code("The expression isn't in the safe language or doesn't fit the columns.", "import-refused"),
    "E_PLAN": Code("A step of a preparation plan is wrong, or can't be done on this table.", "plan-refused"),
    "E_CONTRACT": Code("The data or the override contradicts the contract.", "import-refused"),
    "E_SERIES": Code("The samples don't fit the computation: too few, not finite, unequal lengths.", "invalid-request"),
}


class CourtsideError(Exception):
    """The root of the tree.

    Args:
        message: what happened and why, in our words; no cell, secret or path that the caller didn't give.
        hint: the next step, as a sentence.
        details: small JSON values (row, column, limit...), for a program.
        retry_after: seconds after which a retry is worth it.
    """

    code: ClassVar[str] = "E_INTERNAL"
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.retry_after = retry_after

    @property
    def runbook(self) -> str:
        return CODES[self.code].runbook


class InvalidInput(CourtsideError):
    code = "E_ARG"


class NotFound(CourtsideError):
    code = "E_NOT_FOUND"


class AlreadyExists(CourtsideError):
    code = "E_EXISTS"


class Conflict(CourtsideError):
    code = "E_CONFLICT"


class KeyReused(Conflict):
    code = "E_KEY_REUSED"


class InProgress(Conflict):
    code = "E_IN_PROGRESS"


class Unauthenticated(CourtsideError):
    code = "E_AUTH"


class Forbidden(CourtsideError):
    code = "E_SCOPE"


class Throttled(CourtsideError):
    code = "E_THROTTLED"


class Busy(CourtsideError):
    code = "E_BUSY"


class DeadlineExceeded(CourtsideError):
    code = "E_DEADLINE"


class QuotaExceeded(CourtsideError):
    code = "E_QUOTA"


class Transient(CourtsideError):
    """A failure that usually passes: the guard retries it for tools declared idempotent."""

    code = "E_TRANSIENT"
    transient = True


class StorageFailed(CourtsideError):
    code = "E_STORAGE"


class DiskFull(StorageFailed):
    code = "E_DISK_FULL"


class CorruptArtefact(CourtsideError):
    code = "E_CORRUPT"


class ComputeFailed(CourtsideError):
    code = "E_COMPUTE"


class JobFailed(CourtsideError):
    code = "E_JOB"


class Cancelled(CourtsideError):
    code = "E_CANCELLED"


class Unverified(CourtsideError):
    code = "E_UNVERIFIED"


class PolicyUnmet(CourtsideError):
    code = "E_POLICY"


class LeakFound(CourtsideError):
    code = "E_LEAK"


class PlanRefused(CourtsideError):
    code = "E_PLAN"


class BadTarget(CourtsideError):
    code = "E_TARGET"


class TrainingRefused(CourtsideError):
    code = "E_TRAINING"


class ParityFailed(CourtsideError):
    code = "E_PARITY"


class AdoptionRefused(CourtsideError):
    code = "E_ADOPT"


class BadConfiguration(CourtsideError):
    code = "E_CONFIG"


class Unsupported(CourtsideError):
    code = "E_UNSUPPORTED"


class BadSample(InvalidInput):
    """A sample handed to a pure computation is unusable."""

    code = "E_SERIES"


class DataRejected(CourtsideError):
    """Data on the way in is refused; nothing was stored.

    Args:
        code: one of the import codes in `CODES`, such as `E_RAGGED`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        if code not in CODES:
            raise ValueError(f"unknown error code {code}")
        super().__init__(message, hint=hint, details=details)
        self.code = code  # type: ignore[misc]


def from_code(code: str, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> CourtsideError:
    """Rebuild an error that crossed a process boundary as data.

    Args:
        code: a stable code; one that isn't known becomes `E_INTERNAL`.
    Returns:
        an instance of the class that declares the code, or `DataRejected` for an import code.
    """
    for kind in _family(CourtsideError):
        if kind is not DataRejected and kind.code == code:
            return kind(message, hint=hint, details=details)
    if code in CODES:
        return DataRejected(code, message, hint=hint, details=details)
    return CourtsideError(message, hint=hint, details=details)


def _family(root: type[CourtsideError]) -> list[type[CourtsideError]]:
    kinds = [root]
    for kind in root.__subclasses__():
        kinds.extend(_family(kind))
    return kinds
