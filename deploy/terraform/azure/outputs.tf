# What the other systems need. Both clouds give the same names.

output "lake_urls" {
  description = "The container of each pipeline, as KPI_LAKE_URLS__PIPELINE takes it."
  value = {
    for pipeline, container in azurerm_storage_container.lake :
    pipeline => "az://${azurerm_storage_account.lake.name}/${container.name}"
  }
}

output "stream_url" {
  description = "Where producers send events, as KPI_STREAM_URL takes it; empty without streams."
  value       = local.stream_url
}

output "postgres_host" {
  description = "The warehouse, port 5432, TLS required."
  value       = local.postgres_host
}

output "ui_url" {
  description = "The web UI of Dagster, from your private network."
  value       = "https://${local.ui_host}"
}

output "pages_url" {
  description = "The pages and the API for readers, from your private network."
  value       = "https://${local.pages_host}"
}

output "identities" {
  description = "Who the tasks are, for further grants."
  value       = { for task, identity in azurerm_user_assigned_identity.task : task => identity.principal_id }
}
