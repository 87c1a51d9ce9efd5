// The definitions of cert-manager's resources, for validating what clusters with cert-manager get; nothing is built from it.
module logging-platform/cert-manager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
