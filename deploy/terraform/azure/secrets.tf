# Secrets of the tasks: each container app keeps its own, and a container gets only those that it uses.
# Terraform's state holds them too: keep it in an encrypted backend that only you read.

resource "random_password" "token" {
  for_each = toset(["ui", "first_reader"])
  length   = 40
  special  = false
}

locals {
  stream_secrets = length(var.streams) > 0 ? {
    KPI_STREAM_PASSWORD = azurerm_eventhub_namespace_authorization_rule.listen[0].primary_connection_string
  } : {}
  secrets = merge(var.secrets, local.stream_secrets, {
    KPI_ADMIN_POSTGRES_URL = local.postgres_urls["admin"]
    KPI_POSTGRES_URL       = local.postgres_urls["app"]
    KPI_SERVE_POSTGRES_URL = local.postgres_urls["serve"]
    KPI_UI_TOKEN           = random_password.token["ui"].result
    KPI_SERVE_KEYS         = "first:${sha256(random_password.token["first_reader"].result)}"
  })
  # Which containers get a secret that is not for all of them; what var.secrets names is for the core.
  secret_names = {
    bootstrap = ["KPI_ADMIN_POSTGRES_URL", "KPI_POSTGRES_URL", "KPI_SERVE_POSTGRES_URL"]
    core      = concat(["KPI_POSTGRES_URL"], keys(local.stream_secrets), nonsensitive(keys(var.secrets)))
    web       = concat(["KPI_POSTGRES_URL", "KPI_UI_TOKEN"], nonsensitive(keys(var.secrets)))
    pages     = ["KPI_SERVE_POSTGRES_URL", "KPI_SERVE_KEYS"]
    stream    = concat(["KPI_POSTGRES_URL"], keys(local.stream_secrets))
  }
  task_secrets = {
    core   = distinct(concat(local.secret_names["bootstrap"], local.secret_names["core"], local.secret_names["web"]))
    pages  = local.secret_names["pages"]
    stream = local.secret_names["stream"]
  }
}
