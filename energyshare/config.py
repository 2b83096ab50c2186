"""Configuration files: TOML into typed values, with errors that name file and field."""

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from energyshare.errors import EnergyShareError

T = TypeVar("T")


class ConfigError(EnergyShareError):
    """A configuration file can't be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.hint = "mend the file and start again"


def load_config(path: Path, cls: type[T]) -> T:
    """Read a TOML file into a msgspec Struct; raises ConfigError naming file and field."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), cls)
    except FileNotFoundError:
        raise ConfigError(path, "there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(path, str(error).replace("`$.", "`")) from None
