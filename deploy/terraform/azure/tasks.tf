# The image's tasks as container apps: the core, the pages and, where there are streams, what lands them.

resource "azurerm_log_analytics_workspace" "kpi" {
  name                = var.name
  resource_group_name = azurerm_resource_group.kpi.name
  location            = azurerm_resource_group.kpi.location
  retention_in_days   = 30
  tags                = var.labels
}

# The subnet is delegated to Microsoft.App/environments. Its apps are reached from the private network only.
resource "azurerm_container_app_environment" "kpi" {
  name                           = var.name
  resource_group_name            = azurerm_resource_group.kpi.name
  location                       = azurerm_resource_group.kpi.location
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.kpi.id
  infrastructure_subnet_id       = var.network.task_subnets[0]
  internal_load_balancer_enabled = true
  tags                           = var.labels

  workload_profile {
    name                  = "Consumption"
    workload_profile_type = "Consumption"
  }
}

locals {
  ui_host    = "core.${azurerm_container_app_environment.kpi.default_domain}"
  pages_host = "pages.${azurerm_container_app_environment.kpi.default_domain}"
  stream_url = length(var.streams) > 0 ? "kafka+ssl://${azurerm_eventhub_namespace.events[0].name}.servicebus.windows.net:9093" : ""
  environment = merge(
    {
      for pipeline, container in var.buckets :
      "KPI_LAKE_URLS__${upper(pipeline)}" => "az://${azurerm_storage_account.lake.name}/${container}"
    },
    length(var.streams) > 0 ? { KPI_STREAM_URL = local.stream_url, KPI_STREAM_USER = "$ConnectionString" } : {},
    {
      KPI_UI_HOSTS  = local.ui_host
      KPI_UI_URL    = "https://${local.ui_host}"
      KPI_SERVE_URL = "https://${local.pages_host}"
    },
    var.settings,
  )

  # Each container of a task: its command, its secrets and its port. The bootstrap runs before the others start.
  code = ["--grpc-host", "127.0.0.1", "--grpc-port", "4000"]
  containers = {
    core = {
      code = {
        command = ["dagster", "code-server", "start", "-h", "127.0.0.1", "-p", "4000", "-m", "kpi_assets.definitions"]
        secrets = "core"
      }
      web = {
        command = concat(["python", "-m", "kpi_assets.instance.web", "-h", "0.0.0.0", "-p", "3000"], local.code)
        secrets = "web"
      }
      daemon = { command = concat(["dagster-daemon", "run"], local.code), secrets = "core" }
    }
    pages = {
      pages = { command = ["kpi", "serve", "--host", "0.0.0.0", "--port", "8000"], secrets = "pages" }
    }
    stream = {
      stream = { command = ["kpi", "stream"], secrets = "stream" }
    }
  }
  ports   = { core = 3000, pages = 8000 }
  running = length(var.streams) > 0 ? ["core", "pages", "stream"] : ["core", "pages"]
}

# One of each: one daemon runs the sensors, and the landing of a stream has one writer.
resource "azurerm_container_app" "task" {
  for_each                     = toset(local.running)
  name                         = each.value
  resource_group_name          = azurerm_resource_group.kpi.name
  container_app_environment_id = azurerm_container_app_environment.kpi.id
  revision_mode                = "Single"
  workload_profile_name        = "Consumption"
  tags                         = var.labels

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.task[each.value].id]
  }

  dynamic "secret" {
    for_each = toset(local.task_secrets[each.value])
    content {
      name  = lower(replace(secret.value, "_", "-"))
      value = local.secrets[secret.value]
    }
  }

  dynamic "ingress" {
    for_each = contains(keys(local.ports), each.value) ? [local.ports[each.value]] : []
    content {
      target_port      = ingress.value
      external_enabled = true # within the private network
      transport        = "auto"

      traffic_weight {
        latest_revision = true
        percentage      = 100
      }
      dynamic "ip_security_restriction" {
        for_each = var.reader_networks
        content {
          name             = "readers-${ip_security_restriction.key}"
          action           = "Allow"
          ip_address_range = ip_security_restriction.value
        }
      }
    }
  }

  template {
    min_replicas = 1
    max_replicas = 1

    # The output of runs, which the web UI shows, lasts as long as the replica.
    dynamic "volume" {
      for_each = each.value == "core" ? ["runs"] : []
      content {
        name         = volume.value
        storage_type = "EmptyDir"
      }
    }

    dynamic "init_container" {
      for_each = each.value == "core" ? ["bootstrap"] : []
      content {
        name    = init_container.value
        image   = var.image
        command = ["kpi", "bootstrap"]
        cpu     = 0.25
        memory  = "0.5Gi"

        dynamic "env" {
          for_each = local.environment
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = toset(local.secret_names["bootstrap"])
          content {
            name        = env.value
            secret_name = lower(replace(env.value, "_", "-"))
          }
        }
      }
    }

    dynamic "container" {
      for_each = local.containers[each.value]
      content {
        name    = container.key
        image   = var.image
        command = container.value.command
        cpu     = var.tasks[each.value].cpu / length(local.containers[each.value])
        memory  = "${var.tasks[each.value].memory_gb / length(local.containers[each.value])}Gi"

        dynamic "env" {
          for_each = merge(
            local.environment,
            { AZURE_CLIENT_ID = azurerm_user_assigned_identity.task[each.value].client_id },
          )
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = toset(local.secret_names[container.value.secrets])
          content {
            name        = env.value
            secret_name = lower(replace(env.value, "_", "-"))
          }
        }
        dynamic "volume_mounts" {
          for_each = each.value == "core" ? ["runs"] : []
          content {
            name = volume_mounts.value
            path = "/var/lib/kpi/dagster/storage"
          }
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.land]
}
