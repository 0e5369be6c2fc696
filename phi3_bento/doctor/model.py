"""The model: is it there, whole, and what was prepared?"""

from pathlib import Path

from phi3_bento.doctor.finding import Finding, ok, problem, skipped, warning
from phi3_bento.errors import StartFailure
from phi3_bento.models.checkpoint import read_config, read_entries
from phi3_bento.models.source import ModelSource, find_model, local_directory
from phi3_bento.settings import Settings

_RECORD = "preparation.json"


def find_source(settings: Settings) -> tuple[Finding, ModelSource | None]:
    """The checkpoint, where it is there and every file has the size that its header says."""
    if settings.engine == "echo":
        return skipped("model", "The echo engine has no model."), None
    try:
        directory = local_directory(settings.model, data_dir=settings.data_dir)
        if directory is None:
            return _to_come(settings.model), None
        read_config(directory)
        tensors = len(read_entries(directory))
        source = find_model(
            settings.model, data_dir=settings.data_dir, served_name=settings.served_name
        )
    except StartFailure as failure:
        says, _, remedy = failure.message.partition(". ")
        return problem("model", f"{says}.", remedy or "Choose another with PHI3_MODEL."), None
    size = source.shape.weights_bytes / 2**30
    says = f"{source.name}: {tensors} tensors, {size:.2f} GiB, every file of the right size."
    return ok("model", says), source


def check_sums(directory: Path) -> Finding:
    """Every file of a prepared model is what was written; reads all of it."""
    if not (directory / _RECORD).exists():
        return skipped("checksums", "It was not prepared here: there are no checksums of it.")
    from phi3_bento.models.prepare import verify  # noqa: PLC0415  # torch takes seconds

    try:
        verify(directory)
    except StartFailure as failure:
        says, _, remedy = failure.message.partition(". ")
        return problem("checksums", f"{says}.", remedy)
    return ok("checksums", "Every file is what the preparation wrote.")


def _to_come(model: str) -> Finding:
    if model.startswith("synthetic:"):
        return ok("model", f"{model} is not there yet: it is generated at the first start.")
    return warning(
        "model",
        f"{model} is not there yet: it is downloaded at the first start, about 8 GB.",
        f"Have it ready, and small enough for 8 GB: phi3-bento model prepare {model}",
    )
