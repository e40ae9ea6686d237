# Secrets of the tasks: each is one in Secrets Manager, and a container gets only those that it uses.
# Terraform's state holds them too: keep it in an encrypted backend that only you read.

resource "random_password" "token" {
  for_each = toset(["ui", "first_reader"])
  length   = 40
  special  = false
}

locals {
  secrets = merge(var.secrets, {
    KPI_ADMIN_POSTGRES_URL = local.postgres_urls["admin"]
    KPI_POSTGRES_URL       = local.postgres_urls["app"]
    KPI_SERVE_POSTGRES_URL = local.postgres_urls["serve"]
    KPI_UI_TOKEN           = random_password.token["ui"].result
    KPI_SERVE_KEYS         = "first:${sha256(random_password.token["first_reader"].result)}"
  })
  # Which containers get a secret that is not for all of them; what var.secrets names is for the core.
  secret_names = {
    bootstrap = ["KPI_ADMIN_POSTGRES_URL", "KPI_POSTGRES_URL", "KPI_SERVE_POSTGRES_URL"]
    core      = concat(["KPI_POSTGRES_URL"], nonsensitive(keys(var.secrets)))
    web       = concat(["KPI_POSTGRES_URL", "KPI_UI_TOKEN"], nonsensitive(keys(var.secrets)))
    pages     = ["KPI_SERVE_POSTGRES_URL", "KPI_SERVE_KEYS"]
    stream    = ["KPI_POSTGRES_URL"]
  }
}

resource "aws_secretsmanager_secret" "setting" {
  for_each = toset(nonsensitive(keys(local.secrets)))
  name     = "${var.name}/${lower(each.value)}"
  tags     = var.labels
}

resource "aws_secretsmanager_secret_version" "setting" {
  for_each      = aws_secretsmanager_secret.setting
  secret_id     = each.value.id
  secret_string = local.secrets[each.key]
}

# The key that opens the pages the first time, for you to read with the console of the cloud.
resource "aws_secretsmanager_secret" "first_reader" {
  name = "${var.name}/key_of_first_reader"
  tags = var.labels
}

resource "aws_secretsmanager_secret_version" "first_reader" {
  secret_id     = aws_secretsmanager_secret.first_reader.id
  secret_string = random_password.token["first_reader"].result
}
