# What the other systems need. Both clouds give the same names.

output "lake_urls" {
  description = "The bucket of each pipeline, as KPI_LAKE_URLS__PIPELINE takes it."
  value       = { for pipeline, bucket in aws_s3_bucket.lake : pipeline => "s3://${bucket.id}" }
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
  value       = "http://${local.ui_host}"
}

output "pages_url" {
  description = "The pages and the API for readers, from your private network."
  value       = "http://${local.pages_host}"
}

output "identities" {
  description = "Who the tasks are, for further grants."
  value       = { for task, role in aws_iam_role.task : task => role.arn }
}
