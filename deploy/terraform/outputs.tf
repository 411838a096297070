output "snapshots" {
  description = "The bucket, for the settings' [snapshots]."
  value       = "s3://${aws_s3_bucket.snapshots.bucket}"
}

output "role_arn" {
  description = "The role, for the service account's annotation eks.amazonaws.com/role-arn."
  value       = aws_iam_role.casebook.arn
}
