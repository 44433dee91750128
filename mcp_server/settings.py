"""The only reader of the environment.

Every setting has a description and a bound; `.env.example` and `docs/settings.md` are generated from here.
A misspelt `COURTSIDE_*` name is refused, and production refuses unsafe combinations, all in one message.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from mcp_server.errors import BadConfiguration

PREFIX = "COURTSIDE_"
DEFAULT_TOOLSETS = ("data", "models", "serving", "monitoring", "jobs", "reports")
FURTHER_TOOLSETS = ("labels", "admin")
MIB = 1024 * 1024
_SQL_SCHEMES = ("postgresql://", "postgres://", "mysql://", "mariadb://", "sqlite:///")


class Profile(StrEnum):
    development = "development"
    test = "test"
    staging = "staging"
    production = "production"


def _split(value: object) -> object:
    """Accept `a,b` (or the platform's path separator between folders) for a list."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    return tuple(part for part in parts if part)


def _folder(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) and value else value


def _folders(value: object) -> object:
    if isinstance(value, str):
        value = [part for chunk in value.split(",") for part in chunk.split(os.pathsep)] if value else []
    if isinstance(value, list | tuple):
        return tuple(Path(str(part).strip()).expanduser() for part in value if str(part).strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Folders = Annotated[tuple[Path, ...], BeforeValidator(_folders)]


def default_data_dir() -> Path:
    """The platform's folder for a program's own data."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "courtside"
    if sys.platform == "win32":
        return user_folder("LOCALAPPDATA", "AppData", "Local") / "courtside"
    return user_folder("XDG_DATA_HOME", ".local", "share") / "courtside"


def user_folder(variable: str, *default: str) -> Path:
    """A folder that the platform names in the environment, or its usual place under the home folder."""
    return Path(os.environ.get(variable) or Path.home().joinpath(*default))


def environment() -> dict[str, str]:
    """This process's environment, for a server that is started from here as a client would."""
    return dict(os.environ)


class Settings(BaseModel):
    """What a person may set, each as `COURTSIDE_<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    profile: Profile = Field(
        Profile.development, description="Which environment this is; production refuses unsafe settings."
    )
    data_dir: Folder = Field(default_factory=default_data_dir, description="Where data, models, keys and logs live.")
    allowed_dirs: Folders = Field(
        (Path("~/Courtside"),), description="Folders that files may be imported from, separated by commas."
    )
    url_import: bool = Field(True, description="Let import_data read files at https addresses.")
    url_hosts: Names = Field(
        (),
        description="The only hosts that are read then; .example.org stands for all under it. Any public one if empty.",
    )
    http_hosts: Names = Field((), description="Hosts that may be read over http, unencrypted.")
    sql_sources: SecretStr | None = Field(
        None,
        description="Databases for import_data as name=url, separated by commas: postgresql://, mysql:// or sqlite:///.",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL as postgresql://user:password@host/name; SQLite in the data folder when empty."
    )
    openlineage_file: Folder | None = Field(
        None, description="A file to which imports and trainings are written as OpenLineage events, one JSON line each."
    )
    openlineage_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        max_length=2_000,
        description="A collector to which these events are posted, such as http://localhost:5000/api/v1/lineage.",
    )
    openlineage_key: SecretStr | None = Field(None, description="What the collector takes as a bearer token.")
    mlflow_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        max_length=2_000,
        description="An MLflow server, as http://localhost:5000: new runs are copied there, and `courtside mlflow` "
        "imports from and exports to it.",
    )
    mlflow_key: SecretStr | None = Field(None, description="What the MLflow server takes as a bearer token.")
    mlflow_user: SecretStr | None = Field(
        None, description="Who to be at an MLflow server with basic authentication; not together with a key."
    )
    mlflow_password: SecretStr | None = Field(None, description="The password of that user.")
    debug: bool = Field(False, description="Verbose logs and timings; secrets and personal data stay redacted.")
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="The least severe level that is logged."
    )
    read_only: bool = Field(False, description="Hide and refuse every tool that writes.")
    toolsets: Names = Field(
        ("default",),
        description="Groups of tools to offer: default stands for data, models, serving, monitoring and jobs; labels "
        "(suggest_labels) and admin (erase_subject, delete_item, review_model) are further to be named.",
    )
    policy_file: Folder | None = Field(
        None, description="YAML or JSON: what a model version needs for a stage; see docs/guides/governance.md."
    )
    api_keys: SecretStr | None = Field(
        None, description="Keys for HTTP as name:role:key, separated by commas; role is viewer, operator or admin."
    )
    allowed_hosts: Names = Field((), description="Further Host header values to answer, such as models.example.org.")
    allowed_origins: Names = Field((), description="Origin header values to answer, such as https://example.org.")
    rate_per_second: float = Field(
        10.0, ge=0, le=100_000, description="Calls a second for each caller and tool; 0 refuses every call."
    )
    rate_burst: int = Field(20, ge=0, le=100_000, description="Calls that a caller may make at once to one tool.")
    queue_seconds: float = Field(2.0, ge=0, le=60, description="How long a call over the rate may wait its turn.")
    queue_calls: int = Field(100, ge=0, le=10_000, description="How many calls may wait at once for one caller.")
    concurrency: int = Field(64, ge=1, le=1_000, description="Tool calls that run at once.")
    tool_seconds: float = Field(30.0, gt=0, le=3_600, description="Time limit of an interactive tool call.")
    job_seconds: float = Field(3_600.0, gt=0, le=86_400, description="Time limit of a job.")
    child_memory_mib: int = Field(2_048, ge=256, le=1_048_576, description="Memory limit of a computing process.")
    child_cpu_seconds: int = Field(60, ge=1, le=86_400, description="CPU limit of reading one untrusted file.")
    max_import_mib: int = Field(1_024, ge=1, le=1_048_576, description="Largest file that may be imported.")
    max_inline_kib: int = Field(1_024, ge=1, le=4_096, description="Largest inline text that may be imported.")
    max_rows: int = Field(5_000_000, ge=1, le=1_000_000_000, description="Most rows of a data set.")
    max_columns: int = Field(10_000, ge=1, le=10_000, description="Most columns of a data set.")
    max_predict_rows: int = Field(10_000, ge=1, le=100_000, description="Most rows of one predict call.")
    model_age_days: int = Field(
        365, ge=0, le=36_500, description="Age of a model's training data beyond which verify_model warns; 0 for none."
    )
    membership_block: str = Field(
        "personal",
        pattern="^(personal|always)$",
        description="Which models fail verify_model when their answers tell the rows that they learned from: those of "
        "data with a personal column, or always all.",
    )
    membership_overrides: Names = Field(
        (),
        description="Model versions, name@version, that may all the same, into production too; the audit log says so.",
    )
    worker_idle_seconds: float = Field(
        300.0, ge=1, le=86_400, description="How long the worker process waits without a job before it ends."
    )
    keep_predictions_days: int = Field(
        0, ge=0, le=36_500, description="Days that stored predictions are kept; 0 keeps them for good."
    )
    keep_validations_days: int = Field(
        0, ge=0, le=36_500, description="Days that the quality history of data sets is kept; 0 keeps it for good."
    )
    keep_runs_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days that ended jobs, and runs whose models are gone, are kept; 0 keeps them for good.",
    )

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.profile is not Profile.production:
            return self
        problems = []
        if self.debug:
            problems.append("COURTSIDE_DEBUG must be off")
        if self.log_level == "DEBUG":
            problems.append("COURTSIDE_LOG_LEVEL must be INFO or higher")
        if "*" in self.allowed_hosts or "*" in self.allowed_origins:
            problems.append("COURTSIDE_ALLOWED_HOSTS and COURTSIDE_ALLOWED_ORIGINS must not hold *")
        if self.openlineage_key is not None and (self.openlineage_url or "").startswith("http://"):
            problems.append("COURTSIDE_OPENLINEAGE_URL must be https where a key goes along")
        if (self.mlflow_key or self.mlflow_password) and (self.mlflow_url or "").startswith("http://"):
            problems.append("COURTSIDE_MLFLOW_URL must be https where a key or a password goes along")
        if self.rate_per_second > 1_000:
            problems.append("COURTSIDE_RATE_PER_SECOND must be at most 1000")
        if self.api_keys is not None and any(len(key) < 24 for _, _, key in parse_api_keys(self.api_keys)):
            problems.append("each key in COURTSIDE_API_KEYS must have at least 24 characters")
        if any(folder == Path(folder.anchor) or folder == Path.home() for folder in self.allowed_dirs):
            problems.append("COURTSIDE_ALLOWED_DIRS must not hold the whole disk or a whole home folder")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _mlflow_is_told_who_asks_in_one_way(self) -> Self:
        if (self.mlflow_user is None) != (self.mlflow_password is None):
            raise ValueError("COURTSIDE_MLFLOW_USER and COURTSIDE_MLFLOW_PASSWORD go together")
        if self.mlflow_key is not None and self.mlflow_user is not None:
            raise ValueError("COURTSIDE_MLFLOW_KEY doesn't go together with COURTSIDE_MLFLOW_USER: set one of them")
        user = "" if self.mlflow_user is None else self.mlflow_user.get_secret_value()
        if ":" in user or not all(map(str.isprintable, user)):
            raise ValueError("COURTSIDE_MLFLOW_USER holds a colon or a character that can't be printed")
        secret = self.mlflow_key or self.mlflow_password
        address = urlsplit(self.mlflow_url or "")
        host = (address.hostname or "").lower()
        if secret and address.scheme == "http" and not _is_loopback(host) and host not in self.http_hosts:
            raise ValueError(
                "COURTSIDE_MLFLOW_URL must be https where a key or a password goes along, or its host stand in "
                "COURTSIDE_HTTP_HOSTS"
            )
        return self

    @model_validator(mode="after")
    def _keys_are_well_formed(self) -> Self:
        if self.api_keys is not None:
            parse_api_keys(self.api_keys)
        return self

    @model_validator(mode="after")
    def _sources_are_well_formed(self) -> Self:
        if self.sql_sources is not None:
            parse_sql_sources(self.sql_sources)
        return self

    @model_validator(mode="after")
    def _toolsets_are_known(self) -> Self:
        known = ("default", *DEFAULT_TOOLSETS, *FURTHER_TOOLSETS)
        if wrong := [name for name in self.toolsets if name not in known]:
            near = difflib.get_close_matches(wrong[0], known, n=1)
            raise ValueError(
                f"COURTSIDE_TOOLSETS takes {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")
            )
        return self

    @property
    def offered(self) -> frozenset[str]:
        """The names of the toolsets whose tools are offered."""
        named = frozenset(self.toolsets)
        return (named - {"default"}) | (frozenset(DEFAULT_TOOLSETS) if "default" in named else frozenset())

    @property
    def database(self) -> str:
        """The database URL without a driver; secret when it holds a password."""
        if self.database_url is not None and self.database_url.get_secret_value():
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'courtside.db'}"


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or its address; no name is looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_api_keys(keys: SecretStr) -> list[tuple[str, str, str]]:
    """Split `name:role:key,...` into triples; the message of a refusal names the entry's position only."""
    triples: list[tuple[str, str, str]] = []
    for position, entry in enumerate(keys.get_secret_value().split(","), start=1):
        parts = entry.strip().split(":", 2)
        if len(parts) != 3 or parts[1] not in ("viewer", "operator", "admin") or not parts[0] or len(parts[2]) < 8:
            raise ValueError(
                f"entry {position} of COURTSIDE_API_KEYS isn't name:role:key with role viewer, operator or admin "
                "and a key of at least 8 characters"
            )
        if any(parts[0] == name or parts[2] == key for name, _, key in triples):
            raise ValueError(f"entry {position} of COURTSIDE_API_KEYS has the name or the key of an earlier one")
        triples.append((parts[0], parts[1], parts[2]))
    return triples


def parse_sql_sources(sources: SecretStr) -> dict[str, str]:
    """Split `name=url,...` into URLs by name; the message of a refusal names the entry's position only."""
    found: dict[str, str] = {}
    entries = [entry.strip() for entry in sources.get_secret_value().split(",") if entry.strip()]
    for position, entry in enumerate(entries, start=1):
        name, _, url = entry.partition("=")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name) or not url.startswith(_SQL_SCHEMES):
            raise ValueError(
                f"entry {position} of COURTSIDE_SQL_SOURCES isn't name=url with a name of lower-case letters and "
                f"digits and a URL that begins with {', '.join(_SQL_SCHEMES)}; write a comma in a password as %2C"
            )
        if name in found:
            raise ValueError(f"entry {position} of COURTSIDE_SQL_SOURCES has the name of an earlier one")
        found[name] = url
    return found


def load(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings.

    Args:
        environment: names and values; the process's own when None. Empty values count as unset.
        overrides: values that the command line gives; they win.
    Raises:
        BadConfiguration: a name is misspelt, a value is out of bounds, or production would be unsafe; every
            problem is in one message and no secret value is.
    """
    environment = os.environ if environment is None else environment
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    values: dict[str, Any] = {}
    problems = []
    for name, value in environment.items():
        if not name.upper().startswith(PREFIX) or name == PREFIX + "REQUIRE_SERVICES":
            continue
        if name not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            problems.append(f"{name} isn't a setting" + (f"; did you mean {near[0]}?" if near else ""))
        elif value != "":
            values[known[name]] = value
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        settings = Settings(**values)
    except ValidationError as invalid:
        for error in invalid.errors(include_input=False, include_url=False):
            where = PREFIX + str(error["loc"][0]).upper() + ": " if error["loc"] else ""
            problems.append(where + error["msg"].removeprefix("Value error, "))
    if problems:
        raise BadConfiguration(
            "The settings can't be used: " + "; ".join(problems).rstrip("?.") + ".",
            hint="See docs/settings.md for every name, default and bound.",
        )
    return settings
