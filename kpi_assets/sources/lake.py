"""The objects of one bucket, container or folder: put once, read whole, and listed in the order of their keys.

Belongs here: requests through obstore, which speaks S3 and Azure and needs no boto3. Not here: the sentences for their
failures (lake_refusals.py), and reading large objects in parts (store.py).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import AzureStore, LocalStore, S3Store

from kpi_assets import lake_places
from kpi_assets.lake_places import Place, object_url
from kpi_assets.settings import Settings, is_plain_address
from kpi_assets.sources.lake_refusals import explained, is_missing_container, is_taken
from kpi_assets.sources.objects import LEAST_SECONDS, MOST_PAGES, Entry, too_many
from kpi_assets.sources.refusals import LakeError, foreign_endpoint

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

__all__ = ["ChangedError", "Entry", "Lake", "MissingError", "open_lake"]

PAGE = 1000  # entries that are fetched at once
MOST_BYTES = 16 << 20  # of one request that sends; larger objects are sent in parts
RETRIES = 4  # of a request that was not answered, or with a failure of the server
FIRST_PAUSE = 0.1  # seconds before the first of them


class MissingError(LakeError):
    """There is no object at the key."""


class ChangedError(LakeError):
    """The object at the key is another one than was asked for."""


class Lake:
    """The objects of a bucket. Every method raises LakeError if the store cannot be used."""

    def __init__(self, place: Place, store: Any) -> None:
        self.place, self.store = place, store
        self.bucket = place.bucket

    def create(self, key: str, body: bytes) -> bool:
        """Put an object where none is; False if there is one, also if this very request put it and its answer was lost.

        Nothing is overwritten: the store itself refuses, so that of two writers one is told.
        """
        with explained(self.place, key):
            try:
                obstore.put(self.store, key, body, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                if not is_taken(error):
                    raise
                return False
        return True

    def get(self, key: str, etag: str | None = None) -> bytes:
        """Return the bytes of an object; with an ETag, of exactly the object that had it.

        Raises MissingError, and ChangedError if the ETag differs.
        """
        options: GetOptions = {"if_match": quoted(etag)} if etag else {}
        with explained(self.place, key):
            try:
                answer = obstore.get(self.store, key, options=options)
                # Compared here too, since some stores ignore the condition.
                if etag and _bare(answer.meta["e_tag"]) != _bare(etag):
                    raise self._changed(key)
                return bytes(answer.bytes())
            except PreconditionError:  # Azure says so of an object that is missing, too
                raise self._changed(key) if self.head(key) else self._missing(key) from None
            except FileNotFoundError as error:
                self.check_container(error)
                raise self._missing(key) from None

    def head(self, key: str) -> Entry | None:
        """Return an object as a listing would, or None if there is none."""
        found = self.state(key)
        return self._entry(found) if found else None

    def state(self, key: str, version: str | None = None) -> Mapping[str, Any] | None:
        """Return an object, or a version of it, as obstore describes it; None if there is none."""
        options: GetOptions = {"head": True, "version": version} if version else {"head": True}
        with explained(self.place, key):
            try:
                return obstore.get(self.store, key, options=options).meta
            except FileNotFoundError as error:
                self.check_container(error)
                return None

    def entries(self, prefix: str, after: str | None = None) -> Iterator[Entry]:
        """Yield the objects whose keys begin with `prefix` and follow the key `after`, in order of the keys.

        SeaweedFS has the order of its folders, and lists what is in a/ before a-b. Within a folder it is the same.
        Raises LakeError if there are more than a listing may have.
        """
        with explained(self.place, prefix):
            if self.place.scheme == "s3":
                yield from self._in_order(prefix, after or "")
            else:
                # A folder of this machine has no order, and a container with folders has another one than that of keys.
                every = self._listed(prefix.rpartition("/")[0], None, prefix)
                chosen = (each for each in every if each.key.startswith(prefix) and each.key > (after or ""))
                yield from sorted(chosen, key=lambda entry: entry.key)

    def folders(self, prefix: str) -> list[str]:
        """Return the folders directly below a prefix that ends with a slash, in order; each ends with one, too.

        None is listed without an object in it, however deep.
        """
        with explained(self.place, prefix):
            found = obstore.list_with_delimiter(self.store, prefix=prefix.rstrip("/") or None)["common_prefixes"]
        return sorted(f"{folder}/" for folder in found)

    def _in_order(self, prefix: str, after: str) -> Iterator[Entry]:
        # obstore lists whole folders; a key just before the prefix leads to the part of the folder that is wanted.
        folder, _, start = prefix.rpartition("/")
        before = max(after, _just_before(prefix))
        for entry in self._listed(folder, before or None, prefix):
            if entry.key.startswith(prefix):
                if entry.key > after:
                    yield entry
            # Compared by its part below the folder, since SeaweedFS lists what is in a/ before a-b.
            elif entry.key.removeprefix(f"{folder}/").partition("/")[0] > start:
                return

    def _listed(self, folder: str, offset: str | None, prefix: str) -> Iterator[Entry]:
        if self.place.scheme == "file":
            _check_folder(self.place)
        pages = obstore.list(self.store, prefix=folder or None, offset=offset, chunk_size=PAGE)
        for number, page in enumerate(pages):
            if number >= MOST_PAGES:
                raise too_many(self.bucket, prefix, MOST_PAGES * PAGE)
            yield from map(self._entry, page)

    def check_container(self, error: FileNotFoundError) -> None:
        """Raise the error if what is missing is not the object but the bucket."""
        if is_missing_container(error):
            raise error
        if self.place.scheme == "file":
            _check_folder(self.place)
        elif "Error performing HEAD" in str(error):  # the answer to a HEAD does not say what is missing
            with suppress(StopIteration):
                next(iter(obstore.list(self.store, prefix=".kpi-nothing", chunk_size=1)))

    def _entry(self, found: Mapping[str, Any]) -> Entry:
        return Entry(found["path"], found["size"], quoted(found["e_tag"]), found["last_modified"])

    def _missing(self, key: str) -> MissingError:
        return MissingError(f"{object_url(self.bucket, key)} is not there: land it again, or look who removed it.")

    def _changed(self, key: str) -> ChangedError:
        return ChangedError(
            f"{object_url(self.bucket, key)} was replaced after it was listed: objects are immutable, so look who "
            "wrote it, and land the right bytes under another key."
        )


def open_lake(settings: Settings, bucket: str) -> Lake:
    """Open a bucket, named as in a manifest: a bucket's name, or the address of a container or a folder.

    Raises LakeError if the settings of the environment are invalid.
    """
    place = lake_places.parse(bucket)
    if place is None:
        raise LakeError(f"{bucket} is no place for objects: {lake_places.FORMS}.")
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=60),
        # Of a whole request: a store that takes or gives fewer bytes a second than the setting allows is given up.
        "timeout": timedelta(seconds=max(LEAST_SECONDS, MOST_BYTES / settings.s3_least_rate)),
    }
    retries: RetryConfig = {
        "max_retries": RETRIES,
        "backoff": {"init_backoff": timedelta(seconds=FIRST_PAUSE)},
    }
    makers = {"s3": _open_s3, "az": _open_azure, "file": _open_folder}
    with explained(place, ""):
        return Lake(place, makers[place.scheme](place, settings, options, retries))


def _open_s3(place: Place, settings: Settings, options: "ClientConfig", retries: "RetryConfig") -> S3Store:
    if ":" in place.name:
        raise LakeError(
            f"{place.url} is an access point, and a stream needs the name of a bucket: set KPI_S3_BUCKET to it."
        )
    endpoint = settings.s3_endpoint_url or _endpoint_of_environment()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if authority := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(authority).read_bytes()
    words: dict[str, Any] = {"aws_endpoint_url_s3": endpoint} if endpoint else {}
    if endpoint and endpoint.startswith("http://"):
        options["allow_http"] = True
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        words["credential_provider"] = _credentials_of_boto3()
    return S3Store(
        place.name,
        region=region,
        virtual_hosted_style_request=endpoint is None and "." not in place.name,
        client_options=options,
        retry_config=retries,
        **words,
    )


def _endpoint_of_environment() -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and not is_plain_address(endpoint):
        raise foreign_endpoint()
    return endpoint


def _credentials_of_boto3() -> Any:
    """Return what finds credentials as boto3 does, by profiles, roles and single sign-on; imported only then."""
    from kpi_assets.sources.aws_credentials import provider  # noqa: PLC0415

    return provider()


def _open_azure(place: Place, settings: Settings, options: "ClientConfig", retries: "RetryConfig") -> AzureStore:
    endpoint = settings.azure_endpoint_url
    words: dict[str, Any] = {"endpoint": f"{endpoint.rstrip('/')}/{place.account}"} if endpoint else {}
    if endpoint and endpoint.startswith("http://"):
        options["allow_http"] = True
    return AzureStore(place.name, account_name=place.account, client_options=options, retry_config=retries, **words)


def _open_folder(place: Place, _settings: Settings, _options: "ClientConfig", _retries: "RetryConfig") -> LocalStore:
    _check_folder(place)
    return LocalStore(place.name)


def _check_folder(place: Place) -> None:
    if not Path(place.name).is_dir():
        raise LakeError(f"There is no folder {place.name}: make it, or correct KPI_LAKE_URL.")


def _just_before(prefix: str) -> str:
    """Return a text that comes before all that begin with `prefix`, and after most of what comes before these."""
    if not prefix or prefix.endswith("/") or not prefix[-1].isascii() or not prefix[-1].isprintable():
        return ""
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}~"


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


def quoted(etag: str | None) -> str:
    """Return an ETag in quotes, which some stores leave out in listings."""
    return f'"{_bare(etag)}"'
