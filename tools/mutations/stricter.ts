/** Rules that find what an API server accepts, on purpose: it stores the object, and something else goes wrong later. */
export const stricterRules: readonly string[] = [
  "application-policy",
  "autoscaling",
  "disruption-budget",
  "gateway-certificate",
  "image-pinned",
  "image-tag",
  "metric-exists",
  "placeholder",
  "pod-security",
  "port-exists",
  "probes",
  "project-allows",
  "rbac-wildcard",
  "recommended-labels",
  "reference-resolves",
  "resources",
  "route-resolves",
  "selector-matches",
  "single-owner",
  "single-place",
  "sync-order",
  "unlisted-file",
];

/** True for a finding, as a line, of a rule that is stricter than the server. */
export function isStricter(finding: string): boolean {
  return stricterRules.some((rule) => finding.endsWith(`[${rule}]`));
}
