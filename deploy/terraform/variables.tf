variable "name" {
  description = "Environment or region, part of the bucket's and the role's name: staging, eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,30}$", var.name))
    error_message = "Lower-case letters, digits and hyphens, 2 to 31 of them."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the service account that writes snapshots."
  type        = string
  default     = "casebook"
}

variable "oidc_provider_arn" {
  description = "The cluster's OIDC provider, as the EKS module gives it."
  type        = string
}

variable "oidc_issuer" {
  description = "Its issuer without https://."
  type        = string
}

variable "keep_days" {
  description = "Days for which what was deleted or overwritten can still be had."
  type        = number
  default     = 35

  validation {
    condition     = var.keep_days >= 7
    error_message = "A week at least: a damage may be noticed late."
  }
}

variable "tags" {
  description = "Tags of everything that is made here, owner and cost centre among them."
  type        = map(string)
}
