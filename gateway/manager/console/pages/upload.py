"""A model's file from the browser into the model store. To deploy it is the next step."""

from gateway.manager.console.forms import Mistakes
from gateway.manager.console.views import Redirected, Shown, View, ViewAnswer, ViewRequest, link_to
from gateway.manager.rollouts import actions
from gateway.manager.store import require_free_version

FIELDS = ("handle", "version")


def show(request: ViewRequest) -> ViewAnswer:
    return Shown("upload.html", {"typed": dict.fromkeys(FIELDS, ""), "mistakes": {}})


def receive(request: ViewRequest) -> ViewAnswer:
    typed = {name: request.form.get(name, "").strip() for name in FIELDS}
    mistakes = _mistakes(request, typed)
    if mistakes or request.file is None:
        return Shown("upload.html", {"typed": typed, "mistakes": mistakes}, 400)
    handle, version, file = typed["handle"], typed["version"], request.file
    url = request.operations.store_model(file, handle)
    target = link_to("/models/deploy", url=url, handle=handle, version=version or None)
    return Redirected(target, f"{file.name[:100]} is stored: {file.size:,} bytes, SHA-1 {file.sha1}.")


def _mistakes(request: ViewRequest, typed: dict[str, str]) -> Mistakes:
    mistakes, file, (handle, version) = Mistakes(), request.file, typed.values()
    mistakes.found_in("handle", lambda: actions.check_names("handle", "EntityName", [handle]))
    if version:
        mistakes.found_in("version", lambda: actions.check_names("version", "Version", [version]))
    if file is None:
        mistakes["file"] = "Choose a file."
    elif not file.size:
        mistakes["file"] = "The file is empty: a model file is expected."
    elif version and not mistakes:
        mistakes.found_in(
            "version",
            lambda: request.store.read(
                lambda transaction: require_free_version(transaction.connection, handle, version, file.sha1)
            ),
        )
    return mistakes


VIEWS = (
    View("/models/upload", show, action="s3:PutObject"),
    View("/models/upload", receive, action="s3:PutObject", changes=True, takes_file=True),
)
