# The image's tasks on ECS with Fargate: the core, the pages and, where there are streams, what lands them.

resource "aws_ecs_cluster" "kpi" {
  name = var.name
  tags = var.labels
}

resource "aws_cloudwatch_log_group" "kpi" {
  name              = "/kpi/${var.name}"
  retention_in_days = 30
  tags              = var.labels
}

# Tasks find each other, and people find them, as core.NAME.internal and pages.NAME.internal.
resource "aws_service_discovery_private_dns_namespace" "kpi" {
  name = "${var.name}.internal"
  vpc  = var.network.id
  tags = var.labels
}

resource "aws_service_discovery_service" "task" {
  for_each = toset(["core", "pages"])
  name     = each.value
  tags     = var.labels
  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.kpi.id
    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "The tasks of kpi_assets."
  vpc_id      = var.network.id
  tags        = var.labels
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "readers" {
  for_each = {
    for pair in setproduct(var.reader_networks, [3000, 8000]) : "${pair[0]}:${pair[1]}" => pair
  }
  security_group_id = aws_security_group.tasks.id
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = each.value[1]
  to_port           = each.value[1]
}

locals {
  ui_host    = "core.${var.name}.internal:3000"
  pages_host = "pages.${var.name}.internal:8000"
  stream_url = length(var.streams) > 0 ? "kinesis://${var.location}" : ""
  environment = merge(
    { for pipeline, bucket in var.buckets : "KPI_LAKE_URLS__${upper(pipeline)}" => "s3://${bucket}" },
    length(var.streams) > 0 ? { KPI_STREAM_URL = local.stream_url } : {},
    {
      AWS_DEFAULT_REGION = var.location
      KPI_UI_HOSTS       = local.ui_host
      KPI_UI_URL         = "http://${local.ui_host}"
      KPI_SERVE_URL      = "http://${local.pages_host}"
    },
    var.settings,
  )

  # Each container of a task: its command, its secrets, its port and what it waits for.
  code = ["--grpc-host", "127.0.0.1", "--grpc-port", "4000"]
  containers = {
    core = {
      bootstrap = { command = ["kpi", "bootstrap"], secrets = "bootstrap", port = 0, after = {} }
      code = {
        command = ["dagster", "code-server", "start", "-h", "127.0.0.1", "-p", "4000", "-m", "kpi_assets.definitions"]
        secrets = "core"
        port    = 0
        after   = { bootstrap = "SUCCESS" }
      }
      web = {
        command = concat(["python", "-m", "kpi_assets.instance.web", "-h", "0.0.0.0", "-p", "3000"], local.code)
        secrets = "web"
        port    = 3000
        after   = { code = "START" }
      }
      daemon = {
        command = concat(["dagster-daemon", "run"], local.code)
        secrets = "core"
        port    = 0
        after   = { web = "START" }
      }
    }
    pages = {
      pages = {
        command = ["kpi", "serve", "--host", "0.0.0.0", "--port", "8000"]
        secrets = "pages"
        port    = 8000
        after   = {}
      }
    }
    stream = {
      stream = { command = ["kpi", "stream"], secrets = "stream", port = 0, after = {} }
    }
  }
  running = length(var.streams) > 0 ? ["core", "pages", "stream"] : ["core", "pages"]
}

resource "aws_ecs_task_definition" "task" {
  for_each                 = toset(local.running)
  family                   = "${var.name}-${each.value}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.tasks[each.value].cpu * 1024
  memory                   = var.tasks[each.value].memory_gb * 1024
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.task[each.value].arn
  tags                     = var.labels

  # The output of runs, which the web UI shows, lasts as long as the task.
  volume {
    name = "runs"
  }

  container_definitions = jsonencode([
    for name, container in local.containers[each.value] : {
      name                   = name
      image                  = var.image
      command                = container.command
      essential              = name != "bootstrap"
      readonlyRootFilesystem = false
      linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
      environment            = [for key, value in local.environment : { name = key, value = value }]
      secrets = [
        for secret in local.secret_names[container.secrets] :
        { name = secret, valueFrom = aws_secretsmanager_secret.setting[secret].arn }
      ]
      dependsOn    = [for other, condition in container.after : { containerName = other, condition = condition }]
      portMappings = container.port > 0 ? [{ containerPort = container.port, protocol = "tcp" }] : []
      mountPoints = each.value == "core" ? [
        { sourceVolume = "runs", containerPath = "/var/lib/kpi/dagster/storage", readOnly = false }
      ] : []
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.kpi.name
          awslogs-region        = var.location
          awslogs-stream-prefix = each.value
        }
      }
    }
  ])
}

# One of each: one daemon runs the sensors, and the landing of a stream has one writer.
resource "aws_ecs_service" "task" {
  for_each                           = toset(local.running)
  name                               = each.value
  cluster                            = aws_ecs_cluster.kpi.id
  task_definition                    = aws_ecs_task_definition.task[each.value].arn
  desired_count                      = 1
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  tags                               = var.labels

  network_configuration {
    subnets         = var.network.task_subnets
    security_groups = [aws_security_group.tasks.id]
  }

  dynamic "service_registries" {
    for_each = contains(["core", "pages"], each.value) ? [aws_service_discovery_service.task[each.value].arn] : []
    content {
      registry_arn = service_registries.value
    }
  }

  depends_on = [aws_secretsmanager_secret_version.setting]
}
