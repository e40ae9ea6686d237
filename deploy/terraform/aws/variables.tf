# The variables of kpi_assets, the same for both clouds: this file is in aws/ and in azure/, letter by letter.

variable "name" {
  description = "What the names of everything begin with: 3 to 12 lower case letters and digits, unique in the cloud."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,11}$", var.name))
    error_message = "Write 3 to 12 lower case letters and digits, a letter first."
  }
}

variable "location" {
  description = "The region, as the cloud names it: eu-central-1, westeurope."
  type        = string
}

variable "image" {
  description = "The image of deploy/Dockerfile in your registry, by digest: registry.example.com/kpi_assets@sha256:..."
  type        = string
  validation {
    condition     = strcontains(var.image, "@sha256:")
    error_message = "Name the image by its digest, since a tag can move to another image."
  }
}

variable "network" {
  description = "Your private network, by the ids of the cloud: where tasks run, and where the database listens."
  type = object({
    id               = string
    task_subnets     = list(string)
    database_subnets = list(string)
  })
}

variable "reader_networks" {
  description = "Networks, as 10.0.0.0/8, from which people reach the pages and the web UI."
  type        = list(string)
}

variable "buckets" {
  description = "The bucket (AWS) or container (Azure) of each pipeline, made here: {instacart = \"acme-kpi-instacart\"}."
  type        = map(string)
}

variable "streams" {
  description = "The streams that pipelines land: how many partitions, and for how many hours events are kept."
  type = map(object({
    partitions = number
    hours      = number
  }))
  default = {}
  validation {
    condition     = alltrue([for each in var.streams : each.partitions >= 1 && each.hours >= 24 && each.hours <= 168])
    error_message = "A stream has at least 1 partition, and keeps its events for 24 to 168 hours."
  }
}

variable "postgres" {
  description = "The PostgreSQL server: `size` is the cloud's name of a machine, `standby` a second one in another zone."
  type = object({
    version     = optional(string, "17")
    size        = string
    storage_gb  = number
    standby     = optional(bool, true)
    backup_days = optional(number, 14)
  })
}

variable "tasks" {
  description = "Cores and memory of each task: core (code server, web UI, daemon), pages, stream (lands the streams)."
  type = map(object({
    cpu       = number
    memory_gb = number
  }))
  default = {
    core   = { cpu = 2, memory_gb = 4 }
    pages  = { cpu = 0.5, memory_gb = 1 }
    stream = { cpu = 0.5, memory_gb = 1 }
  }
  validation {
    condition     = toset(keys(var.tasks)) == toset(["core", "pages", "stream"])
    error_message = "Name exactly core, pages and stream."
  }
}

variable "settings" {
  description = "More settings of kpi_assets without secrets, such as {KPI_ALERT_EMAIL_TO = \"data@example.com\"}."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "More settings of kpi_assets that are secrets, such as {KPI_ALERT_SLACK_URL = \"...\"}."
  type        = map(string)
  default     = {}
  sensitive   = true
}

variable "labels" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
