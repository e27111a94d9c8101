"""Shipped configs: YAML files that are found by name, such as glioma/train_best, from any folder."""

from pathlib import Path

from common.errors import UserError, did_you_mean

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
"""Folder of the shipped configs: that of the checkout, or the one beside the installed packages."""


def find_config(name: Path | str, what: str = "config", among: str = "") -> Path:
    """Path of a config that is given by its path, or by the name of a shipped one.

    Args:
        name: a path that exists; else a file below `configs`, with or without `configs/` in front and `.yaml` behind.
        what: names the file in the error, such as "config" or "post-processing".
        among: word in the names of shipped configs of that kind, such as "series"; the error offers these.

    Raises:
        UserError: no such file; the line offers shipped configs of similar names.
    """
    path = Path(name)
    short = path.relative_to("configs") if path.parts[:1] == ("configs",) else path
    for candidate in (path, CONFIGS / short, CONFIGS / f"{short}.yaml"):
        if candidate.exists() and not candidate.is_dir():
            return candidate
    names = [known for known in config_names() if among in known.rpartition("/")[2]]
    if inside := [known for known in names if known.startswith(f"{short}/")]:
        raise UserError(f"{name}: expected one {what}; received a folder; those in it are {', '.join(inside)}")
    if path.is_dir():
        raise UserError(f"{name}: expected the YAML file of a {what}; received a folder")
    files = {known.rpartition("/")[2]: known for known in names}
    wanted = str(short).removesuffix(".yaml").removesuffix(".yml")
    # Within one folder the last part alone is compared: the folder's name makes all paths in it similar.
    beside = {known.rpartition("/")[2]: known for known in names if known.startswith(f"{short.parent}/")}
    if beside:
        hint = did_you_mean(short.stem, beside, beside) or f"; those in {short.parent} are {', '.join(beside.values())}"
    else:
        hint = did_you_mean(wanted, names) or did_you_mean(short.stem, files, files)
    others = f" and others in {CONFIGS}" if len(names) > 3 else ""
    hint = hint or f"; shipped: {', '.join(names[:3])}{others}"
    raise UserError(f"{name}: {what} not found; expected a YAML file or the name of a shipped one{hint}")


def config_names() -> list[str]:
    """Names of all shipped configs, such as glioma/train_best, sorted."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))
