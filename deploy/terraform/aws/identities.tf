# Who may do what with the buckets and streams. The pages have no right there: they read the warehouse only.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

locals {
  bucket_arns = [for bucket in aws_s3_bucket.lake : bucket.arn]
  object_arns = [for bucket in aws_s3_bucket.lake : "${bucket.arn}/*"]
  # What each task does: list and read, and put objects. None deletes: a landed object is immutable.
  bucket_actions = {
    core   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"]
    stream = ["s3:GetObject", "s3:PutObject"]
  }
}

data "aws_iam_policy_document" "buckets" {
  for_each = local.bucket_actions
  statement {
    actions   = ["s3:ListBucket"]
    resources = local.bucket_arns
  }
  statement {
    actions   = each.value
    resources = local.object_arns
  }

  # Landing puts an object where none is, and in no other way.
  dynamic "statement" {
    for_each = each.key == "stream" ? ["create only"] : []
    content {
      effect    = "Deny"
      actions   = ["s3:PutObject"]
      resources = local.object_arns
      condition {
        test     = "Null"
        variable = "s3:if-none-match"
        values   = ["true"]
      }
    }
  }
}

data "aws_iam_policy_document" "streams" {
  count = length(var.streams) > 0 ? 1 : 0
  statement {
    actions = [
      "kinesis:DescribeStream",
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [for stream in aws_kinesis_stream.events : stream.arn]
  }
}

resource "aws_iam_role" "task" {
  for_each           = toset(["core", "pages", "stream"])
  name               = "${var.name}-${each.value}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.labels
}

resource "aws_iam_role_policy" "buckets" {
  for_each = local.bucket_actions
  name     = "buckets"
  role     = aws_iam_role.task[each.key].id
  policy   = data.aws_iam_policy_document.buckets[each.key].json
}

resource "aws_iam_role_policy" "streams" {
  count  = length(var.streams) > 0 ? 1 : 0
  name   = "streams"
  role   = aws_iam_role.task["stream"].id
  policy = data.aws_iam_policy_document.streams[0].json
}

# What starts the containers: it pulls the image, writes their output, and hands them their secrets.
resource "aws_iam_role" "start" {
  name               = "${var.name}-start"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.labels
}

resource "aws_iam_role_policy_attachment" "start" {
  role       = aws_iam_role.start.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "secrets" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [for secret in aws_secretsmanager_secret.setting : secret.arn]
  }
}

resource "aws_iam_role_policy" "secrets" {
  name   = "secrets"
  role   = aws_iam_role.start.id
  policy = data.aws_iam_policy_document.secrets.json
}
